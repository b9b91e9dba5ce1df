//! People's own accounts the bridge may act as, and what was sent as them.
//!
//! A send as a person is noted under its mark before it is tried ([`Store::put_puppet_send`]): the event comes back from
//! the homeserver under the person's name, and only a mark that is noted here, for the same room and sender, makes it an
//! echo. Once the event is known another one with the same mark is a copy somebody made, and theirs.

use super::messages::PartKey;
use super::{Named, Result, Store, StoreError};
use crate::ids::{GhostId, PortalId};
use sqlx::Row;

/// How the bridge may act as a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PuppetMode {
    /// By a token for everybody of their homeserver.
    Shared,
    /// By their own access token, sealed.
    Token(Vec<u8>),
    /// They do not want it.
    Off,
}

/// A person the bridge may act as, or may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PuppetRow {
    /// Who.
    pub mxid: String,
    /// How.
    pub mode: PuppetMode,
    /// When the homeserver first refused the token, milliseconds since 1970; none while it is good.
    pub lost_at: Option<i64>,
}

/// What was sent under a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PuppetSend {
    /// The room.
    pub room: String,
    /// As whom.
    pub mxid: String,
    /// The event, once known.
    pub event_id: Option<String>,
}

const FIND: &str = "-- puppet.find
    SELECT mxid, mode, token, lost_at FROM puppet WHERE mxid = $1";
const PUT: &str = "-- puppet.put
    INSERT INTO puppet (mxid, mode, token, lost_at, told) VALUES ($1, $2, $3, 0, 1)
    ON CONFLICT (mxid) DO UPDATE SET mode = excluded.mode, token = excluded.token, lost_at = 0, told = 1";
const LOSE: &str = "-- puppet.lose
    UPDATE puppet SET lost_at = $2, told = 0 WHERE mxid = $1 AND lost_at = 0 AND mode <> 'off'";
const UNTOLD: &str = "-- puppet.untold
    SELECT mxid, mode, token, lost_at FROM puppet WHERE told = 0 AND lost_at > 0 ORDER BY mxid";
const TOLD: &str = "-- puppet.told
    UPDATE puppet SET told = 1 WHERE mxid = $1 AND lost_at = $2";
const AUTHOR: &str = "-- puppet.author
    SELECT login.mxid FROM login
    JOIN portal_login ON portal_login.login_id = login.login_id AND portal_login.portal_id = $1
    JOIN portal ON portal.portal_id = $1 AND (portal.receiver = '' OR portal.receiver = login.login_id)
    WHERE (login.lid = $2 OR login.pn = $2) AND login.state = 'linked' ORDER BY login.login_id LIMIT 1";
const PUT_SEND: &str = "-- puppet_send.put
    INSERT INTO puppet_send (mark, room_id, mxid, event_id, sent_at, echoed) VALUES ($1, $2, $3, NULL, $4, 0)
    ON CONFLICT (mark) DO NOTHING";
const FIND_SEND: &str = "-- puppet_send.find
    SELECT room_id, mxid, event_id FROM puppet_send WHERE mark = $1";
const SENT: &str = "-- puppet_send.sent
    UPDATE puppet_send SET event_id = $2 WHERE mark = $1 AND event_id IS NULL";
const ECHOED: &str = "-- puppet_send.echoed
    UPDATE puppet_send SET event_id = $2, echoed = 1 WHERE mark = $1";
const GIVE: &str = "-- puppet.give_message
    UPDATE message SET mx_sender = $5
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND part = $4 AND state = 'reserved'";
const SWEEP: &str = "-- puppet_send.sweep
    DELETE FROM puppet_send WHERE echoed = 1 AND sent_at < $1";

impl Store {
    /// What is known of a person the bridge may act as.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_puppet(&self, mxid: &str) -> Result<Option<PuppetRow>> {
        let row = sqlx::query(FIND).bind(mxid).fetch_optional(self.pool()).await.named("puppet.find")?;
        row.as_ref().map(read).transpose()
    }

    /// Notes how the bridge may act as a person, from now on; a loss is forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_puppet(&self, mxid: &str, mode: &PuppetMode) -> Result<()> {
        let (word, token): (&str, &[u8]) = match mode {
            PuppetMode::Shared => ("shared", &[]),
            PuppetMode::Token(sealed) => ("token", sealed),
            PuppetMode::Off => ("off", &[]),
        };
        self.write("puppet.put", sqlx::query(PUT).bind(mxid).bind(word).bind(token)).await.map(drop)
    }

    /// Notes that the homeserver refuses a person's token; false when that is known already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lose_puppet(&self, mxid: &str) -> Result<bool> {
        let write = sqlx::query(LOSE).bind(mxid).bind(self.clock().now_ms());
        Ok(self.write("puppet.lose", write).await?.affected > 0)
    }

    /// People who do not know yet that their token is refused.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn untold_puppets(&self) -> Result<Vec<PuppetRow>> {
        let rows = sqlx::query(UNTOLD).fetch_all(self.pool()).await.named("puppet.untold")?;
        rows.iter().map(read).collect()
    }

    /// Notes that a person knows of this loss.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn puppet_was_told(&self, puppet: &PuppetRow) -> Result<()> {
        let write = sqlx::query(TOLD).bind(puppet.mxid.as_str()).bind(puppet.lost_at.unwrap_or(0));
        self.write("puppet.told", write).await.map(drop)
    }

    /// Who on Matrix a WhatsApp author is in a chat: the owner of the linked login that is theirs and takes part in it. In a
    /// direct chat that is the login the chat belongs to and no other, so nobody speaks in somebody else's room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_own_author(&self, portal: PortalId, author: &GhostId) -> Result<Option<String>> {
        let row = sqlx::query(AUTHOR).bind(portal.get()).bind(author.as_str()).fetch_optional(self.pool()).await;
        row.named("puppet.author")?.map(|row| row.try_get("mxid")).transpose().named("puppet.author")
    }

    /// Notes what is about to be sent as a person; the same mark again changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_puppet_send(&self, mark: &str, room: &str, mxid: &str) -> Result<()> {
        let write = sqlx::query(PUT_SEND).bind(mark).bind(room).bind(mxid).bind(self.clock().now_ms());
        self.write("puppet_send.put", write).await.map(drop)
    }

    /// What was noted under a mark.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_puppet_send(&self, mark: &str) -> Result<Option<PuppetSend>> {
        let row = sqlx::query(FIND_SEND).bind(mark).fetch_optional(self.pool()).await.named("puppet_send.find")?;
        row.map(|row| {
            Ok(PuppetSend {
                room: row.try_get("room_id")?,
                mxid: row.try_get("mxid")?,
                event_id: row.try_get("event_id")?,
            })
        })
        .transpose()
        .named("puppet_send.find")
    }

    /// Notes the event a send has made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn puppet_has_sent(&self, mark: &str, event: &str) -> Result<()> {
        self.write("puppet_send.sent", sqlx::query(SENT).bind(mark).bind(event)).await.map(drop)
    }

    /// Notes that the event of a send came back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn puppet_was_echoed(&self, mark: &str, event: &str) -> Result<()> {
        self.write("puppet_send.echoed", sqlx::query(ECHOED).bind(mark).bind(event)).await.map(drop)
    }

    /// Gives a reserved message to another sender.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_message_to(&self, key: &PartKey, mx_sender: &str) -> Result<()> {
        let write = sqlx::query(GIVE)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part)
            .bind(mx_sender);
        self.write("puppet.give_message", write).await.map(drop)
    }

    /// Forgets sends before `before_ms` that came back; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_puppet_sends(&self, before_ms: i64) -> Result<u64> {
        Ok(self.write("puppet_send.sweep", sqlx::query(SWEEP).bind(before_ms)).await?.affected)
    }
}

fn read(row: &sqlx::any::AnyRow) -> Result<PuppetRow> {
    let mode: String = row.try_get("mode").named("puppet.read")?;
    let mode = match mode.as_str() {
        "shared" => PuppetMode::Shared,
        "token" => PuppetMode::Token(row.try_get("token").named("puppet.read")?),
        "off" => PuppetMode::Off,
        _ => return Err(StoreError::Corrupt { table: "puppet", why: "unknown mode".into() }),
    };
    let lost_at: i64 = row.try_get("lost_at").named("puppet.read")?;
    Ok(PuppetRow { mxid: row.try_get("mxid").named("puppet.read")?, mode, lost_at: Some(lost_at).filter(|at| *at > 0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChatId, DeviceKey, LoginId};
    use crate::store::logins::Own;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! {
        a_loss_is_noted_and_told_once => loss;
        a_mark_stands_for_one_event_until_it_is_swept => marks;
        nobody_speaks_in_somebody_elses_direct_chat => authors;
    }

    async fn loss(store: Store) {
        assert_eq!(store.find_puppet("@a:b").await.unwrap(), None);
        assert!(!store.lose_puppet("@a:b").await.unwrap(), "nobody is there to lose");
        store.put_puppet("@a:b", &PuppetMode::Token(vec![1, 0, 2])).await.unwrap();
        assert!(store.lose_puppet("@a:b").await.unwrap());
        assert!(!store.lose_puppet("@a:b").await.unwrap(), "once");
        let lost = store.untold_puppets().await.unwrap();
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].mode, PuppetMode::Token(vec![1, 0, 2]));
        store.puppet_was_told(&lost[0]).await.unwrap();
        assert!(store.untold_puppets().await.unwrap().is_empty());
        store.put_puppet("@a:b", &PuppetMode::Shared).await.unwrap();
        assert_eq!(store.find_puppet("@a:b").await.unwrap().unwrap().lost_at, None);
        store.put_puppet("@a:b", &PuppetMode::Off).await.unwrap();
        assert!(!store.lose_puppet("@a:b").await.unwrap(), "who does not want one loses none");
    }

    async fn marks(store: Store) {
        let event = async || store.find_puppet_send("m").await.unwrap().unwrap().event_id;
        store.put_puppet_send("m", "!r", "@a:b").await.unwrap();
        store.put_puppet_send("m", "!other", "@c:d").await.unwrap();
        let want = PuppetSend { room: "!r".into(), mxid: "@a:b".into(), event_id: None };
        assert_eq!(store.find_puppet_send("m").await.unwrap(), Some(want));
        store.puppet_has_sent("m", "$1").await.unwrap();
        store.puppet_has_sent("m", "$2").await.unwrap();
        assert_eq!(event().await.as_deref(), Some("$1"));
        store.clock().advance(10);
        let now = store.clock().now_ms();
        assert_eq!(store.sweep_puppet_sends(now).await.unwrap(), 0, "it has not come back");
        store.puppet_was_echoed("m", "$1").await.unwrap();
        assert_eq!(store.sweep_puppet_sends(now).await.unwrap(), 1);
        assert_eq!(store.find_puppet_send("m").await.unwrap(), None);
    }

    async fn authors(store: Store) {
        let (alice, bob) = (GhostId::new("1@lid"), GhostId::new("2@lid"));
        let mut tx = store.begin("test").await.unwrap();
        let mut portals = Vec::new();
        for (id, own, mxid, peer) in [("11", &alice, "@alice:b", &bob), ("22", &bob, "@bob:b", &alice)] {
            let (login, pn) = (LoginId::new(id), GhostId::new(format!("{id}@s.whatsapp.net")));
            let device = DeviceKey::new(id);
            let own = Own { lid: Some(own), pn: &pn };
            assert!(store.put_login_in(&mut tx, &login, mxid, &device, own).await.unwrap());
            let chat = ChatId::new(peer.as_str());
            let portal =
                store.find_or_make_portal_in(&mut tx, &chat, Some(&login), mxid, PortalKind::Direct).await.unwrap();
            store.join_portal_in(&mut tx, portal.id, &login).await.unwrap();
            portals.push(portal.id);
        }
        tx.commit().await.unwrap();
        let author = async |portal, who| store.find_own_author(portal, who).await.unwrap();
        assert_eq!(author(portals[0], &alice).await.as_deref(), Some("@alice:b"));
        assert_eq!(author(portals[1], &bob).await.as_deref(), Some("@bob:b"));
        assert_eq!(author(portals[0], &bob).await, None, "Bob has a login here, but this room is Alice's");
        assert_eq!(author(portals[1], &alice).await, None);
        assert_eq!(author(portals[0], &GhostId::new("11@s.whatsapp.net")).await.as_deref(), Some("@alice:b"));
    }
}
