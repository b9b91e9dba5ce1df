//! What became of a person's message: told to clients that ask for it, and to who waits for it.
//!
//! Promise: with `matrix.message_status_events` every message, reaction, deletion, poll and vote said in a chat's room ends in one
//! status event of the bot's that says it is on WhatsApp, or in one that says it is not and why (what is settled without
//! being sent says so itself: [`Bridge::settle_unsent`]); with
//! `matrix.delivery_receipts` the bot's read mark stands at what is on WhatsApp. Notices of failures that are no longer true
//! say so. What is told is noted before the work and deleted afterwards (`store::outcomes`), and has fixed transaction ids: a
//! process that dies tells it after its next start, once.
//!
//! The form of status events is that of Beeper's clients, `com.beeper.message_send_status`.

use super::Bridge;
use super::from_matrix::Event;
use super::people::{Facts, Halt};
use super::rooms::room_id;
use crate::convert::{edit, notice};
use crate::ids::{LoginId, PortalId, WaMessageId};
use crate::matrix::error::MatrixError;
use crate::store::StoreError;
use crate::store::inbox::{InboxRow, Source};
use crate::store::outcomes::Outcome;
use crate::verdict::Verdict;
use crate::whatsapp::intake::ReceiptRow;
use ruma::EventId;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// The type of status events.
const STATUS: &str = "com.beeper.message_send_status";
/// Pause before outcomes are told again that could not be told.
const PAUSE: Duration = Duration::from_secs(5);
/// How often it is tried to tell one that its room does not take.
const TRIES: u32 = 5;
/// Reactions that mean `retry` on what has failed.
const AGAIN: [&str; 5] = ["🔁", "🔄", "♻", "retry", "!retry"];

/// Why a message is not on WhatsApp, for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cause {
    /// The reason, a word of Beeper's clients.
    reason: &'static str,
    /// Whether the same again may work.
    retriable: bool,
}

/// The cause behind a final verdict's words for the log. What no line names is not handled, for good.
fn cause_of(why: &str) -> Cause {
    let (reason, retriable) = match why {
        "the login is logged out" => ("m.bridge_unavailable", true),
        "too many attempts" => ("m.event_not_handled", true),
        "an encrypted event in a portal" => ("com.beeper.undecryptable_event", false),
        "the event can not become a WhatsApp message" | "no status post can be made of it" => {
            ("com.beeper.unsupported_event", false)
        }
        "an edit after the window" | "a deletion after the window" => ("m.event_too_old", false),
        "the sender does not own the chat's login"
        | "the sender has no login in the group"
        | "the sender has no login that follows the channel"
        | "an edit of somebody else's message"
        | "a deletion of somebody else's message"
        | "not the sender's reaction" => ("m.no_permission", false),
        // 463 and 479 end when the other side writes.
        "WhatsApp refused with code 463" | "WhatsApp refused with code 479" => ("m.foreign_network_error", true),
        refused if refused.starts_with("WhatsApp refused") => ("m.foreign_network_error", false),
        _ => ("m.event_not_handled", false),
    };
    Cause { reason, retriable }
}

/// Whether clients are told what became of such an event: what people say, not what they set.
fn is_reported(event: &Event) -> bool {
    let kinds = ["m.room.message", "m.sticker", "m.reaction", "m.room.redaction", "m.room.encrypted"];
    let is_poll = event.kind.contains("poll.");
    event.state_key.is_none() && (kinds.contains(&event.kind.as_str()) || is_poll)
}

/// A status event about `event`, without its facts.
fn status(event: &str, status: &str) -> Value {
    json!({
        "m.relates_to": { "rel_type": "m.reference", "event_id": event },
        "network": "whatsapp",
        "status": status,
    })
}

/// The words of a reaction that asks for another try of what it is on; none for others.
pub(super) fn asks_again(event: &Event) -> Option<&str> {
    let relation = event.content.get("m.relates_to").filter(|_| event.kind == "m.reaction")?;
    let key = relation.get("key").and_then(Value::as_str)?.trim_end_matches('\u{fe0f}');
    relation.get("event_id").and_then(Value::as_str).filter(|_| AGAIN.contains(&key))
}

/// Refuses what was said for a chat that has given the room up since: it waited too long, and the room may be another
/// chat's now.
///
/// # Errors
/// With words for the sender.
pub(super) fn refuse_former(row: &InboxRow, event: &Event, given_up_at: Option<i64>) -> Result<(), Halt> {
    let is_said = is_reported(event) && asks_again(event).is_none();
    if is_said && given_up_at.is_some_and(|at| at >= row.received_at) {
        return Err(super::from_matrix::never(
            "Before this could be sent, the room stopped being that WhatsApp chat's. Write it again where the chat is now.",
            "the chat has forgotten the room",
        ));
    }
    Ok(())
}

impl Bridge {
    /// The command in a reaction that asks for another try; none when what it is on has not failed: then it is a reaction
    /// like others. Who may is the command's to say.
    pub(super) async fn retry_wish(&self, event: &Event) -> Result<Option<String>, Halt> {
        let Some(target) = asks_again(event) else { return Ok(None) };
        let dedup = self.store().derive().mx_dedup(&["event", target]);
        Ok(self.store().find_failed(target, &dedup).await?.map(|_| format!("retry {target}")))
    }

    /// Notes that an event's outcome is to be told, before anything is done with it.
    pub(super) async fn expect_outcome(&self, row: &InboxRow, event: &Event) -> Result<(), Halt> {
        let matrix = &self.config().matrix;
        if (matrix.message_status_events || matrix.delivery_receipts) && is_reported(event) {
            self.store().expect_outcome(&row.dedup, &event.room_id, &event.event_id, &[]).await?;
            fail::fail_point!("outcome.expected", |_| std::process::abort());
        }
        Ok(())
    }

    /// Notes that the notices of a row that is tried again will not be true any more when it works.
    pub(super) async fn expect_correction(&self, row: &InboxRow) -> Result<(), StoreError> {
        let notices = self.store().notices_of(row.seq).await?;
        if let Some(room) = self.room_of_row(row).await
            && !notices.is_empty()
        {
            self.store().expect_outcome(&row.dedup, room.as_str(), "", &notices).await?;
        }
        Ok(())
    }

    /// Settles a person's row that leaves nothing on WhatsApp; `why` is for people.
    pub(super) async fn settle_unsent(&self, row: &InboxRow, why: &str) -> Result<(), Halt> {
        match self.tells_outcome(row) {
            true => Ok(self.store().settle_unsent_row(row, why).await?),
            false => Ok(self.store().settle_row(row.seq).await?),
        }
    }

    /// Whether something may have to be told now that a row is settled.
    pub(super) fn tells_outcome(&self, row: &InboxRow) -> bool {
        let matrix = &self.config().matrix;
        row.was_tried() || matrix.message_status_events || matrix.delivery_receipts
    }

    /// Tells, once, that a message waits for its account's connection. Droppable: what becomes of it is told anyhow.
    pub(super) async fn tell_waiting(&self, row: &InboxRow) {
        if row.source != Source::Matrix || !self.config().matrix.message_status_events {
            return;
        }
        let told = async {
            let Some(outcome) = self.store().find_untold_wait(&row.dedup).await? else { return Ok(()) };
            let mut content = status(&outcome.event, "PENDING");
            content["message"] = "It waits until this WhatsApp account is connected.".into();
            let txn = self.store().derive().notice_txn(&row.dedup, &format!("status-waits-{}", row.rounds));
            let room = room_id(&outcome.room)?;
            self.matrix().send(&room, self.matrix().bot(), STATUS, &txn, &content, None).await?;
            Ok(self.store().wait_was_told(&row.dedup).await?)
        };
        let told: Result<(), Halt> = told.await;
        if let Err(halt) = told {
            tracing::debug!(?halt, row = row.seq, "it was not told that a message waits");
        }
    }

    /// Tells that a message of a chat's room has failed; before its row is settled.
    ///
    /// # Errors
    /// When the homeserver does not take it.
    pub(super) async fn tell_failed_status(&self, row: &InboxRow, tell: &str, why: &str) -> Result<(), MatrixError> {
        if row.source != Source::Matrix || !self.config().matrix.message_status_events {
            return Ok(());
        }
        let Ok(event) = serde_json::from_slice::<Event>(&row.body) else { return Ok(()) };
        let portal = self.store().find_portal_by_room(&event.room_id).await;
        let portal = portal.map_err(|error| MatrixError::Unreachable { why: error.to_string() })?;
        let is_command = self.command_words(&event, false).is_some() || asks_again(&event).is_some();
        if portal.is_none() || !is_reported(&event) || is_command {
            return Ok(());
        }
        let cause = cause_of(why);
        let mut content = status(&event.event_id, if cause.retriable { "FAIL_RETRIABLE" } else { "FAIL_PERMANENT" });
        content["reason"] = cause.reason.into();
        content["error"] = why.into();
        content["message"] = if tell.is_empty() { "It could not be sent to WhatsApp." } else { tell }.into();
        let txn = self.store().derive().notice_txn(&row.dedup, &format!("status-failed-{}", row.rounds));
        let Ok(room) = room_id(&event.room_id) else { return Ok(()) };
        self.matrix().send(&room, self.matrix().bot(), STATUS, &txn, &content, None).await.map(drop)
    }

    /// Notes whose phone has messages of ours; the row is settled.
    pub(super) async fn delivered(&self, row: &InboxRow, portal: PortalId, login: &LoginId) -> Result<(), Halt> {
        let unreadable =
            || Halt::Verdict(Verdict::Never { tell: String::new(), why: "a stored receipt can not be read".into() });
        let receipt: ReceiptRow = serde_json::from_slice(&row.body).map_err(|_| unreadable())?;
        let reader = self.canonical(&receipt.reader).await?;
        let room = self.store().load_portal(portal).await?.room;
        let is_own = self.store().find_login(login).await?.is_none_or(|login| login.own == reader);
        let mut events = Vec::new();
        for id in &receipt.ids {
            let found = self.store().find_message_by_wa_id(portal, &WaMessageId::new(id.as_str())).await?;
            events.extend(found.filter(|found| found.from_matrix).and_then(|found| found.event_id));
        }
        let (Some(room), false, false) = (room, is_own, events.is_empty()) else {
            return Ok(self.store().settle_row(row.seq).await?);
        };
        let user = self.ready_ghost(&reader, Facts::default()).await?;
        let mut tx = self.store().begin("outcome.delivered").await?;
        for event in &events {
            self.store().note_delivery_in(&mut tx, &room, event, user.as_str()).await?;
        }
        self.store().settle_row_in(&mut tx, row.seq).await?;
        Ok(tx.commit().await?)
    }

    /// Tells outcomes as they become known, until the process stops.
    pub async fn run_outcomes(&self) {
        // Those are told already: the process died before it could delete them.
        if let Err(error) = self.store().forget_failed_outcomes().await {
            tracing::warn!(%error, "outcomes of failed messages were not forgotten");
        }
        let mut tries = HashMap::new();
        loop {
            let pause = match self.tell_outcomes(&mut tries).await {
                Ok(()) => Duration::MAX,
                Err(halt) => {
                    tracing::debug!(?halt, "outcomes wait to be told");
                    PAUSE
                }
            };
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = self.shared.outcomes.notified(), if pause == Duration::MAX => {}
                () = tokio::time::sleep(pause), if pause != Duration::MAX => {}
            }
        }
    }

    /// Tells what can be told; `tries` counts those in vain.
    async fn tell_outcomes(&self, tries: &mut HashMap<String, u32>) -> Result<(), Halt> {
        loop {
            let due = self.store().due_outcomes().await?;
            if due.is_empty() {
                return Ok(());
            }
            let mut waits = None;
            for outcome in &due {
                if self.stop().is_cancelled() {
                    return Ok(());
                }
                match self.tell_outcome(outcome).await {
                    Ok(()) => {}
                    Err(halt @ (Halt::Store(_) | Halt::Verdict(Verdict::Blocked(_)))) => return Err(halt),
                    // Perhaps the bot was taken out of that room: the others' do not wait for it, nor for ever.
                    Err(halt) => {
                        let count = tries.entry(outcome.dedup.clone()).or_default();
                        *count += 1;
                        if *count < TRIES {
                            waits = Some(halt);
                            continue;
                        }
                        tracing::warn!(?halt, "what became of a message could not be told");
                    }
                }
                tries.remove(&outcome.dedup);
                fail::fail_point!("outcome.told", |_| std::process::abort());
                self.store().outcome_was_told(outcome).await?;
            }
            if let Some(halt) = waits {
                return Err(halt);
            }
        }
    }

    async fn tell_outcome(&self, outcome: &Outcome) -> Result<(), Halt> {
        let room = room_id(&outcome.room)?;
        let (bot, derive) = (self.matrix().bot(), self.store().derive());
        for told in &outcome.notices {
            let content = edit::replacement(&notice("✓ This is no longer so: another try has worked."), told);
            let txn = derive.notice_txn(&outcome.dedup, &format!("corrected-{told}"));
            self.matrix().send(&room, bot, "m.room.message", &txn, &content, None).await?;
        }
        if outcome.event.is_empty() {
            return Ok(());
        }
        let matrix = &self.config().matrix;
        if !outcome.unsent.is_empty() {
            if matrix.message_status_events {
                let mut content = status(&outcome.event, "FAIL_PERMANENT");
                content["reason"] = "com.beeper.unsupported_event".into();
                content["error"] = "it was settled without being sent".into();
                content["message"] = outcome.unsent.as_str().into();
                let txn = derive.notice_txn(&outcome.event, "status-unsent");
                self.matrix().send(&room, bot, STATUS, &txn, &content, None).await?;
            }
            return Ok(());
        }
        if matrix.message_status_events {
            let mut content = status(&outcome.event, "SUCCESS");
            let which = if outcome.delivered_to.is_empty() { "status-sent" } else { "status-delivered" };
            if !outcome.delivered_to.is_empty() {
                content["delivered_to_users"] = json!([outcome.delivered_to]);
            }
            // Named by the event: its arrival and its delivery have names of their own.
            let txn = derive.notice_txn(&outcome.event, which);
            self.matrix().send(&room, bot, STATUS, &txn, &content, None).await?;
        }
        if matrix.delivery_receipts
            && let Ok(event) = EventId::parse(outcome.event.as_str())
        {
            self.matrix().mark_read(&room, bot, &event).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::sending::read_failure;
    use crate::whatsapp::outgoing::SendFailure;

    fn reaction(key: &str) -> Event {
        let content = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": "$e", "key": key } });
        let event =
            json!({ "type": "m.reaction", "room_id": "!r:a", "sender": "@a:a", "event_id": "$x", "content": content });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn a_few_reactions_ask_for_another_try() {
        for key in ["🔁", "🔁\u{fe0f}", "🔄", "♻️", "retry"] {
            assert_eq!(asks_again(&reaction(key)), Some("$e"), "{key}");
        }
        for key in ["👍", "🔂", "", "retry please"] {
            assert_eq!(asks_again(&reaction(key)), None, "{key}");
        }
        let said = Event::said("!r:a", "@a:a", "$m", reaction("🔁").content, 0);
        assert_eq!(asks_again(&said), None, "no reaction");
    }

    #[test]
    fn causes_are_told_apart() {
        let refused = |code: &str| match read_failure(SendFailure::Refused(code.into()), &LoginId::new("1")) {
            Halt::Verdict(Verdict::Never { why, .. }) => cause_of(&why),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("463"), Cause { reason: "m.foreign_network_error", retriable: true });
        assert_eq!(refused("403"), Cause { reason: "m.foreign_network_error", retriable: false });
        assert_eq!(cause_of("anything"), Cause { reason: "m.event_not_handled", retriable: false });
        assert!(cause_of("the login is logged out").retriable);
    }

    #[test]
    fn what_people_set_is_not_reported() {
        let mut event = reaction("👍");
        assert!(is_reported(&event));
        event.state_key = Some(String::new());
        assert!(!is_reported(&event));
        event.state_key = None;
        event.kind = "m.beacon".into();
        assert!(!is_reported(&event));
    }
}
