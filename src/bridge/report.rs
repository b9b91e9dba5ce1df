//! What people are told: failures in the room they concern, changes of a line in the management room.
//!
//! Every notice has a transaction id made from its cause, so that a repeated cause is told once.

use super::Bridge;
use crate::convert::{notice, notice_to};
use crate::matrix::error::{MatrixError, Result};
use crate::store::inbox::{InboxRow, Source};
use crate::store::logins::LoginState;
use ruma::{OwnedEventId, OwnedRoomId, RoomId};
use serde_json::{Value, json};
use std::time::Duration;

impl Bridge {
    /// Tells the person a row concerns that it failed: in its room when there is one, else where they talk to the
    /// bot.
    ///
    /// # Errors
    /// When the homeserver does not take it.
    pub async fn tell_failure(&self, row: &InboxRow, tell: &str) -> Result<()> {
        let Some(room) = self.room_of_row(row).await else {
            tracing::warn!(row = row.seq, "nobody could be told of a failure: no room is known");
            return Ok(());
        };
        let txn = self.store().derive().notice_txn(&row.dedup, "failure");
        let event: Value = serde_json::from_slice(&row.body).unwrap_or_default();
        let lost = if row.source == Source::Matrix { "Your message was not bridged. " } else { "" };
        let mut content = notice(&format!("⚠ {lost}{tell}"));
        if let (Source::Matrix, Some(event_id)) = (row.source, event.get("event_id").and_then(Value::as_str)) {
            content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": event_id } });
        }
        match self.matrix().send(&room, self.matrix().bot(), "m.room.message", &txn, &content, None).await {
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => self.tell_elsewhere(row, tell, &txn).await,
            Ok(notice) => {
                // Only so that an answer to the notice can say `retry`: without it the room's `retry` is left.
                if let Err(error) = self.store().note_failure_notice(notice.as_str(), row.seq).await {
                    tracing::warn!(%error, row = row.seq, "a notice of a failure was not noted");
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The room a failure belongs to is gone: its owner hears of it where they talk to the bot.
    async fn tell_elsewhere(&self, row: &InboxRow, tell: &str, txn: &str) -> Result<()> {
        let database = |error: crate::store::StoreError| MatrixError::Unreachable { why: error.to_string() };
        let owner = match (&row.login, row.source) {
            (Some(login), _) => self.store().find_login(login).await.map_err(database)?.map(|login| login.mxid),
            (None, _) => {
                let event: Value = serde_json::from_slice(&row.body).unwrap_or_default();
                event.get("sender").and_then(Value::as_str).map(str::to_owned)
            }
        };
        let Some(owner) = owner else { return Ok(()) };
        let room = self.management_room(&owner).await?;
        let text = format!("⚠ A message could not be bridged, and its room can't be written to. {tell}");
        self.matrix().send_notice(&room, &text, &format!("{txn}-else")).await.map(drop)
    }

    async fn room_of_row(&self, row: &InboxRow) -> Option<OwnedRoomId> {
        let text = match row.source {
            Source::Matrix => {
                let event: Value = serde_json::from_slice(&row.body).ok()?;
                event.get("room_id").and_then(Value::as_str).map(str::to_owned)
            }
            Source::Whatsapp => {
                let portal = self.store().load_portal(row.portal?).await.ok()?;
                match portal.room {
                    Some(room) => Some(room),
                    None => {
                        let login = self.store().find_login(row.login.as_ref()?).await.ok()??;
                        self.store().find_management_room(&login.mxid).await.ok()?
                    }
                }
            }
        };
        RoomId::parse(text?).ok()
    }

    /// Tells the owners of logged-out logins who were not told yet, until all are; noted in the database, so a
    /// logout is told even when the process died in between.
    pub async fn tell_logouts(&self) {
        let mut pause = Duration::from_secs(1);
        while let Err(why) = self.try_tell_logouts().await {
            tracing::warn!(%why, "the owner of a login was not told of its logout yet");
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(300)),
            }
            self.matrix().wait_until_reachable().await;
        }
    }

    async fn try_tell_logouts(&self) -> anyhow::Result<()> {
        for login in self.store().untold_logouts().await? {
            let LoginState::LoggedOut { reason, how } = &login.state else { continue };
            let cause = format!("{}:{}", login.id, login.since);
            let txn = self.store().derive().notice_txn(&cause, "logged-out");
            let text = format!(
                "your WhatsApp account +{} is logged out. {reason} {}; say `login qr` to link it again.",
                login.id,
                self.rooms_after(*how)
            );
            self.call_out(&login.mxid, &text, &txn).await?;
            self.store().owner_was_told(&login).await?;
        }
        Ok(())
    }

    /// Tells somebody something where they talk to the bot, with a mention; once for each transaction id.
    ///
    /// # Errors
    /// When database or homeserver fail, or the room is gone: then the next try makes another.
    pub(super) async fn call_out(&self, mxid: &str, text: &str, txn: &str) -> anyhow::Result<()> {
        let room = self.management_room(mxid).await?;
        let content = notice_to(mxid, text);
        match self.matrix().send(&room, self.matrix().bot(), "m.room.message", txn, &content, None).await {
            Ok(_) => Ok(()),
            Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => {
                self.store().set_management_room(mxid, "").await?;
                anyhow::bail!("the management room is gone; the next try makes another");
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where a person talks to the bot; made when there is none.
    ///
    /// # Errors
    /// When database or homeserver fail.
    pub async fn management_room(&self, mxid: &str) -> Result<OwnedRoomId> {
        let database = |error: crate::store::StoreError| MatrixError::Unreachable { why: error.to_string() };
        if let Some(room) = self.store().find_management_room(mxid).await.map_err(database)?
            && let Ok(room) = RoomId::parse(room)
        {
            return Ok(room);
        }
        self.new_management_room(mxid).await
    }

    /// Makes a fresh unencrypted room with a person and remembers it.
    ///
    /// # Errors
    /// When database or homeserver fail.
    pub async fn new_management_room(&self, mxid: &str) -> Result<OwnedRoomId> {
        let database = |error: crate::store::StoreError| MatrixError::Unreachable { why: error.to_string() };
        let person = ruma::UserId::parse(mxid).map_err(|_| MatrixError::NotFound)?;
        let room = self.matrix().create_dm_room(&person, Some("WhatsApp bridge")).await?;
        self.store().set_management_room(mxid, room.as_str()).await.map_err(database)?;
        Ok(room)
    }

    /// Says something as the bot, once per cause; answers the event.
    ///
    /// # Errors
    /// When the homeserver does not take it.
    pub async fn say(&self, room: &RoomId, text: &str, cause: &str, which: &str) -> Result<OwnedEventId> {
        let txn = self.store().derive().notice_txn(cause, which);
        self.matrix().send_notice(room, text, &txn).await
    }
}
