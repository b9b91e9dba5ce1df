//! Whom the caller can write to, and chats begun with them.

use super::Door;
use super::auth::Caller;
use super::shapes::{Contacts, Found, Group, NewGroup, Person, Search};
use super::status::login_of;
use crate::bridge::linkings::read_number;
use crate::bridge::people::Halt;
use crate::http::answer::{Answer, Body, Refusal};
use crate::ids::GhostId;
use crate::store::directory::Entry;
use crate::store::logins::Login;
use crate::verdict::Verdict;
use crate::whatsapp::group_acts::ActFailure;
use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use http::StatusCode;
use serde::Deserialize;

/// Most people a new group may begin with; WhatsApp takes 1,024 in all.
const MOST_PEOPLE: usize = 1023;

#[derive(Deserialize)]
pub(super) struct Through {
    login_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SearchThrough {
    login_id: Option<String>,
    query: String,
}

/// The address book of a login.
#[utoipa::path(get, path = "/_matrix/provision/v3/contacts", tag = "chats",
    params(("login_id" = Option<String>, Query, description = "A login of yours.")),
    responses((status = 200, description = "Everybody in it.", body = Contacts)))]
pub(super) async fn contacts(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Query(through): Query<Through>,
) -> Answer<Json<Contacts>> {
    let login = login_of(&door, &caller, through.login_id.as_deref()).await?;
    let book = door.bridge.store().address_book(&login.id).await?;
    Ok(Json(Contacts { contacts: book.into_iter().map(|entry| from_book(&door, entry)).collect() }))
}

/// Looks for a name or number in the address book.
#[utoipa::path(get, path = "/_matrix/provision/v3/search_users", tag = "chats",
    params(("login_id" = Option<String>, Query, description = "A login of yours."),
        ("query" = String, Query, description = "Part of a name or number.")),
    responses((status = 200, description = "Who was found.", body = Found)))]
pub(super) async fn search_get(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<SearchThrough>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<Found>> {
    let Query(SearchThrough { login_id, query }) =
        query.map_err(|_| Refusal::bad("M_MISSING_PARAM", "Say with `query` what to look for."))?;
    search(&door, &caller, login_id.as_deref(), &query).await
}

/// Looks for a name or number in the address book.
#[utoipa::path(post, path = "/_matrix/provision/v3/search_users", tag = "chats",
    params(("login_id" = Option<String>, Query, description = "A login of yours.")),
    request_body = Search,
    responses((status = 200, description = "Who was found.", body = Found)))]
pub(super) async fn search_post(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Query(through): Query<Through>,
    Body(Search { query }): Body<Search>,
) -> Answer<Json<Found>> {
    search(&door, &caller, through.login_id.as_deref(), &query).await
}

async fn search(door: &Door, caller: &Caller, login: Option<&str>, query: &str) -> Answer<Json<Found>> {
    let login = login_of(door, caller, login).await?;
    let wanted = query.trim().to_lowercase();
    let digits: String = wanted.chars().filter(char::is_ascii_digit).collect();
    let is_number = !digits.is_empty() && wanted.chars().all(|c| c.is_ascii_digit() || "+-() ".contains(c));
    let mut book = door.bridge.store().address_book(&login.id).await?;
    book.retain(|entry| {
        let has_number = entry.number.as_ref().is_some_and(|number| number.as_str().contains(&digits));
        entry.name.to_lowercase().contains(&wanted) || is_number && has_number
    });
    Ok(Json(Found { results: book.into_iter().map(|entry| from_book(door, entry)).collect() }))
}

/// Looks somebody up by number or id; WhatsApp is asked whether it knows a number.
#[utoipa::path(get, path = "/_matrix/provision/v3/resolve_identifier/{identifier}", tag = "chats",
    params(("identifier" = String, Path, description = "A phone number with its country code, or an `id`."),
        ("login_id" = Option<String>, Query, description = "A login of yours.")),
    responses((status = 200, description = "Who it is.", body = Person)))]
pub(super) async fn resolve(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(identifier): Path<String>,
    Query(through): Query<Through>,
) -> Answer<Json<Person>> {
    let login = login_of(&door, &caller, through.login_id.as_deref()).await?;
    let person = find_person(&door, &login, &identifier).await?;
    Ok(Json(known(&door, &login, &person).await?))
}

/// Opens the chat with somebody.
#[utoipa::path(post, path = "/_matrix/provision/v3/create_dm/{identifier}", tag = "chats",
    params(("identifier" = String, Path, description = "A phone number with its country code, or an `id`."),
        ("login_id" = Option<String>, Query, description = "A login of yours.")),
    responses((status = 200, description = "Who it is, with the room.", body = Person)))]
pub(super) async fn create_dm(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(identifier): Path<String>,
    Query(through): Query<Through>,
) -> Answer<Json<Person>> {
    let login = login_of(&door, &caller, through.login_id.as_deref()).await?;
    let person = find_person(&door, &login, &identifier).await?;
    let room = door.bridge.open_direct(&login, &person).await.map_err(refuse)?;
    Ok(Json(Person { dm_room_mxid: Some(room.to_string()), ..known(&door, &login, &person).await? }))
}

/// Makes a group. A request that is repeated makes another one.
#[utoipa::path(post, path = "/_matrix/provision/v3/create_group/{kind}", tag = "chats",
    params(("kind" = String, Path, description = "`group`."),
        ("login_id" = Option<String>, Query, description = "A login of yours.")),
    request_body = NewGroup,
    responses((status = 200, description = "The group with its room.", body = Group)))]
pub(super) async fn create_group(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(kind): Path<String>,
    Query(through): Query<Through>,
    Body(wanted): Body<NewGroup>,
) -> Answer<Json<Group>> {
    if kind != "group" {
        return Err(Refusal::not_found("There is no such kind of group; `group` is one."));
    }
    let login = login_of(&door, &caller, through.login_id.as_deref()).await?;
    let subject = wanted.name.name.trim();
    if subject.is_empty() {
        return Err(Refusal::bad("M_INVALID_PARAM", "A group needs a name."));
    }
    if !(1..=MOST_PEOPLE).contains(&wanted.participants.len()) {
        return Err(Refusal::bad("M_INVALID_PARAM", "A group needs somebody in it, and takes 1,023 of them."));
    }
    let mut people = Vec::with_capacity(wanted.participants.len());
    for identifier in &wanted.participants {
        let person = find_person(&door, &login, identifier).await?;
        if person != login.own && !people.contains(&person) {
            people.push(person);
        }
    }
    let made = door.bridge.whatsapp().create_group(&login.id, subject, &people).await.map_err(|f| refuse_act(&f))?;
    let room = door.bridge.open_group(&login, &made).await.map_err(refuse)?;
    let room = room.ok_or_else(|| Refusal::away("The group is made, and its room follows soon."))?;
    Ok(Json(Group { id: made.to_string(), mxid: room.to_string() }))
}

/// Somebody by number or id. Ids are taken of those whom the bridge knows; a number is asked about at WhatsApp.
async fn find_person(door: &Door, login: &Login, identifier: &str) -> Answer<GhostId> {
    let nobody = || Refusal::not_found("WhatsApp knows nobody of this number or id.");
    let identifier = identifier.strip_prefix("tel:").unwrap_or(identifier);
    let digits = match identifier.split_once('@') {
        Some((digits, "s.whatsapp.net")) => digits,
        Some((_, "lid")) => {
            let person = GhostId::new(identifier);
            let store = door.bridge.store();
            let known =
                store.find_contact(&login.id, &person).await?.is_some() || store.find_ghost(&person).await?.is_some();
            return if known || person == login.own { Ok(person) } else { Err(nobody()) };
        }
        Some(_) => return Err(nobody()),
        None => identifier,
    };
    if !digits.chars().all(|c| c.is_ascii_digit() || "+-(). ".contains(c)) {
        return Err(nobody());
    }
    let number = read_number(digits).map_err(|_| nobody())?;
    let found = door.bridge.whatsapp().find_person(&login.id, &number).await.map_err(|failure| refuse_act(&failure))?;
    found.ok_or_else(nobody)
}

/// What a login knows of somebody.
async fn known(door: &Door, login: &Login, person: &GhostId) -> Answer<Person> {
    let entry = door.bridge.store().look_up_person(&login.id, person).await?;
    Ok(from_book(door, entry))
}

/// The book's name comes first: it is the caller's own.
fn from_book(door: &Door, entry: Entry) -> Person {
    let Entry { person, name, number, ghost, room } = entry;
    let digits = number.as_ref().and_then(|number| number.as_str().split('@').next());
    let (mxid, ghost_name, avatar_url) = match ghost {
        Some((localpart, name, avatar)) => (Some(door.bridge.matrix().ghost_id(&localpart).to_string()), name, avatar),
        None => (None, String::new(), String::new()),
    };
    Person {
        id: person.to_string(),
        name: if name.trim().is_empty() { ghost_name } else { name },
        avatar_url,
        identifiers: digits.map(|digits| format!("tel:+{digits}")).into_iter().collect(),
        mxid,
        dm_room_mxid: room,
    }
}

fn refuse_act(failure: &ActFailure) -> Refusal {
    match failure {
        ActFailure::Offline | ActFailure::Unknown(_) => Refusal::away(failure.words()),
        ActFailure::Refused(404 | 406 | 410) => Refusal::not_found(failure.words()),
        ActFailure::TooLong => Refusal::bad("M_INVALID_PARAM", failure.words()),
        ActFailure::Refused(_) => Refusal::forbidden(failure.words()),
    }
}

/// What could not be done now, in the caller's words.
pub(super) fn refuse(halt: Halt) -> Refusal {
    match halt {
        Halt::Store(error) => error.into(),
        Halt::Verdict(Verdict::Never { tell, .. }) if !tell.is_empty() => {
            Refusal::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", tell)
        }
        Halt::Verdict(_) => {
            Refusal::away("WhatsApp or the homeserver can't be reached right now. Please try again later.")
        }
    }
}
