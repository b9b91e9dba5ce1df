//! How far the first settling of a login's chats is, and the notice that tells of it.

use super::{Named, Result, Store};
use crate::ids::LoginId;
use crate::store::logins::Login;
use sqlx::Row;
use sqlx::any::AnyRow;

/// A notice that tells how far the chats of a login are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressRow {
    /// The login.
    pub login: LoginId,
    /// When it was linked.
    pub since: i64,
    /// When its chats were read first, milliseconds since 1970.
    pub began_at: i64,
    /// When it was told last, milliseconds since 1970; 0 = never.
    pub edited_at: i64,
    /// The notice's room; empty before it is sent.
    pub room: String,
    /// The notice; empty before it is sent.
    pub event: String,
}

/// What is ready of a login's chats, and what is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chats {
    /// All of them.
    pub all: i64,
    /// Those whose rooms show all of them.
    pub ready: i64,
    /// Rooms that are not made yet.
    pub rooms: i64,
    /// People who are not in a room yet that they belong in.
    pub people: i64,
}

const BEGIN: &str = "-- progress.begin
    INSERT INTO login_progress (login_id, since, is_done, began_at, edited_at, room_id, event_id)
    VALUES ($1, $2, $3, $4, 0, '', '')
    ON CONFLICT (login_id) DO UPDATE SET since = excluded.since, is_done = excluded.is_done, began_at = excluded.began_at,
        edited_at = 0, room_id = '', event_id = '' WHERE login_progress.since <> excluded.since";
const FIND: &str = "-- progress.find
    SELECT since FROM login_progress WHERE login_id = $1";
const RUNNING: &str = "-- progress.running
    SELECT login_id, since, began_at, edited_at, room_id, event_id FROM login_progress WHERE is_done = 0 ORDER BY login_id";
const TOLD: &str = "-- progress.told
    UPDATE login_progress SET edited_at = $2, room_id = $3, event_id = $4 WHERE login_id = $1";
const DONE: &str = "-- progress.done
    UPDATE login_progress SET is_done = 1 WHERE login_id = $1";
// A group that was never read has no facts; one that waits for nothing but its picture is ready.
const CHATS: &str = "-- progress.chats
    SELECT CAST(COUNT(*) AS BIGINT) AS everything,
           CAST(COALESCE(SUM(CASE WHEN stale = 0 AND unsettled = 0 THEN 1 ELSE 0 END), 0) AS BIGINT) AS ready,
           CAST(COALESCE(SUM(CASE WHEN unsettled <> 0 AND portal.room_id IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT) AS rooms
    FROM group_chat JOIN portal ON portal.portal_id = group_chat.portal_id
    JOIN portal_login ON portal_login.portal_id = group_chat.portal_id AND portal_login.login_id = $1";
const PEOPLE: &str = "-- progress.people
    SELECT CAST(COUNT(*) AS BIGINT) AS people FROM group_member
    JOIN group_chat ON group_chat.portal_id = group_member.portal_id AND group_chat.unsettled <> 0
    JOIN portal_login ON portal_login.portal_id = group_member.portal_id AND portal_login.login_id = $1
    WHERE group_member.role > 0 AND group_member.shown = 0";

impl Store {
    /// Whether the chats of this linking of an account were read before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_progress(&self, login: &Login) -> Result<bool> {
        let row = sqlx::query(FIND).bind(login.id.as_str()).fetch_optional(self.pool()).await.named("progress.find")?;
        let since: Option<i64> = row.map(|row| row.try_get("since")).transpose().named("progress.find")?;
        Ok(since == Some(login.since))
    }

    /// Notes that the chats of a login were read the first time since it was linked; the second time changes nothing.
    /// `tells` = whether a notice shall tell how far they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_progress(&self, login: &Login, tells: bool) -> Result<()> {
        let write = sqlx::query(BEGIN).bind(login.id.as_str()).bind(login.since).bind(i64::from(!tells));
        self.write("progress.begin", write.bind(self.clock().now_ms())).await.map(drop)
    }

    /// Notices that are not at their end, by login.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn running_progress(&self) -> Result<Vec<ProgressRow>> {
        let rows = sqlx::query(RUNNING).fetch_all(self.pool()).await.named("progress.running")?;
        let read = |row: &AnyRow| -> std::result::Result<ProgressRow, sqlx::Error> {
            Ok(ProgressRow {
                login: LoginId::new(row.try_get::<String, _>("login_id")?),
                since: row.try_get("since")?,
                began_at: row.try_get("began_at")?,
                edited_at: row.try_get("edited_at")?,
                room: row.try_get("room_id")?,
                event: row.try_get("event_id")?,
            })
        };
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("progress.running")
    }

    /// Notes the notice of a login and when it was told last; without room and event it is sent anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress_was_told(&self, login: &LoginId, at: i64, room: &str, event: &str) -> Result<()> {
        let write = sqlx::query(TOLD).bind(login.as_str()).bind(at).bind(room).bind(event);
        self.write("progress.told", write).await.map(drop)
    }

    /// Notes that nothing more is told of a login's chats.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress_is_done(&self, login: &LoginId) -> Result<()> {
        self.write("progress.done", sqlx::query(DONE).bind(login.as_str())).await.map(drop)
    }

    /// What is ready of a login's groups. Direct chats get their rooms with their messages and are not counted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn chats_ready(&self, login: &LoginId) -> Result<Chats> {
        let row = sqlx::query(CHATS).bind(login.as_str()).fetch_one(self.pool()).await.named("progress.chats")?;
        let people = sqlx::query(PEOPLE).bind(login.as_str()).fetch_one(self.pool()).await.named("progress.people")?;
        let read = || -> std::result::Result<Chats, sqlx::Error> {
            Ok(Chats {
                all: row.try_get("everything")?,
                ready: row.try_get("ready")?,
                rooms: row.try_get("rooms")?,
                people: people.try_get("people")?,
            })
        };
        read().named("progress.chats")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChatId, DeviceKey, GhostId, PortalId};
    use crate::store::logins::LoginState;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! {
        a_linking_is_told_once => told;
        what_is_ready_is_counted => counted;
    }

    fn login(since: i64) -> Login {
        Login {
            id: LoginId::new("12025550100"),
            mxid: "@a:test.local".into(),
            device: DeviceKey::new("d"),
            own: GhostId::new("1@lid"),
            pn: GhostId::new("12025550100@s.whatsapp.net"),
            push_name: String::new(),
            state: LoginState::Linked,
            since,
        }
    }

    async fn told(store: Store) {
        assert!(!store.has_progress(&login(1)).await.unwrap());
        store.begin_progress(&login(1), true).await.unwrap();
        assert!(store.has_progress(&login(1)).await.unwrap());
        store.progress_was_told(&login(1).id, 5, "!r", "$e").await.unwrap();
        store.begin_progress(&login(1), true).await.unwrap();
        let running = store.running_progress().await.unwrap();
        assert_eq!((running.len(), running[0].event.as_str(), running[0].edited_at), (1, "$e", 5));
        store.progress_is_done(&login(1).id).await.unwrap();
        store.begin_progress(&login(1), true).await.unwrap();
        assert!(store.running_progress().await.unwrap().is_empty(), "it is done for good");
        // Linked anew.
        assert!(!store.has_progress(&login(2)).await.unwrap());
        store.begin_progress(&login(2), true).await.unwrap();
        let running = store.running_progress().await.unwrap();
        assert_eq!((running[0].event.as_str(), running[0].since), ("", 2));
    }

    async fn counted(store: Store) {
        let id = login(1).id;
        assert_eq!(store.chats_ready(&id).await.unwrap(), Chats::default());
        let mut portals = Vec::new();
        for chat in ["1@g.us", "2@g.us"] {
            let mut tx = store.begin("test").await.unwrap();
            let chat = ChatId::new(chat);
            let portal = store.find_or_make_portal_in(&mut tx, &chat, None, "", PortalKind::Group).await.unwrap().id;
            store.join_portal_in(&mut tx, portal, &id).await.unwrap();
            let people = [(GhostId::new("1@lid"), 1), (GhostId::new("2@lid"), 2)];
            store.put_group_in(&mut tx, portal, b"facts", &people).await.unwrap();
            tx.commit().await.unwrap();
            portals.push(portal);
        }
        assert_eq!(store.chats_ready(&id).await.unwrap(), Chats { all: 2, ready: 0, rooms: 2, people: 4 });
        store.set_portal_room(portals[0], "!r:test.local").await.unwrap();
        store.member_is_shown(portals[0], &GhostId::new("1@lid"), 1).await.unwrap();
        assert_eq!(store.chats_ready(&id).await.unwrap(), Chats { all: 2, ready: 0, rooms: 1, people: 3 });
        settle(&store, portals[1]).await;
        assert_eq!(store.chats_ready(&id).await.unwrap(), Chats { all: 2, ready: 1, rooms: 0, people: 1 });
        assert_eq!(store.chats_ready(&LoginId::new("9")).await.unwrap(), Chats::default());
    }

    async fn settle(store: &Store, portal: PortalId) {
        let marks = store.unsettled_groups().await.unwrap();
        let (_, mark) = marks.iter().find(|(other, _)| *other == portal).unwrap();
        store.group_is_settled(portal, *mark).await.unwrap();
    }
}
