//! What people are told about their accounts: their chats, what waits, and what could not be bridged.

use super::{Named, Result, Store};
use crate::ids::{LoginId, PortalId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A chat of an account, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatLine {
    /// The chat.
    pub portal: PortalId,
    /// WhatsApp's id of it.
    pub chat: String,
    /// `dm`, `self`, `group`, …
    pub kind: String,
    /// Its room; none while there is none.
    pub room: Option<String>,
    /// What the account's address book calls the person, else what they call themselves; empty for groups.
    pub person: String,
    /// What is known of a group or a channel, as JSON; empty for others.
    pub facts: Vec<u8>,
}

/// Something that could not be bridged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The room it belongs to; none when that is not known.
    pub room: Option<String>,
    /// Whether it came from WhatsApp.
    pub is_from_whatsapp: bool,
    /// Why; holds no text, names or numbers.
    pub why: String,
    /// When it arrived, milliseconds since 1970.
    pub at: i64,
}

const CHATS: &str = "-- overview.chats
    SELECT portal.portal_id AS portal_id, portal.chat AS chat, portal.kind AS kind, portal.room_id AS room_id,
           COALESCE(NULLIF(contact.full_name, ''), NULLIF(contact.first_name, ''), ghost.name, '') AS person,
           COALESCE(group_chat.facts, channel.facts) AS facts
    FROM portal_login
    JOIN portal ON portal.portal_id = portal_login.portal_id
    LEFT JOIN contact ON contact.login_id = portal_login.login_id AND contact.ghost_id = portal.chat
    LEFT JOIN ghost ON ghost.ghost_id = portal.chat
    LEFT JOIN group_chat ON group_chat.portal_id = portal.portal_id
    LEFT JOIN channel ON channel.portal_id = portal.portal_id
    WHERE portal_login.login_id = $1 AND (portal.receiver = $1 OR portal.receiver = '') AND portal.merged_into = 0
    ORDER BY portal.portal_id";
const WAITING: &str = "-- overview.waiting
    SELECT source, COUNT(*) AS rows_waiting FROM inbox
    WHERE state <> 'failed' AND (login_id = $1 OR (source = 'mx' AND lane LIKE $2 ESCAPE '!'))
    GROUP BY source";
const FAILED: &str = "-- overview.failed
    SELECT inbox.source AS source, inbox.lane AS lane, inbox.last_error AS last_error, inbox.received_at AS received_at,
           portal.room_id AS room_id
    FROM inbox LEFT JOIN portal ON portal.portal_id = inbox.portal_id
    WHERE inbox.state = 'failed' AND (inbox.source = 'mx' AND inbox.lane LIKE $1 ESCAPE '!'
        OR inbox.login_id IN (SELECT login_id FROM login WHERE mxid = $2))
    ORDER BY inbox.seq DESC LIMIT $3";
const MANAGEMENT: &str = "-- overview.management_rooms
    SELECT mxid, management_room FROM mx_user WHERE management_room <> '' ORDER BY mxid";

/// What waits for one account, by the side it came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// From WhatsApp.
    pub from_whatsapp: i64,
    /// From its owner's rooms.
    pub from_matrix: i64,
}

impl Store {
    /// The chats of an account, in the order they were first seen.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn chats_of(&self, login: &LoginId) -> Result<Vec<ChatLine>> {
        let rows = sqlx::query(CHATS).bind(login.as_str()).fetch_all(self.pool()).await.named("overview.chats")?;
        let read = |row: &AnyRow| -> std::result::Result<ChatLine, sqlx::Error> {
            Ok(ChatLine {
                portal: PortalId::new(row.try_get("portal_id")?),
                chat: row.try_get("chat")?,
                kind: row.try_get("kind")?,
                room: row.try_get("room_id")?,
                person: row.try_get("person")?,
                facts: row.try_get::<Option<Vec<u8>>, _>("facts")?.unwrap_or_default(),
            })
        };
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("overview.chats")
    }

    /// How much waits for an account and its owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting_for(&self, login: &LoginId, owner: &str) -> Result<Waiting> {
        let asked = sqlx::query(WAITING).bind(login.as_str()).bind(lanes_of(owner));
        let mut waiting = Waiting::default();
        for row in asked.fetch_all(self.pool()).await.named("overview.waiting")? {
            let rows: i64 = row.try_get("rows_waiting").named("overview.waiting")?;
            match row.try_get::<String, _>("source").named("overview.waiting")?.as_str() {
                "mx" => waiting.from_matrix = rows,
                _ => waiting.from_whatsapp = rows,
            }
        }
        Ok(waiting)
    }

    /// What of a person's could not be bridged, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn failures_of(&self, owner: &str, limit: i64) -> Result<Vec<Failure>> {
        let asked = sqlx::query(FAILED).bind(lanes_of(owner)).bind(owner).bind(limit);
        let rows = asked.fetch_all(self.pool()).await.named("overview.failed")?;
        let read = |row: &AnyRow| -> std::result::Result<Failure, sqlx::Error> {
            let is_from_whatsapp = row.try_get::<String, _>("source")? != "mx";
            let lane: String = row.try_get("lane")?;
            let room = match is_from_whatsapp {
                true => row.try_get("room_id")?,
                false => room_of(&lane, owner),
            };
            let (why, at) = (row.try_get("last_error")?, row.try_get("received_at")?);
            Ok(Failure { room, is_from_whatsapp, why, at })
        };
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("overview.failed")
    }

    /// Everybody who has a management room, with it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn management_rooms(&self) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query(MANAGEMENT).fetch_all(self.pool()).await.named("overview.management_rooms")?;
        let read = |row: &AnyRow| Ok((row.try_get("mxid")?, row.try_get("management_room")?));
        rows.iter().map(read).collect::<std::result::Result<_, sqlx::Error>>().named("overview.management_rooms")
    }
}

/// The pattern of the lanes that hold what somebody said or read ([`crate::ids::Lane::from_person`]).
fn lanes_of(owner: &str) -> String {
    let owner = owner.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("_:%:{owner}")
}

/// The room in the name of such a lane.
fn room_of(lane: &str, owner: &str) -> Option<String> {
    let room = lane.get(2..)?.strip_suffix(owner)?.strip_suffix(':')?;
    Some(room.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChatId, DeviceKey, GhostId, Lane};
    use crate::store::inbox::{Arrival, Source};
    use crate::store::logins::Own;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! {
        chats_are_those_of_the_account => chats;
        what_waits_and_has_failed_is_the_owners => rows;
    }

    async fn link(store: &Store, id: &str, owner: &str) -> LoginId {
        let login = LoginId::new(id);
        let mut tx = store.begin("test").await.unwrap();
        let pn = GhostId::new(format!("{id}@s.whatsapp.net"));
        store.put_login_in(&mut tx, &login, owner, &DeviceKey::new(id), Own { lid: None, pn: &pn }).await.unwrap();
        tx.commit().await.unwrap();
        login
    }

    async fn chats(store: Store) {
        let (alice, bob) = (link(&store, "1", "@alice:x").await, link(&store, "2", "@bob:x").await);
        let mut tx = store.begin("test").await.unwrap();
        for (chat, receiver, logins) in [
            ("9@lid", Some(&alice), vec![&alice]),
            ("9@lid", Some(&bob), vec![&bob]),
            ("g@g.us", None, vec![&alice, &bob]),
        ] {
            let kind = if receiver.is_some() { PortalKind::Direct } else { PortalKind::Group };
            let owner = receiver.map_or("", |login| if *login == alice { "@alice:x" } else { "@bob:x" });
            let portal =
                store.find_or_make_portal_in(&mut tx, &ChatId::new(chat), receiver, owner, kind).await.unwrap();
            for login in logins {
                store.join_portal_in(&mut tx, portal.id, login).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        for login in [&alice, &bob] {
            let told = store.chats_of(login).await.unwrap();
            let told: Vec<(&str, &str)> = told.iter().map(|line| (line.chat.as_str(), line.kind.as_str())).collect();
            assert_eq!(told, [("9@lid", "dm"), ("g@g.us", "group")]);
        }
        assert!(store.chats_of(&LoginId::new("3")).await.unwrap().is_empty());
    }

    async fn rows(store: Store) {
        let login = link(&store, "1", "@a_b:x").await;
        link(&store, "2", "@aab:x").await;
        let arrivals = [
            ("one", Lane::from_person("!r:x", "@a_b:x"), Source::Matrix, None),
            ("two", Lane::from_person("!r:x", "@aab:x"), Source::Matrix, None),
            ("three", Lane::into_matrix(PortalId::new(5)), Source::Whatsapp, Some(login.clone())),
        ];
        let mut tx = store.begin("test").await.unwrap();
        for (dedup, lane, source, login) in arrivals {
            let arrival = Arrival {
                seq: None,
                dedup: dedup.into(),
                lane,
                source,
                login,
                portal: None,
                kind: "k",
                body: Vec::new(),
            };
            assert!(store.put_arrival(&mut tx, &arrival).await.unwrap());
        }
        tx.commit().await.unwrap();
        let waiting = store.waiting_for(&login, "@a_b:x").await.unwrap();
        assert_eq!(waiting, Waiting { from_whatsapp: 1, from_matrix: 1 });
        assert!(store.failures_of("@a_b:x", 10).await.unwrap().is_empty());
        for lane in [
            Lane::from_person("!r:x", "@a_b:x"),
            Lane::from_person("!r:x", "@aab:x"),
            Lane::into_matrix(PortalId::new(5)),
        ] {
            let row = store.take_rows(&lane, 1).await.unwrap().remove(0);
            store.fail_row(&row, "because").await.unwrap();
        }
        let failures = store.failures_of("@a_b:x", 10).await.unwrap();
        let told: Vec<(Option<&str>, bool)> =
            failures.iter().map(|failure| (failure.room.as_deref(), failure.is_from_whatsapp)).collect();
        assert_eq!(told, [(None, true), (Some("!r:x"), false)]);
        assert!(failures.iter().all(|failure| failure.why == "because"));
        assert_eq!(store.failures_of("@aab:x", 10).await.unwrap().len(), 1);
        assert_eq!(store.failures_of("@eve:x", 10).await.unwrap(), []);
    }

    #[test]
    fn a_lane_names_its_room() {
        assert_eq!(room_of("x:!r:x:@a:x", "@a:x").as_deref(), Some("!r:x"));
        assert_eq!(room_of("x:!r:x:@ba:x", "@a:x"), None);
    }
}
