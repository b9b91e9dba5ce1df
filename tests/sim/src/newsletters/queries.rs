//! What clients ask and change in GraphQL.

use serde_json::{Value, json};

use super::{Newsletter, Role, notify};
use crate::{
    account::Picture,
    groups::Refusal,
    ids::{Address, Number},
    stanza::unix_now,
    state::State,
};

/// Most characters of a name.
const NAME: usize = 100;

/// Answers a question by the number of its text, as whatsapp-rust and Baileys
/// know it; nothing when it is not known.
pub fn query(state: &mut State, actor: &Address, id: &str, variables: &Value) -> Option<Result<Value, Refusal>> {
    let newsletter = variables["newsletter_id"].as_str().and_then(id_of).unwrap_or_default();
    let number = &actor.number;
    let named = |key: &'static str, value: Result<Value, Refusal>| value.map(|value| json!({ key: value }));
    Some(match id {
        "25149874324715067" | "8823471724422422" => {
            let input = &variables["input"];
            let (name, text) = (input["name"].as_str(), input["description"].as_str());
            let made = create(state, actor, name.unwrap_or_default(), text.unwrap_or_default());
            named("xwa2_newsletter_create", made.and_then(|id| tell(state, number, &id)))
        }
        "27456920720571478" | "6563316087068696" => {
            named("xwa2_newsletter", find(state, &variables["input"]).and_then(|id| tell(state, number, &id)))
        }
        "25399611239711790" => {
            let mine = state.newsletters.iter().filter(|newsletter| newsletter.role(number).is_some());
            let mine: Vec<Value> = mine.map(|newsletter| describe(newsletter, number)).collect();
            Ok(json!({ "xwa2_newsletter_subscribed": mine }))
        }
        "24404358912487870" => {
            let done = follow(state, actor, &newsletter);
            named("xwa2_newsletter_join_v2", done.and_then(|()| tell(state, number, &newsletter)))
        }
        "9767147403369991" => {
            let done = unfollow(state, actor, &newsletter);
            named("xwa2_newsletter_leave_v2", done.and_then(|()| tell(state, number, &newsletter)))
        }
        "24250201037901610" => {
            let updates = &variables["updates"];
            let (name, text) = (updates["name"].as_str(), updates["description"].as_str());
            let done = update(state, actor, &newsletter, name, text);
            named("xwa2_newsletter_update", done.and_then(|()| tell(state, number, &newsletter)))
        }
        "31938993655691868" => {
            let input = &variables["input"];
            let newsletter = input["newsletter_id"].as_str().and_then(id_of).unwrap_or_default();
            let kind = input["type"].as_str().unwrap_or_default();
            let done = mute(state, actor, &newsletter, kind, input["value"].as_str() == Some("ON"));
            named("xwa2_newsletter_update_user_setting", done.and_then(|()| tell(state, number, &newsletter)))
        }
        "29766401636284406" => {
            let done = mute(state, actor, &newsletter, FOLLOWER, true);
            named("xwa2_newsletter_mute_v2", done.and_then(|()| tell(state, number, &newsletter)))
        }
        "9864994326891137" => {
            let done = mute(state, actor, &newsletter, FOLLOWER, false);
            named("xwa2_newsletter_unmute_v2", done.and_then(|()| tell(state, number, &newsletter)))
        }
        "7130823597031706" => {
            let count = state.newsletters.get(&newsletter).map(|newsletter| {
                let owners = newsletter.people.values().filter(|role| **role == Role::Owner).count();
                json!({ "admin_count": owners })
            });
            named("xwa2_newsletter_admin", count)
        }
        "30062808666639665" => {
            let jid = variables["newsletter_id"].clone();
            let done = delete(state, actor, &newsletter);
            named("xwa2_newsletter_delete_v2", done.map(|()| json!({ "id": jid, "state": { "type": "DELETED" } })))
        }
        _ => return None,
    })
}

/// The setting that silences a newsletter for a follower.
const FOLLOWER: &str = "MUTE_FOLLOWER_ACTIVITY";

fn id_of(jid: &str) -> Option<String> {
    jid.strip_suffix("@newsletter").map(str::to_owned)
}

/// The newsletter of `{type: JID|INVITE, key}`.
fn find(state: &State, input: &Value) -> Result<String, Refusal> {
    let key = input["key"].as_str().unwrap_or_default();
    match input["type"].as_str() {
        Some("JID") => id_of(key).ok_or(Refusal::NOT_FOUND),
        Some("INVITE") => {
            let code = key.rsplit('/').next().unwrap_or_default();
            let found = state.newsletters.iter().find(|newsletter| newsletter.invite == code);
            found.map(|newsletter| newsletter.id.clone()).ok_or(Refusal::NOT_FOUND)
        }
        _ => Err(Refusal::BAD_REQUEST),
    }
}

fn tell(state: &State, number: &Number, id: &str) -> Result<Value, Refusal> {
    state.newsletters.get(id).map(|newsletter| describe(newsletter, number))
}

/// A newsletter as `viewer` is told of it. Numbers are text there.
pub fn describe(newsletter: &Newsletter, viewer: &Number) -> Value {
    let muted = newsletter.muted.contains(&(viewer.clone(), FOLLOWER.to_owned()));
    let mute = if muted { "ON" } else { "OFF" };
    let mut about = thread(newsletter);
    about["viewer_metadata"] = json!({
        "role": Role::wire(newsletter.role(viewer)),
        "mute": mute,
        "settings": [{ "type": FOLLOWER, "value": mute }],
    });
    about
}

/// What is the same for all who look.
pub fn thread(newsletter: &Newsletter) -> Value {
    let picture = |kind: &str| match &newsletter.picture {
        Some(picture) => json!({ "id": picture.id, "direct_path": picture.path, "type": kind }),
        None => json!({ "id": "", "direct_path": null, "type": kind }),
    };
    json!({
        "id": newsletter.jid().to_string(),
        "state": { "type": "active" },
        "thread_metadata": {
            "creation_time": newsletter.creation.to_string(),
            "name": {
                "id": newsletter.name_t.to_string(),
                "text": newsletter.name,
                "update_time": newsletter.name_t.to_string(),
            },
            "description": {
                "id": newsletter.description_t.to_string(),
                "text": newsletter.description,
                "update_time": newsletter.description_t.to_string(),
            },
            "invite": newsletter.invite,
            "handle": null,
            "picture": picture("IMAGE"),
            "preview": picture("PREVIEW"),
            "settings": { "reaction_codes": { "value": "ALL" } },
            "subscribers_count": newsletter.people.len().to_string(),
            "verification": "UNVERIFIED",
        },
    })
}

/// Makes a newsletter and returns its id. Errors: 406 for a bad name.
pub fn create(state: &mut State, actor: &Address, name: &str, description: &str) -> Result<String, Refusal> {
    if name.is_empty() || name.chars().count() > NAME {
        return Err(Refusal::NOT_ACCEPTABLE);
    }
    let id = state.newsletters.insert(name, description, actor.number.clone());
    notify::own_devices(state, &id, actor, "NotificationNewsletterJoin", "xwa2_notify_newsletter_on_join");
    Ok(id)
}

/// Follows a newsletter; nothing happens for those who do. Errors: 404.
pub fn follow(state: &mut State, actor: &Address, id: &str) -> Result<(), Refusal> {
    let newsletter = state.newsletters.get_mut(id)?;
    if newsletter.role(&actor.number).is_none() {
        newsletter.people.insert(actor.number.clone(), Role::Subscriber);
        notify::own_devices(state, id, actor, "NotificationNewsletterJoin", "xwa2_notify_newsletter_on_join");
    }
    Ok(())
}

/// Stops following. Errors: 404, 403 for its owner.
pub fn unfollow(state: &mut State, actor: &Address, id: &str) -> Result<(), Refusal> {
    let newsletter = state.newsletters.get_mut(id)?;
    match newsletter.role(&actor.number) {
        Some(Role::Owner) => return Err(Refusal::FORBIDDEN),
        Some(Role::Subscriber) => {}
        None => return Ok(()),
    }
    newsletter.people.remove(&actor.number);
    newsletter.live.retain(|device, _| device.number != actor.number);
    notify::own_devices(state, id, actor, "NotificationNewsletterLeave", "xwa2_notify_newsletter_on_leave");
    Ok(())
}

/// Changes name or description, by the owner, and tells the followers.
pub fn update(
    state: &mut State,
    actor: &Address,
    id: &str,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<(), Refusal> {
    let newsletter = owned(state, actor, id)?;
    if let Some(name) = name {
        if name.is_empty() || name.chars().count() > NAME {
            return Err(Refusal::NOT_ACCEPTABLE);
        }
        name.clone_into(&mut newsletter.name);
        newsletter.name_t = unix_now();
    }
    if let Some(description) = description {
        description.clone_into(&mut newsletter.description);
        newsletter.description_t = unix_now();
    }
    notify::followers(state, id, actor, "NotificationNewsletterUpdate", "xwa2_notify_newsletter_on_metadata_update");
    Ok(())
}

/// Sets or removes the picture, by the owner, and tells the followers. Returns its id.
pub fn set_picture(
    state: &mut State,
    actor: &Address,
    id: &str,
    image: Option<Vec<u8>>,
) -> Result<Option<String>, Refusal> {
    owned(state, actor, id)?;
    let picture = image.map(|image| Picture {
        path: state.media.store(image.into()),
        id: format!("{}", 1_000_000 + state.media.len()),
    });
    let picture_id = picture.as_ref().map(|picture| picture.id.clone());
    owned(state, actor, id)?.picture = picture;
    notify::followers(state, id, actor, "NotificationNewsletterUpdate", "xwa2_notify_newsletter_on_metadata_update");
    Ok(picture_id)
}

/// Ends a newsletter, by its owner, and tells the followers.
pub fn delete(state: &mut State, actor: &Address, id: &str) -> Result<(), Refusal> {
    owned(state, actor, id)?;
    notify::followers(state, id, actor, "NotificationNewsletterStateChange", "xwa2_notify_newsletter_on_state_change");
    state.newsletters.remove(id);
    Ok(())
}

/// Silences a newsletter for one who follows it, or no longer.
pub fn mute_as_follower(state: &mut State, actor: &Address, id: &str, on: bool) -> Result<(), Refusal> {
    mute(state, actor, id, FOLLOWER, on)
}

fn mute(state: &mut State, actor: &Address, id: &str, kind: &str, on: bool) -> Result<(), Refusal> {
    let newsletter = state.newsletters.get_mut(id)?;
    newsletter.role(&actor.number).ok_or(Refusal::FORBIDDEN)?;
    let setting = (actor.number.clone(), kind.to_owned());
    if on {
        newsletter.muted.insert(setting);
    } else {
        newsletter.muted.remove(&setting);
    }
    let (op, key) = ("NotificationNewsletterUserSettingChange", "xwa2_notify_newsletter_on_mute_change");
    notify::own_devices(state, id, actor, op, key);
    Ok(())
}

fn owned<'a>(state: &'a mut State, actor: &Address, id: &str) -> Result<&'a mut Newsletter, Refusal> {
    let newsletter = state.newsletters.get_mut(id)?;
    if newsletter.role(&actor.number) == Some(Role::Owner) { Ok(newsletter) } else { Err(Refusal::FORBIDDEN) }
}
