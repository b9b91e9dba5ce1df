//! The address books of logins, and what has changed about people since it was last looked at.
//!
//! A name out of an address book is its owner's: it names rooms of that one login and nothing else. The name of a ghost,
//! whom many see, never comes from here.

use super::{Named, Result, Store, Tx};
use crate::ids::{ChatId, GhostId, LoginId, PortalId};
use sqlx::Row;

/// What a login's address book says of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// The whole name; empty when there is none.
    pub full_name: String,
    /// The first name; empty when there is none.
    pub first_name: String,
}

impl Contact {
    /// The name to show; none when the entry has none.
    pub fn name(&self) -> Option<&str> {
        [self.full_name.as_str(), self.first_name.as_str()].into_iter().find(|name| !name.trim().is_empty())
    }
}

/// What is to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Their picture: there is another one.
    Picture,
    /// Their picture: it was removed.
    NoPicture,
    /// The name of the login's room with them.
    Name,
    /// Whether they are a business, and its name.
    Business,
}

impl Stale {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Picture, "picture"),
        (Self::NoPicture, "no_picture"),
        (Self::Name, "name"),
        (Self::Business, "business"),
    ];

    fn text(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::NoPicture => "no_picture",
            Self::Name => "name",
            Self::Business => "business",
        }
    }
}

/// A mark that something about a person is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleMark {
    /// Who heard of it.
    pub login: LoginId,
    /// About whom.
    pub person: GhostId,
    /// What.
    pub what: Stale,
    /// Ordered id given when it was heard.
    pub at: i64,
}

const PUT: &str = "-- contact.put
    INSERT INTO contact (login_id, ghost_id, full_name, first_name, at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (login_id, ghost_id) DO UPDATE SET full_name = excluded.full_name, first_name = excluded.first_name,
        at = excluded.at
    WHERE contact.full_name <> excluded.full_name OR contact.first_name <> excluded.first_name";
const FIND: &str = "-- contact.find
    SELECT full_name, first_name FROM contact WHERE login_id = $1 AND ghost_id = $2";
const FORGET: &str = "-- contact.forget
    DELETE FROM contact WHERE login_id = $1";
const FORGET_STALE: &str = "-- stale_person.forget
    DELETE FROM stale_person WHERE login_id = $1";
// Only where something is shown: a room of this login for names, a ghost for the rest.
const MARK_NAME: &str = "-- stale_person.mark_name
    INSERT INTO stale_person (login_id, ghost_id, what, at)
    SELECT receiver, chat, 'name', $3 FROM portal WHERE receiver = $1 AND chat = $2 AND room_id IS NOT NULL
    ON CONFLICT (login_id, ghost_id, what) DO UPDATE SET at = excluded.at";
const MARK: &str = "-- stale_person.mark
    INSERT INTO stale_person (login_id, ghost_id, what, at)
    SELECT $1, ghost_id, $3, $4 FROM ghost WHERE ghost_id = $2
    ON CONFLICT (login_id, ghost_id, what) DO UPDATE SET at = excluded.at";
const UNMARK_OTHER: &str = "-- stale_person.unmark_other
    DELETE FROM stale_person WHERE login_id = $1 AND ghost_id = $2 AND what = $3";
const STALE: &str = "-- stale_person.of
    SELECT ghost_id, what, at FROM stale_person WHERE login_id = $1 AND at > $2 ORDER BY at, ghost_id, what LIMIT 100";
const DONE: &str = "-- stale_person.done
    DELETE FROM stale_person WHERE login_id = $1 AND ghost_id = $2 AND what = $3 AND at = $4";
const ROOM_WITH: &str = "-- contact.room_with
    SELECT room_id FROM portal WHERE receiver = $1 AND chat = $2 AND room_id IS NOT NULL";
const PORTAL_OF: &str = "-- contact.portal_of_chat
    SELECT portal_id FROM portal WHERE chat = $1 AND receiver IN ($2, '')";
const ROOMS_UNNAMED: &str = "-- contact.rooms_unnamed
    SELECT room_id FROM portal WHERE chat = $1 AND kind = 'dm' AND room_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM contact WHERE login_id = portal.receiver AND ghost_id = portal.chat
            AND (full_name <> '' OR first_name <> ''))";

const PEOPLE: &str = "-- contact.people_with_rooms
    SELECT chat FROM portal WHERE receiver = $1 AND kind = 'dm' AND room_id IS NOT NULL
    ORDER BY COALESCE((SELECT MAX(ts) FROM message WHERE message.portal_id = portal.portal_id), 0) DESC, portal_id DESC LIMIT $2";
const LOGINS_WITH: &str = "-- contact.logins_with
    SELECT login_id FROM portal JOIN login ON login_id = receiver
    WHERE chat = $1 AND kind = 'dm' AND room_id IS NOT NULL AND state = 'linked' ORDER BY login_id";

/// Moves what is kept of a person to another id of theirs; part of [`Store::join_ids_in`].
pub(super) const JOIN: [(&str, &str); 2] = [
    (
        "identity.contacts",
        "-- identity.contacts
        UPDATE contact SET ghost_id = $2 WHERE ghost_id = $1 AND NOT EXISTS (
            SELECT 1 FROM contact AS other WHERE other.login_id = contact.login_id AND other.ghost_id = $2)",
    ),
    (
        "identity.stale",
        "-- identity.stale
        UPDATE stale_person SET ghost_id = $2 WHERE ghost_id = $1 AND NOT EXISTS (
            SELECT 1 FROM stale_person AS other WHERE other.login_id = stale_person.login_id
                AND other.what = stale_person.what AND other.ghost_id = $2)",
    ),
];

impl Store {
    /// Notes what a login's address book says of a person; true when it is news and a room shows it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_contact_in(
        &self,
        tx: &mut Tx,
        login: &LoginId,
        person: &GhostId,
        contact: &Contact,
    ) -> Result<bool> {
        let put = sqlx::query(PUT)
            .bind(login.as_str())
            .bind(person.as_str())
            .bind(contact.full_name.as_str())
            .bind(contact.first_name.as_str())
            .bind(self.clock().now_ms());
        if put.execute(tx.connection()).await.named("contact.put")?.rows_affected() == 0 {
            return Ok(false);
        }
        let marked = sqlx::query(MARK_NAME).bind(login.as_str()).bind(person.as_str()).bind(self.clock().next_id());
        Ok(marked.execute(tx.connection()).await.named("stale_person.mark_name")?.rows_affected() > 0)
    }

    /// What a login's address book says of a person.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_contact(&self, login: &LoginId, person: &GhostId) -> Result<Option<Contact>> {
        let row = sqlx::query(FIND).bind(login.as_str()).bind(person.as_str()).fetch_optional(self.pool()).await;
        let Some(row) = row.named("contact.find")? else { return Ok(None) };
        let text = |column: &'static str| row.try_get::<String, _>(column).named("contact.find");
        Ok(Some(Contact { full_name: text("full_name")?, first_name: text("first_name")? }))
    }

    /// Forgets a login's address book: the login is gone, or the book comes anew.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn forget_contacts_in(&self, tx: &mut Tx, login: &LoginId) -> Result<()> {
        sqlx::query(FORGET).bind(login.as_str()).execute(tx.connection()).await.named("contact.forget")?;
        let forgotten = sqlx::query(FORGET_STALE).bind(login.as_str()).execute(tx.connection()).await;
        forgotten.named("stale_person.forget").map(drop)
    }

    /// Notes that something about a person is to be looked at; false when nothing here shows them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_stale_in(&self, tx: &mut Tx, login: &LoginId, person: &GhostId, what: Stale) -> Result<bool> {
        // The later of the two decides.
        let other = match what {
            Stale::Picture => Some(Stale::NoPicture),
            Stale::NoPicture => Some(Stale::Picture),
            Stale::Name | Stale::Business => None,
        };
        if let Some(other) = other {
            let unmark = sqlx::query(UNMARK_OTHER).bind(login.as_str()).bind(person.as_str()).bind(other.text());
            unmark.execute(tx.connection()).await.named("stale_person.unmark_other")?;
        }
        let mark =
            sqlx::query(MARK).bind(login.as_str()).bind(person.as_str()).bind(what.text()).bind(self.clock().next_id());
        Ok(mark.execute(tx.connection()).await.named("stale_person.mark")?.rows_affected() > 0)
    }

    /// What a login has heard of people since `after` and nobody has looked at, oldest first, at most 100.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stale_people(&self, login: &LoginId, after: i64) -> Result<Vec<StaleMark>> {
        let rows = sqlx::query(STALE).bind(login.as_str()).bind(after).fetch_all(self.pool()).await;
        let mut marks = Vec::new();
        for row in rows.named("stale_person.of")? {
            let text = |column: &'static str| row.try_get::<String, _>(column).named("stale_person.of");
            let what = text("what")?;
            let Some((what, _)) = Stale::ALL.into_iter().find(|(_, text)| *text == what) else { continue };
            let at = row.try_get("at").named("stale_person.of")?;
            marks.push(StaleMark { login: login.clone(), person: GhostId::new(text("ghost_id")?), what, at });
        }
        Ok(marks)
    }

    /// Notes that a mark was looked at; one made since then stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stale_is_done(&self, mark: &StaleMark) -> Result<()> {
        let done =
            sqlx::query(DONE).bind(mark.login.as_str()).bind(mark.person.as_str()).bind(mark.what.text()).bind(mark.at);
        self.write("stale_person.done", done).await.map(drop)
    }

    /// A login's own room with a person, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_room_with(&self, login: &LoginId, person: &GhostId) -> Result<Option<String>> {
        let row = sqlx::query(ROOM_WITH).bind(login.as_str()).bind(person.as_str()).fetch_optional(self.pool()).await;
        row.named("contact.room_with")?.map(|row| row.try_get("room_id")).transpose().named("contact.room_with")
    }

    /// The portal of a chat as a login sees it: its own, or the shared one. `tx` reads it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_portal_of_chat_in(
        &self,
        tx: &mut Tx,
        chat: &ChatId,
        login: &LoginId,
    ) -> Result<Option<PortalId>> {
        let row = sqlx::query(PORTAL_OF).bind(chat.as_str()).bind(login.as_str()).fetch_optional(tx.connection()).await;
        let id = row.named("contact.portal_of_chat")?.map(|row| row.try_get("portal_id")).transpose();
        Ok(id.named("contact.portal_of_chat")?.map(PortalId::new))
    }

    /// As [`Store::find_portal_of_chat_in`], outside of a transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_portal_of_chat(&self, chat: &ChatId, login: &LoginId) -> Result<Option<PortalId>> {
        let row = sqlx::query(PORTAL_OF).bind(chat.as_str()).bind(login.as_str()).fetch_optional(self.pool()).await;
        let id = row.named("contact.portal_of_chat")?.map(|row| row.try_get("portal_id")).transpose();
        Ok(id.named("contact.portal_of_chat")?.map(PortalId::new))
    }

    /// The people of a login's direct chats with rooms, those with the newest messages first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn people_with_rooms(&self, login: &LoginId, most: i64) -> Result<Vec<GhostId>> {
        let rows = sqlx::query(PEOPLE).bind(login.as_str()).bind(most).fetch_all(self.pool()).await;
        let id = |row: &sqlx::any::AnyRow| row.try_get("chat").map(|chat: String| GhostId::new(chat));
        rows.named("contact.people_with_rooms")?.iter().map(|row| id(row).named("contact.people_with_rooms")).collect()
    }

    /// The linked logins that have a room of a direct chat with a person.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logins_with(&self, person: &GhostId) -> Result<Vec<LoginId>> {
        let rows = sqlx::query(LOGINS_WITH).bind(person.as_str()).fetch_all(self.pool()).await;
        let id = |row: &sqlx::any::AnyRow| row.try_get("login_id").map(|login: String| LoginId::new(login));
        rows.named("contact.logins_with")?.iter().map(|row| id(row).named("contact.logins_with")).collect()
    }

    /// The rooms of direct chats with a person that go by the person's own name: those whose login has no name for them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms_named_by_ghost(&self, person: &GhostId) -> Result<Vec<String>> {
        let rows = sqlx::query(ROOMS_UNNAMED).bind(person.as_str()).fetch_all(self.pool()).await;
        let rows = rows.named("contact.rooms_unnamed")?;
        rows.iter().map(|row| row.try_get("room_id").named("contact.rooms_unnamed")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { an_address_book_names_its_own_logins_rooms => own_rooms; }
    on_both! { a_mark_made_while_another_was_looked_at_stays => marks; }
    on_both! { a_number_change_keeps_ghost_room_and_names => number; }

    const ROOM: &str = "!r:test.local";

    fn contact(full_name: &str) -> Contact {
        Contact { full_name: full_name.into(), first_name: String::new() }
    }

    async fn portal(store: &Store, login: &LoginId, person: &GhostId, room: &str) -> PortalId {
        let mut tx = store.begin("test").await.unwrap();
        let chat = ChatId::new(person.as_str());
        let made = store.find_or_make_portal_in(&mut tx, &chat, Some(login), "@a:b", PortalKind::Direct).await.unwrap();
        tx.commit().await.unwrap();
        store.set_portal_room(made.id, room).await.unwrap();
        made.id
    }

    async fn own_rooms(store: Store) {
        let (alice, bob, carol) = (LoginId::new("1"), LoginId::new("2"), GhostId::new("100@lid"));
        portal(&store, &alice, &carol, ROOM).await;
        portal(&store, &bob, &carol, "!b:test.local").await;
        let mut tx = store.begin("test").await.unwrap();
        let dave = GhostId::new("200@lid");
        assert!(!store.put_contact_in(&mut tx, &alice, &dave, &contact("Dave")).await.unwrap(), "no room shows it");
        assert!(store.put_contact_in(&mut tx, &alice, &carol, &contact("Aunt Carol")).await.unwrap());
        assert!(!store.put_contact_in(&mut tx, &alice, &carol, &contact("Aunt Carol")).await.unwrap(), "no news");
        tx.commit().await.unwrap();
        assert_eq!(store.find_contact(&alice, &carol).await.unwrap().unwrap().name(), Some("Aunt Carol"));
        assert_eq!(store.find_contact(&bob, &carol).await.unwrap(), None);
        assert_eq!(store.rooms_named_by_ghost(&carol).await.unwrap(), ["!b:test.local"]);
        assert_eq!(store.find_room_with(&alice, &carol).await.unwrap().as_deref(), Some(ROOM));
        let marks = store.stale_people(&alice, 0).await.unwrap();
        assert_eq!(marks.iter().map(|mark| (&mark.person, mark.what)).collect::<Vec<_>>(), [(&carol, Stale::Name)]);
        assert!(store.stale_people(&bob, 0).await.unwrap().is_empty());
        let mut tx = store.begin("test").await.unwrap();
        store.forget_contacts_in(&mut tx, &alice).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_contact(&alice, &carol).await.unwrap(), None);
        assert!(store.stale_people(&alice, 0).await.unwrap().is_empty());
    }

    async fn marks(store: Store) {
        let (login, person) = (LoginId::new("1"), GhostId::new("100@lid"));
        let mark = async |what| {
            let mut tx = store.begin("test").await.unwrap();
            let marked = store.put_stale_in(&mut tx, &login, &person, what).await.unwrap();
            tx.commit().await.unwrap();
            marked
        };
        assert!(!mark(Stale::Picture).await, "nobody shows them");
        store.find_or_make_ghost(&person, "lid-100").await.unwrap();
        assert!(mark(Stale::Picture).await);
        let first = store.stale_people(&login, 0).await.unwrap().remove(0);
        assert!(mark(Stale::Picture).await);
        store.stale_is_done(&first).await.unwrap();
        let second = store.stale_people(&login, 0).await.unwrap().remove(0);
        assert_ne!(first.at, second.at);
        assert!(mark(Stale::NoPicture).await);
        let left: Vec<Stale> = store.stale_people(&login, 0).await.unwrap().iter().map(|mark| mark.what).collect();
        assert_eq!(left, [Stale::NoPicture], "what came last counts");
    }

    async fn number(store: Store) {
        let (old, new) = (GhostId::new("1555@s.whatsapp.net"), GhostId::new("1666@s.whatsapp.net"));
        let login = LoginId::new("1");
        let kept = portal(&store, &login, &old, ROOM).await;
        let ghost = store.find_or_make_ghost(&old, "1555").await.unwrap();
        let mut tx = store.begin("test").await.unwrap();
        store.put_contact_in(&mut tx, &login, &old, &contact("Aunt Carol")).await.unwrap();
        assert!(store.join_ids_in(&mut tx, &old, &new).await.unwrap().is_empty(), "one room: nothing to merge");
        tx.commit().await.unwrap();
        assert_eq!(store.find_or_make_ghost(&new, "1666").await.unwrap().localpart, ghost.localpart);
        let found = store.find_portal_of_chat(&ChatId::new(new.as_str()), &login).await.unwrap();
        assert_eq!(found, Some(kept));
        assert_eq!(store.find_room_with(&login, &new).await.unwrap().as_deref(), Some(ROOM));
        assert_eq!(store.find_contact(&login, &new).await.unwrap(), Some(contact("Aunt Carol")));
        assert_eq!(store.find_contact(&login, &old).await.unwrap(), None);
    }
}
