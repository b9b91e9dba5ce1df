//! The people of a login's address book with what the bridge knows of them: for who asks whom they can write to.

use super::{Named, Result, Store};
use crate::ids::{GhostId, LoginId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Somebody in an address book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub person: GhostId,
    /// Their name in the book; empty when it has none.
    pub name: String,
    /// Their phone number's id, when it is known.
    pub number: Option<GhostId>,
    /// Their ghost's localpart, name and picture, once they have one.
    pub ghost: Option<(String, String, String)>,
    /// The room of the login's chat with them.
    pub room: Option<String>,
}

const OF_LOGIN: &str = "-- directory.of_login
    SELECT contact.ghost_id AS person, contact.full_name AS full_name, contact.first_name AS first_name,
        ghost.localpart AS localpart, ghost.name AS name, ghost.avatar_mxc AS avatar, portal.room_id AS room_id,
        (SELECT MAX(pn) FROM wa_alias WHERE wa_alias.lid = contact.ghost_id) AS number
    FROM contact LEFT JOIN ghost ON ghost.ghost_id = contact.ghost_id
        LEFT JOIN portal ON portal.receiver = contact.login_id AND portal.chat = contact.ghost_id
    WHERE contact.login_id = $1 ORDER BY contact.full_name, contact.ghost_id";

const OF_PERSON: &str = "-- directory.of_person
    SELECT people.person AS person, COALESCE(contact.full_name, '') AS full_name, COALESCE(contact.first_name, '') AS first_name,
        ghost.localpart AS localpart, ghost.name AS name, ghost.avatar_mxc AS avatar, portal.room_id AS room_id,
        (SELECT MAX(pn) FROM wa_alias WHERE wa_alias.lid = people.person) AS number
    FROM (SELECT CAST($2 AS TEXT) AS person) AS people
        LEFT JOIN contact ON contact.login_id = $1 AND contact.ghost_id = people.person
        LEFT JOIN ghost ON ghost.ghost_id = people.person
        LEFT JOIN portal ON portal.receiver = $1 AND portal.chat = people.person";

impl Store {
    /// What is known of a person for a login, in its address book or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look_up_person(&self, login: &LoginId, person: &GhostId) -> Result<Entry> {
        let row = sqlx::query(OF_PERSON).bind(login.as_str()).bind(person.as_str()).fetch_one(self.pool()).await;
        read(&row.named("directory.of_person")?).named("directory.of_person")
    }

    /// Everybody in a login's address book, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn address_book(&self, login: &LoginId) -> Result<Vec<Entry>> {
        let rows = sqlx::query(OF_LOGIN).bind(login.as_str()).fetch_all(self.pool()).await;
        rows.named("directory.of_login")?.iter().map(|row| read(row).named("directory.of_login")).collect()
    }
}

fn read(row: &AnyRow) -> std::result::Result<Entry, sqlx::Error> {
    let (full, first): (String, String) = (row.try_get("full_name")?, row.try_get("first_name")?);
    let person = GhostId::new(row.try_get::<String, _>("person")?);
    let localpart: Option<String> = row.try_get("localpart")?;
    let (name, avatar): (Option<String>, Option<String>) = (row.try_get("name")?, row.try_get("avatar")?);
    let number: Option<String> = row.try_get("number")?;
    Ok(Entry {
        number: number.map(GhostId::new).or_else(|| Some(person.clone()).filter(is_number)),
        person,
        name: if full.trim().is_empty() { first } else { full },
        ghost: localpart.map(|localpart| (localpart, name.unwrap_or_default(), avatar.unwrap_or_default())),
        room: row.try_get("room_id")?,
    })
}

fn is_number(person: &GhostId) -> bool {
    person.as_str().ends_with("@s.whatsapp.net")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contacts::Contact;
    use crate::store::tests::on_both;

    on_both! { an_address_book_is_its_logins => book; }

    async fn book(store: Store) {
        let (a, b) = (LoginId::new("1"), LoginId::new("2"));
        let (zoe, adam) = (GhostId::new("7@lid"), GhostId::new("5@s.whatsapp.net"));
        let mut tx = store.begin("test").await.unwrap();
        let named = |full: &str, first: &str| Contact { full_name: full.into(), first_name: first.into() };
        store.put_contact_in(&mut tx, &a, &zoe, &named("Zoe", "")).await.unwrap();
        store.put_contact_in(&mut tx, &a, &adam, &named("", "Adam")).await.unwrap();
        store.put_contact_in(&mut tx, &b, &zoe, &named("Somebody else's", "")).await.unwrap();
        store.put_alias_in(&mut tx, &GhostId::new("6@s.whatsapp.net"), &zoe).await.unwrap();
        tx.commit().await.unwrap();
        store.find_or_make_ghost(&zoe, "lid-7").await.unwrap();
        let found = store.address_book(&a).await.unwrap();
        let names: Vec<_> = found.iter().map(|entry| (entry.name.as_str(), entry.number.clone())).collect();
        let want = [("Adam", Some(adam)), ("Zoe", Some(GhostId::new("6@s.whatsapp.net")))];
        assert_eq!(names, want);
        assert_eq!(found[1].ghost.as_ref().unwrap().0, "lid-7");
        assert_eq!((&found[0].ghost, &found[1].room), (&None, &None));
        assert_eq!(store.look_up_person(&a, &found[1].person).await.unwrap(), found[1]);
        let stranger = store.look_up_person(&a, &GhostId::new("9@lid")).await.unwrap();
        assert_eq!((stranger.name.as_str(), stranger.number, stranger.ghost, stranger.room), ("", None, None, None));
        assert!(store.address_book(&LoginId::new("3")).await.unwrap().is_empty());
    }
}
