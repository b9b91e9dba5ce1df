//! People on Matrix, their linked WhatsApp accounts, and which account takes part in which portal.

use super::{Named, Result, Store, StoreError, Tx};
use crate::ids::{DeviceKey, GhostId, LoginId, PortalId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A linked WhatsApp account.
#[derive(Debug, Clone)]
pub struct Login {
    /// Its name: phone number digits at pairing.
    pub id: LoginId,
    /// Who owns it.
    pub mxid: String,
    /// The client library's rows.
    pub device: DeviceKey,
    /// Own person id: the LID when told, else the phone number id.
    pub own: GhostId,
    /// Own phone number id.
    pub pn: GhostId,
    /// Name shown to contacts; may be empty.
    pub push_name: String,
    /// Whether it is linked.
    pub state: LoginState,
    /// When that state was entered, milliseconds since 1970.
    pub since: i64,
}

/// Whether WhatsApp still knows a login's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginState {
    /// The device is linked.
    Linked,
    /// The link is gone; the rooms stay for the next login.
    LoggedOut {
        /// Why, in the person's words.
        reason: String,
        /// How it came to that.
        how: Farewell,
    },
}

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Somebody on this side asked for it.
    Asked,
    /// The device was removed, on the phone or by WhatsApp.
    Removed,
    /// WhatsApp has locked the account, or it has moved to another phone.
    Locked,
    /// WhatsApp does not say.
    Unknown,
}

impl Farewell {
    /// What managers of bridges call it (the codes of mautrix's bridge), and the database; empty when asked for.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Asked => "",
            Self::Removed => "wa-logged-out",
            Self::Locked => "wa-main-device-gone",
            Self::Unknown => "wa-unknown-logout",
        }
    }

    /// Why, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Asked => "You logged out here.",
            Self::Removed => "The device was removed: on the phone, or by WhatsApp.",
            Self::Locked => "WhatsApp has locked the account, or it was set up on another phone.",
            Self::Unknown => "WhatsApp ended the link and does not say why.",
        }
    }

    fn of(code: &str) -> Option<Self> {
        [Self::Asked, Self::Removed, Self::Locked, Self::Unknown].into_iter().find(|how| how.code() == code)
    }
}

const COLUMNS_FROM: &str = "-- login.all
    SELECT login_id, mxid, device_key, lid, pn, push_name, state, reason, farewell, since FROM login ORDER BY login_id";
const FIND: &str = "-- login.find
    SELECT login_id, mxid, device_key, lid, pn, push_name, state, reason, farewell, since FROM login WHERE login_id = $1";
const OF_USER: &str = "-- login.of_user
    SELECT login_id, mxid, device_key, lid, pn, push_name, state, reason, farewell, since FROM login WHERE mxid = $1 ORDER BY login_id";
const PUT: &str = "-- login.put
    INSERT INTO login (login_id, mxid, device_key, lid, pn, push_name, state, reason, since, told)
    VALUES ($1, $2, $3, $4, $5, '', 'linked', '', $6, 1)
    ON CONFLICT (login_id) DO UPDATE SET device_key = excluded.device_key, lid = excluded.lid, pn = excluded.pn,
        state = 'linked', reason = '', farewell = '', since = excluded.since, told = 1 WHERE login.mxid = excluded.mxid";
const LOG_OUT: &str = "-- login.log_out
    UPDATE login SET state = 'logged_out', reason = $2, since = $3, told = $4, farewell = $6
    WHERE login_id = $1 AND state = 'linked' AND device_key = $5";
const UNTOLD: &str = "-- login.untold
    SELECT login_id, mxid, device_key, lid, pn, push_name, state, reason, farewell, since FROM login
    WHERE state = 'logged_out' AND told = 0 ORDER BY login_id";
const TOLD: &str = "-- login.told
    UPDATE login SET told = 1 WHERE login_id = $1 AND since = $2";
// Used for closing (from the login to its former owner) and for opening again (from a former owner to the login).
const GIVE_PORTALS: &str = "-- login.give_portals
    UPDATE portal SET receiver = $2 WHERE receiver = $1";
// What waits for a room that exists still goes there; a room that does not exist would be made for the new owner.
const DROP_WAITING: &str = "-- login.drop_waiting
    DELETE FROM inbox WHERE login_id = $1
        AND portal_id IN (SELECT portal_id FROM portal WHERE receiver = $2 AND room_id IS NULL)";
const DELETE: &str = "-- login.delete
    DELETE FROM login WHERE login_id = $1";
const USER_PUT: &str = "-- mx_user.put
    INSERT INTO mx_user (mxid, management_room) VALUES ($1, $2)
    ON CONFLICT (mxid) DO UPDATE SET management_room = excluded.management_room";
const USER_FIND: &str = "-- mx_user.find
    SELECT management_room FROM mx_user WHERE mxid = $1";
const JOIN_PORTAL: &str = "-- portal_login.put
    INSERT INTO portal_login (portal_id, login_id, read_to) VALUES ($1, $2, 0)
    ON CONFLICT (portal_id, login_id) DO NOTHING";
const READ_TO: &str = "-- portal_login.read_to
    UPDATE portal_login SET read_to = $3 WHERE portal_id = $1 AND login_id = $2 AND read_to < $3";
const FIND_READ_TO: &str = "-- portal_login.find_read_to
    SELECT read_to FROM portal_login WHERE portal_id = $1 AND login_id = $2";

impl Store {
    /// Every login, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_logins(&self) -> Result<Vec<Login>> {
        let rows = sqlx::query(COLUMNS_FROM).fetch_all(self.pool()).await.named("login.all")?;
        rows.iter().map(read_login).collect()
    }

    /// One login.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_login(&self, id: &LoginId) -> Result<Option<Login>> {
        let row = sqlx::query(FIND).bind(id.as_str()).fetch_optional(self.pool()).await.named("login.find")?;
        row.as_ref().map(read_login).transpose()
    }

    /// The logins one person owns, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logins_of(&self, mxid: &str) -> Result<Vec<Login>> {
        let rows = sqlx::query(OF_USER).bind(mxid).fetch_all(self.pool()).await.named("login.of_user")?;
        rows.iter().map(read_login).collect()
    }

    /// Records a finished pairing, or a new pairing of a known account; false, and nothing changed, when the
    /// account is another person's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_login_in(
        &self,
        tx: &mut Tx,
        id: &LoginId,
        mxid: &str,
        device: &DeviceKey,
        own: Own<'_>,
    ) -> Result<bool> {
        let done = sqlx::query(PUT)
            .bind(id.as_str())
            .bind(mxid)
            .bind(device.as_str())
            .bind(own.lid.map_or("", GhostId::as_str))
            .bind(own.pn.as_str())
            .bind(self.clock().now_ms())
            .execute(tx.connection())
            .await
            .named("login.put")?;
        if done.rows_affected() > 0 {
            // A new device gets the whole address book.
            self.forget_contacts_in(tx, id).await?;
            self.watch_login_in(tx, id).await?;
        }
        Ok(done.rows_affected() > 0)
    }

    /// One login, inside a transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_login_in(&self, tx: &mut Tx, id: &LoginId) -> Result<Option<Login>> {
        let row = sqlx::query(FIND).bind(id.as_str()).fetch_optional(tx.connection()).await.named("login.find")?;
        row.as_ref().map(read_login).transpose()
    }

    /// Makes way for another person who links a logged-out account: the former owner's direct chats stay theirs,
    /// closed, and the account starts without rooms. False when the account is still linked, or unknown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_login_in(&self, tx: &mut Tx, id: &LoginId, new_owner: &str) -> Result<bool> {
        let Some(old) = self.find_login_in(tx, id).await?.filter(|old| old.mxid != new_owner) else { return Ok(false) };
        if old.state == LoginState::Linked {
            return Ok(false);
        }
        let closed = format!("{id} of {}", old.mxid);
        let reopened = format!("{id} of {new_owner}");
        // Rooms the new owner had with this account before are theirs again.
        let steps = [
            (GIVE_PORTALS, id.as_str(), closed.as_str()),
            (DROP_WAITING, id.as_str(), closed.as_str()),
            (GIVE_PORTALS, reopened.as_str(), id.as_str()),
        ];
        for (text, from, to) in steps {
            sqlx::query(text).bind(from).bind(to).execute(tx.connection()).await.named("login.release")?;
        }
        self.leave_all_groups_in(tx, id).await?;
        self.leave_all_channels_in(tx, id).await?;
        self.forget_contacts_in(tx, id).await?;
        self.forget_watch_in(tx, id).await?;
        sqlx::query(DELETE).bind(id.as_str()).execute(tx.connection()).await.named("login.delete")?;
        Ok(true)
    }

    /// Records that the link of this device is gone; false when it was already, or the login has another device by
    /// now. `owner` says whether the owner still has to be told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_out(
        &self,
        id: &LoginId,
        device: &DeviceKey,
        reason: &str,
        how: Farewell,
        owner: Owner,
    ) -> Result<bool> {
        let write = sqlx::query(LOG_OUT)
            .bind(id.as_str())
            .bind(reason)
            .bind(self.clock().now_ms())
            .bind(i64::from(owner == Owner::Knows))
            .bind(device.as_str())
            .bind(how.code());
        Ok(self.write("login.log_out", write).await?.affected > 0)
    }

    /// Logged-out logins whose owners were not told yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn untold_logouts(&self) -> Result<Vec<Login>> {
        let rows = sqlx::query(UNTOLD).fetch_all(self.pool()).await.named("login.untold")?;
        rows.iter().map(read_login).collect()
    }

    /// Notes which of their accounts somebody wants used where they name none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prefer_login(&self, mxid: &str, login: &LoginId) -> Result<()> {
        self.put_meta(&preferred(mxid), login.as_str().as_bytes()).await
    }

    /// The account somebody wants used where they name none; it may be gone by now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_preferred_login(&self, mxid: &str) -> Result<Option<LoginId>> {
        let found = self.find_meta(&preferred(mxid)).await?;
        Ok(found.map(|name| LoginId::new(String::from_utf8_lossy(&name))))
    }

    /// Notes that the owner of a login was told of this logout.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owner_was_told(&self, login: &Login) -> Result<()> {
        self.write("login.told", sqlx::query(TOLD).bind(login.id.as_str()).bind(login.since)).await.map(drop)
    }

    /// Remembers where a person talks to the bot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_management_room(&self, mxid: &str, room: &str) -> Result<()> {
        self.write("mx_user.put", sqlx::query(USER_PUT).bind(mxid).bind(room)).await.map(drop)
    }

    /// Where a person talks to the bot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_management_room(&self, mxid: &str) -> Result<Option<String>> {
        let row = sqlx::query(USER_FIND).bind(mxid).fetch_optional(self.pool()).await.named("mx_user.find")?;
        let room: Option<String> = row.map(|row| row.try_get("management_room")).transpose().named("mx_user.find")?;
        Ok(room.filter(|room| !room.is_empty()))
    }

    /// Notes that a login takes part in a portal; whether that is news.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn join_portal_in(&self, tx: &mut Tx, portal: PortalId, login: &LoginId) -> Result<bool> {
        let done = sqlx::query(JOIN_PORTAL).bind(portal.get()).bind(login.as_str()).execute(tx.connection()).await;
        Ok(done.named("portal_login.put")?.rows_affected() > 0)
    }

    /// Up to which time a login has reported a portal as read; 0 when it never has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_read_mark(&self, portal: PortalId, login: &LoginId) -> Result<i64> {
        let row = sqlx::query(FIND_READ_TO).bind(portal.get()).bind(login.as_str()).fetch_optional(self.pool()).await;
        let mark = row.named("portal_login.find_read_to")?.map(|row| row.try_get("read_to")).transpose();
        Ok(mark.named("portal_login.find_read_to")?.unwrap_or(0))
    }

    /// Moves a login's read mark forward; false when it already stands there or further.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn advance_read_mark(&self, portal: PortalId, login: &LoginId, ts: i64) -> Result<bool> {
        let write = sqlx::query(READ_TO).bind(portal.get()).bind(login.as_str()).bind(ts);
        Ok(self.write("portal_login.read_to", write).await?.affected > 0)
    }
}

/// Whether a login's owner knows of its logout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// They asked for it.
    Knows,
    /// They have to be told.
    MustHear,
}

/// The two ids of a login's own person.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// LID, when WhatsApp told it.
    pub lid: Option<&'a GhostId>,
    /// Phone number id.
    pub pn: &'a GhostId,
}

/// Where somebody's choice is kept.
fn preferred(mxid: &str) -> String {
    format!("preferred_login:{mxid}")
}

pub(super) fn read_login(row: &AnyRow) -> Result<Login> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("login.read");
    let lid = text("lid")?;
    let pn = text("pn")?;
    let state = match text("state")?.as_str() {
        "linked" => LoginState::Linked,
        "logged_out" => LoginState::LoggedOut {
            reason: text("reason")?,
            // A row of a later version may hold a code this one does not know.
            how: Farewell::of(&text("farewell")?).unwrap_or(Farewell::Unknown),
        },
        _ => return Err(StoreError::Corrupt { table: "login", why: "unknown state".into() }),
    };
    Ok(Login {
        id: LoginId::new(text("login_id")?),
        mxid: text("mxid")?,
        device: DeviceKey::new(text("device_key")?),
        own: GhostId::new(if lid.is_empty() { pn.clone() } else { lid }),
        pn: GhostId::new(pn),
        push_name: text("push_name")?,
        state,
        since: row.try_get("since").named("login.read")?,
    })
}
