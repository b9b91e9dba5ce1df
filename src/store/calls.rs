//! Calls, and what has become of them so far.

use super::{Named, Result, Store, StoreError, Tx};
use crate::ids::{ChatId, GhostId, LoginId, PortalId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStage {
    /// Nobody has answered yet.
    Ringing,
    /// It goes on.
    Answered,
    /// It was answered on another device, and this one hears no more of it.
    Elsewhere,
    /// Nobody answered.
    Missed,
    /// It was refused.
    Rejected,
    /// It was answered and is over.
    Ended,
}

impl CallStage {
    fn text(self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Elsewhere => "elsewhere",
            Self::Missed => "missed",
            Self::Rejected => "rejected",
            Self::Ended => "ended",
        }
    }

    fn read(text: &str) -> Result<Self> {
        let all = [Self::Ringing, Self::Answered, Self::Elsewhere, Self::Missed, Self::Rejected, Self::Ended];
        all.into_iter()
            .find(|stage| stage.text() == text)
            .ok_or_else(|| StoreError::Corrupt { table: "call_state", why: "unknown state".into() })
    }
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The chat.
    pub portal: PortalId,
    /// WhatsApp's id of the call.
    pub call_id: String,
    /// Who calls.
    pub caller: GhostId,
    /// With pictures.
    pub video: bool,
    /// Of more than two.
    pub group: bool,
    /// How far it is.
    pub stage: CallStage,
    /// Since when, milliseconds since 1970.
    pub since: i64,
    /// How long it was, when known.
    pub seconds: Option<u64>,
}

const FIND: &str = "-- call.find
    SELECT portal_id, call_id, caller, video, is_group, state, since, seconds FROM call_state
    WHERE portal_id = $1 AND call_id = $2";
const PUT: &str = "-- call.put
    INSERT INTO call_state (portal_id, call_id, caller, video, is_group, state, since, seconds)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (portal_id, call_id) DO UPDATE
        SET state = excluded.state, since = excluded.since, seconds = excluded.seconds";
const RINGING: &str = "-- call.ringing
    SELECT call_state.portal_id, call_state.call_id, call_state.caller, call_state.video, call_state.is_group,
           call_state.state, call_state.since, call_state.seconds, message.login_id
    FROM call_state JOIN message ON message.portal_id = call_state.portal_id AND message.wa_id = call_state.call_id
        AND message.part = 0
    WHERE call_state.state = 'ringing' AND call_state.since < $1 ORDER BY call_state.since LIMIT 100";
const GROUP_OF: &str = "-- call.group_of
    SELECT portal.portal_id, portal.chat FROM portal
    JOIN portal_login ON portal_login.portal_id = portal.portal_id AND portal_login.login_id = $2
    JOIN group_member ON group_member.portal_id = portal.portal_id AND group_member.ghost_id = $3
        AND group_member.role > 0
    WHERE portal.chat = $1 AND portal.kind = 'group'";
const KNOWN_GROUP: &str = "-- call.known_group
    SELECT portal.portal_id, portal.chat FROM call_state
    JOIN portal ON portal.portal_id = call_state.portal_id AND portal.kind = 'group'
    JOIN portal_login ON portal_login.portal_id = portal.portal_id AND portal_login.login_id = $3
    WHERE call_state.call_id = $1 AND call_state.caller = $2";
const SWEEP: &str = "-- call.sweep
    DELETE FROM call_state WHERE since < $1";

impl Store {
    /// A call of a chat.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_call(&self, portal: PortalId, call_id: &str) -> Result<Option<Call>> {
        let row = sqlx::query(FIND).bind(portal.get()).bind(call_id).fetch_optional(self.pool()).await;
        row.named("call.find")?.as_ref().map(read).transpose()
    }

    /// The group a call says it is in, when the login and the caller are both in it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_called_group_in(
        &self,
        tx: &mut Tx,
        chat: &ChatId,
        login: &LoginId,
        caller: &GhostId,
    ) -> Result<Option<(PortalId, ChatId)>> {
        let query = sqlx::query(GROUP_OF).bind(chat.as_str()).bind(login.as_str()).bind(caller.as_str());
        read_group(query.fetch_optional(tx.connection()).await.named("call.group_of")?)
    }

    /// The group of a call that is known; later news of it do not name the group.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_group_of_call_in(
        &self,
        tx: &mut Tx,
        call_id: &str,
        login: &LoginId,
        caller: &GhostId,
    ) -> Result<Option<(PortalId, ChatId)>> {
        let query = sqlx::query(KNOWN_GROUP).bind(call_id).bind(caller.as_str()).bind(login.as_str());
        read_group(query.fetch_optional(tx.connection()).await.named("call.known_group")?)
    }

    /// Records how far a call is, with the settlement of the row that said so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_call_in(&self, tx: &mut Tx, call: &Call) -> Result<()> {
        sqlx::query(PUT)
            .bind(call.portal.get())
            .bind(&call.call_id)
            .bind(call.caller.as_str())
            .bind(i64::from(call.video))
            .bind(i64::from(call.group))
            .bind(call.stage.text())
            .bind(call.since)
            .bind(call.seconds.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(-1))
            .execute(tx.connection())
            .await
            .named("call.put")
            .map(drop)
    }

    /// Calls that ring since before `before_ms`, and the logins they came through; at most 100.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ringing_calls(&self, before_ms: i64) -> Result<Vec<(Call, LoginId)>> {
        let rows = sqlx::query(RINGING).bind(before_ms).fetch_all(self.pool()).await.named("call.ringing")?;
        rows.iter()
            .map(|row| Ok((read(row)?, LoginId::new(row.try_get::<String, _>("login_id").named("call.ringing")?))))
            .collect()
    }

    /// Deletes calls of which nothing was heard since `before_ms`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_calls(&self, before_ms: i64) -> Result<u64> {
        Ok(self.write("call.sweep", sqlx::query(SWEEP).bind(before_ms)).await?.affected)
    }
}

fn read_group(row: Option<AnyRow>) -> Result<Option<(PortalId, ChatId)>> {
    let Some(row) = row else { return Ok(None) };
    let portal = PortalId::new(row.try_get("portal_id").named("call.group")?);
    Ok(Some((portal, ChatId::new(row.try_get::<String, _>("chat").named("call.group")?))))
}

fn read(row: &AnyRow) -> Result<Call> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("call.read");
    let number = |column: &'static str| row.try_get::<i64, _>(column).named("call.read");
    Ok(Call {
        portal: PortalId::new(number("portal_id")?),
        call_id: text("call_id")?,
        caller: GhostId::new(text("caller")?),
        video: number("video")? != 0,
        group: number("is_group")? != 0,
        stage: CallStage::read(&text("state")?)?,
        since: number("since")?,
        seconds: u64::try_from(number("seconds")?).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WaMessageId;
    use crate::store::messages::{PartKey, Reservation};
    use crate::store::tests::on_both;

    on_both! { a_call_is_as_far_as_was_said_last => calls; }

    async fn calls(store: Store) {
        let mut call = Call {
            portal: PortalId::new(7),
            call_id: "C".into(),
            caller: GhostId::new("1@lid"),
            video: true,
            group: false,
            stage: CallStage::Ringing,
            since: 1,
            seconds: None,
        };
        let key = PartKey {
            portal: call.portal,
            sender: call.caller.clone(),
            wa_id: WaMessageId::new(call.call_id.as_str()),
            part: 0,
        };
        let notice = Reservation {
            key: &key,
            event_id: None,
            txn_id: Some("t"),
            mx_sender: "@a:b",
            login: &LoginId::new("1"),
            ts: 1,
            kind: "notice",
            body: None,
            quote: None,
        };
        assert!(store.reserve(&notice).await.unwrap());
        let mut tx = store.begin("test").await.unwrap();
        store.put_call_in(&mut tx, &call).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.ringing_calls(1).await.unwrap().is_empty());
        assert_eq!(store.ringing_calls(2).await.unwrap(), [(call.clone(), LoginId::new("1"))]);
        for (stage, seconds) in [(CallStage::Ringing, None), (CallStage::Ended, Some(5)), (CallStage::Missed, None)] {
            (call.stage, call.seconds) = (stage, seconds);
            let mut tx = store.begin("test").await.unwrap();
            store.put_call_in(&mut tx, &call).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.find_call(call.portal, "C").await.unwrap(), Some(call.clone()));
        }
        assert!(store.ringing_calls(2).await.unwrap().is_empty(), "it is over");
        assert_eq!(store.sweep_calls(1).await.unwrap(), 0);
        assert_eq!(store.sweep_calls(2).await.unwrap(), 1);
        assert_eq!(store.find_call(call.portal, "C").await.unwrap(), None);
    }
}
