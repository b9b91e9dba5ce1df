//! What is watched about logins: what their owners were told, when their phones were last there, who tried to take them.

use super::{Named, Result, Store, Tx};
use crate::ids::LoginId;
use sqlx::Row;

/// What is known about one login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Code of the trouble its owner knows of; empty when there is none, or it is over.
    pub told: String,
    /// When that changed, milliseconds since 1970; 0 = never.
    pub told_at: i64,
    /// The last sign of the phone, milliseconds since 1970; 0 = not known.
    pub phone_seen: i64,
    /// When the phone was last asked for one, milliseconds since 1970; 0 = not since the last sign.
    pub phone_asked: i64,
    /// When another person tried to link the number and its owner was not told yet, milliseconds since 1970; 0 = nobody.
    pub tried_at: i64,
}

/// A second try within this time is not told again, milliseconds: one notice says all there is to do.
const SAME_TRY: i64 = 3_600_000;

const ALL: &str = "-- login_watch.all
    SELECT login_id, told, told_at, phone_seen, phone_asked, tried_at FROM login_watch ORDER BY login_id";
const PUT: &str = "-- login_watch.put
    INSERT INTO login_watch (login_id, told, told_at, phone_seen, phone_asked, tried_at, tried_told, cleaned)
    VALUES ($1, '', $2, $2, 0, 0, 0, 0)
    ON CONFLICT (login_id) DO UPDATE SET told = '', told_at = excluded.told_at, phone_seen = excluded.phone_seen,
        phone_asked = 0, tried_at = 0, cleaned = 0";
const DELETE: &str = "-- login_watch.delete
    DELETE FROM login_watch WHERE login_id = $1";
// Only from what was known when the notice was made: a new pairing meanwhile has begun anew.
const TELL: &str = "-- login_watch.tell
    UPDATE login_watch SET told = $2, told_at = $3 WHERE login_id = $1 AND told_at = $4";
const SEEN: &str = "-- login_watch.seen
    UPDATE login_watch SET phone_seen = $2, phone_asked = 0 WHERE login_id = $1 AND phone_seen < $2";
const ASKED: &str = "-- login_watch.asked
    UPDATE login_watch SET phone_asked = $2 WHERE login_id = $1";
const UNCLEANED: &str = "-- login_watch.uncleaned
    SELECT login_id FROM login_watch
    WHERE cleaned = 0 AND login_id IN (SELECT login_id FROM login WHERE state = 'logged_out') ORDER BY login_id";
const CLEANED: &str = "-- login_watch.cleaned
    UPDATE login_watch SET cleaned = 1 WHERE login_id = $1
        AND login_id IN (SELECT login_id FROM login WHERE state = 'logged_out' AND since = $2)";
const TRIED: &str = "-- login_watch.tried
    UPDATE login_watch SET tried_at = $2 WHERE login_id = $1 AND tried_at = 0 AND tried_told <= $3";
const TRIED_TOLD: &str = "-- login_watch.tried_told
    UPDATE login_watch SET tried_at = 0, tried_told = $2 WHERE login_id = $1 AND tried_at = $3";

impl Store {
    /// What is known about every login.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watched_logins(&self) -> Result<Vec<(LoginId, Watched)>> {
        let what = "login_watch.all";
        let rows = sqlx::query(ALL).fetch_all(self.pool()).await.named(what)?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok((
                LoginId::new(row.try_get::<String, _>("login_id").named(what)?),
                Watched {
                    told: row.try_get("told").named(what)?,
                    told_at: row.try_get("told_at").named(what)?,
                    phone_seen: row.try_get("phone_seen").named(what)?,
                    phone_asked: row.try_get("phone_asked").named(what)?,
                    tried_at: row.try_get("tried_at").named(what)?,
                },
            ))
        };
        rows.iter().map(read).collect()
    }

    /// Begins watching a login that was just linked: its phone is there, and its owner knows of no trouble.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn watch_login_in(&self, tx: &mut Tx, login: &LoginId) -> Result<()> {
        let query = sqlx::query(PUT).bind(login.as_str()).bind(self.clock().now_ms());
        query.execute(tx.connection()).await.named("login_watch.put").map(drop)
    }

    /// Forgets what was watched about a login.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn forget_watch_in(&self, tx: &mut Tx, login: &LoginId) -> Result<()> {
        let query = sqlx::query(DELETE).bind(login.as_str());
        query.execute(tx.connection()).await.named("login_watch.delete").map(drop)
    }

    /// Notes what the owner of a login was told now, `before` being what was known of it; an empty code says that all is
    /// well.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owner_heard(&self, login: &LoginId, before: &Watched, code: &str) -> Result<()> {
        // Later than before in any case, so that each notice has a name of its own.
        let at = self.clock().now_ms().max(before.told_at + 1);
        let write = sqlx::query(TELL).bind(login.as_str()).bind(code.to_owned()).bind(at).bind(before.told_at);
        self.write("login_watch.tell", write).await.map(drop)
    }

    /// Notes a sign of a login's phone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn phone_was_seen(&self, login: &LoginId, at_ms: i64) -> Result<()> {
        self.write("login_watch.seen", sqlx::query(SEEN).bind(login.as_str()).bind(at_ms)).await.map(drop)
    }

    /// Notes that a login's phone was asked for a sign.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn phone_was_asked(&self, login: &LoginId, at_ms: i64) -> Result<()> {
        self.write("login_watch.asked", sqlx::query(ASKED).bind(login.as_str()).bind(at_ms)).await.map(drop)
    }

    /// The logged-out logins whose rooms nothing was done to yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn uncleaned_logins(&self) -> Result<Vec<LoginId>> {
        let what = "login_watch.uncleaned";
        let rows = sqlx::query(UNCLEANED).fetch_all(self.pool()).await.named(what)?;
        rows.iter().map(|row| Ok(LoginId::new(row.try_get::<String, _>("login_id").named(what)?))).collect()
    }

    /// Notes that what the operator chose was done to the rooms of a login, after the logout at this time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn login_was_cleaned(&self, login: &LoginId, logged_out_at: i64) -> Result<()> {
        let write = sqlx::query(CLEANED).bind(login.as_str()).bind(logged_out_at);
        self.write("login_watch.cleaned", write).await.map(drop)
    }

    /// Notes that somebody else tried to link a login's number; its owner is to be told, once an hour at most.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_try(&self, login: &LoginId) -> Result<()> {
        let now = self.clock().now_ms();
        let write = sqlx::query(TRIED).bind(login.as_str()).bind(now).bind(now - SAME_TRY);
        self.write("login_watch.tried", write).await.map(drop)
    }

    /// Notes that the owner was told of this try.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owner_heard_of_try(&self, login: &LoginId, tried_at: i64) -> Result<()> {
        let now = self.clock().now_ms();
        let write = sqlx::query(TRIED_TOLD).bind(login.as_str()).bind(now).bind(tried_at);
        self.write("login_watch.tried_told", write).await.map(drop)
    }
}
