//! Saying something in a room: messages, redactions, state, read marks; and finding what was said before.

use super::Matrix;
use super::client::Who;
use super::error::{MatrixError, Result};
use super::puppets::PUPPET_MARK;
use crate::convert::notice;
use ruma::api::client::filter::RoomEventFilter;
use ruma::api::client::message::{get_message_events, send_message_event};
use ruma::api::client::receipt::create_receipt;
use ruma::api::client::redact::redact_event;
use ruma::api::client::relations::get_relating_events_with_rel_type as relating_events;
use ruma::api::client::room::get_room_event;
use ruma::api::client::state::{get_state_event_for_key, send_state_event};
use ruma::events::receipt::ReceiptThread;
use ruma::events::relation::RelationType;
use ruma::events::{MessageLikeEventType, StateEventType};
use ruma::serde::Raw;
use ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomId, TransactionId, UInt, UserId};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::to_raw_value;

/// Events asked for at once when looking for one of ours.
const LOOK_PAGE: u32 = 100;
/// Pages looked through at most: 10,000 events of that one user in that one room.
const LOOK_PAGES: usize = 100;
/// The look ends after this many pages in a row hold only events older than what is looked for. More than one,
/// because events may carry times of long ago while they stand late in the room.
const OLD_PAGES: usize = 5;

/// Pages of edits asked for at most.
const EDIT_PAGES: usize = 10;

/// What [`Matrix::find_sent`] reads of an event.
#[derive(Deserialize)]
struct Sent {
    event_id: OwnedEventId,
    #[serde(default)]
    origin_server_ts: i64,
    #[serde(default)]
    unsigned: SentUnsigned,
}

#[derive(Deserialize, Default)]
struct SentUnsigned {
    transaction_id: Option<String>,
}

impl Matrix {
    /// Sends one event as `as_user` with its device; `ts` becomes its time (milliseconds since 1970). The same
    /// `txn_id` again gives the first event's id and nothing new, for 24 hours. One transaction id stands for
    /// one event of one user: Synapse's memory does not tell users or event types apart.
    ///
    /// # Errors
    /// [`MatrixError::Unreachable`]: the outcome is unknown, repeating with the same `txn_id` is right (within
    /// the 24 hours). [`MatrixError::UnknownDevice`]: the device was made anew and its memory is gone; when an
    /// earlier try may have worked, look with [`Matrix::find_sent`] first. [`MatrixError::Forbidden`]: not in
    /// the room, or not registered.
    pub async fn send(
        &self,
        room: &RoomId,
        as_user: &UserId,
        event_type: &str,
        txn_id: &str,
        content: &Value,
        ts: Option<i64>,
    ) -> Result<OwnedEventId> {
        let mark = self.mark_puppet(room, as_user, txn_id).await?;
        let mut content = content.clone();
        if let (Some(mark), Some(fields)) = (&mark, content.as_object_mut()) {
            fields.insert(PUPPET_MARK.into(), mark.as_str().into());
        }
        let body = Raw::from_json(to_raw_value(&content).map_err(unwritable)?);
        let kind = MessageLikeEventType::from(event_type);
        let mut request = send_message_event::v3::Request::new_raw(room.to_owned(), txn_id.into(), kind, body);
        request.timestamp = ts.and_then(|ms| UInt::try_from(ms).ok()).map(MilliSecondsSinceUnixEpoch);
        match self.ask(Who::Device(as_user), request).await {
            Ok(answer) => {
                self.note_puppet(mark, &answer.event_id).await?;
                Ok(answer.event_id)
            }
            Err(error) => Err(self.mend(as_user, error).await),
        }
    }

    /// Says something as the bot, as a notice that mentions nobody.
    ///
    /// # Errors
    /// As [`Matrix::send`].
    pub async fn send_notice(&self, room: &RoomId, text: &str, txn_id: &str) -> Result<OwnedEventId> {
        self.send(room, self.bot(), "m.room.message", txn_id, &notice(text), None).await
    }

    /// Looks for the event that `as_user` sent with `txn_id`. Only the sender's own device is shown transaction
    /// ids; Synapse keeps showing them for good. (See [`Matrix::find_marked`] for who can not be asked any more.) `not_before_ms` is the event's own time: the look ends where
    /// the user's events are long older, or after 10,000 of them.
    ///
    /// # Errors
    /// When the homeserver is not there, or the user was never in the room.
    pub async fn find_sent(
        &self,
        room: &RoomId,
        as_user: &UserId,
        txn_id: &str,
        not_before_ms: i64,
    ) -> Result<Option<OwnedEventId>> {
        let mut from = None;
        let mut old_pages = 0;
        for _ in 0..LOOK_PAGES {
            let mut request = get_message_events::v3::Request::backward(room.to_owned()).from(from.clone());
            request.limit = LOOK_PAGE.into();
            let mut filter = RoomEventFilter::empty();
            filter.senders = Some(vec![as_user.to_owned()]);
            request.filter = filter;
            let page = match self.ask(Who::Device(as_user), request).await {
                Ok(page) => page,
                Err(MatrixError::UnknownDevice) => {
                    // The mended device has the old one's name, and that is what Synapse compares.
                    self.ensure_device(as_user).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut newest = None;
            for event in page.chunk.iter().filter_map(|raw| raw.deserialize_as_unchecked::<Sent>().ok()) {
                if event.unsigned.transaction_id.as_deref() == Some(txn_id) {
                    return Ok(Some(event.event_id));
                }
                newest = newest.max(Some(event.origin_server_ts));
            }
            old_pages = if newest.is_some_and(|ts| ts < not_before_ms) { old_pages + 1 } else { 0 };
            from = page.end;
            if from.is_none() || old_pages >= OLD_PAGES {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Looks, as the bot, for the event with a puppet's mark that `sender` sent: for a puppet whose token is refused.
    ///
    /// # Errors
    /// When the homeserver is not there, or the bot was never in the room.
    pub async fn find_marked(
        &self,
        room: &RoomId,
        sender: &UserId,
        mark: &str,
        not_before_ms: i64,
    ) -> Result<Option<OwnedEventId>> {
        #[derive(Deserialize)]
        struct Marked {
            event_id: OwnedEventId,
            #[serde(default)]
            origin_server_ts: i64,
            #[serde(default)]
            content: Value,
        }
        let (mut from, mut old_pages) = (None, 0);
        for _ in 0..LOOK_PAGES {
            let mut request = get_message_events::v3::Request::backward(room.to_owned()).from(from.clone());
            request.limit = LOOK_PAGE.into();
            let mut filter = RoomEventFilter::empty();
            filter.senders = Some(vec![sender.to_owned()]);
            request.filter = filter;
            let page = self.ask(Who::User(self.bot()), request).await?;
            let mut newest = None;
            for event in page.chunk.iter().filter_map(|raw| raw.deserialize_as_unchecked::<Marked>().ok()) {
                if event.content.get(PUPPET_MARK).and_then(Value::as_str) == Some(mark) {
                    return Ok(Some(event.event_id));
                }
                newest = newest.max(Some(event.origin_server_ts));
            }
            old_pages = if newest.is_some_and(|ts| ts < not_before_ms) { old_pages + 1 } else { 0 };
            from = page.end;
            if from.is_none() || old_pages >= OLD_PAGES {
                break;
            }
        }
        Ok(None)
    }

    /// Redacts an event; the same `txn_id` again changes nothing, as with [`Matrix::send`].
    ///
    /// # Errors
    /// As [`Matrix::send`].
    pub async fn redact(
        &self,
        room: &RoomId,
        as_user: &UserId,
        event: &EventId,
        txn_id: &str,
        reason: Option<&str>,
    ) -> Result<OwnedEventId> {
        if let Some(mark) = self.mark_puppet(room, as_user, txn_id).await? {
            return match self.redact_as_puppet(room, as_user, event, txn_id, &mark).await {
                Ok(event) => {
                    self.note_puppet(Some(mark), &event).await?;
                    Ok(event)
                }
                Err(error) => Err(self.mend(as_user, error).await),
            };
        }
        let txn: &TransactionId = txn_id.into();
        let mut request = redact_event::v3::Request::new(room.to_owned(), event.to_owned(), txn.to_owned());
        request.reason = reason.map(str::to_owned);
        match self.ask(Who::Device(as_user), request).await {
            Ok(answer) => Ok(answer.event_id),
            Err(error) => Err(self.mend(as_user, error).await),
        }
    }

    /// The events that edit an event, and who sent each, at most 1,000; those taken away already are none any more.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn edits_of(&self, room: &RoomId, event: &EventId) -> Result<Vec<(OwnedEventId, OwnedUserId)>> {
        #[derive(Deserialize)]
        struct Edit {
            event_id: OwnedEventId,
            sender: OwnedUserId,
        }
        let mut edits = Vec::new();
        let mut from = None;
        for _ in 0..EDIT_PAGES {
            let (room, event) = (room.to_owned(), event.to_owned());
            let mut request = relating_events::v1::Request::new(room, event, RelationType::Replacement);
            request.from = from;
            request.limit = Some(LOOK_PAGE.into());
            let page = match self.ask(Who::User(self.bot()), request).await {
                Ok(page) => page,
                // The event is not there, or the homeserver does not know the question.
                Err(MatrixError::NotFound) => break,
                Err(error) => return Err(error),
            };
            let read = page.chunk.iter().filter_map(|raw| raw.deserialize_as_unchecked::<Edit>().ok());
            edits.extend(read.map(|edit| (edit.event_id, edit.sender)));
            from = page.next_batch;
            if from.is_none() {
                break;
            }
        }
        Ok(edits)
    }

    /// Sets one piece of room state. Setting what is already set makes no event.
    ///
    /// # Errors
    /// When the homeserver is not there or the user may not.
    pub async fn send_state(
        &self,
        room: &RoomId,
        as_user: &UserId,
        event_type: &str,
        state_key: &str,
        content: &Value,
    ) -> Result<OwnedEventId> {
        let body = Raw::from_json(to_raw_value(content).map_err(unwritable)?);
        let kind = StateEventType::from(event_type);
        let request = send_state_event::v3::Request::new_raw(room.to_owned(), kind, state_key.to_owned(), body);
        Ok(self.ask(Who::User(as_user), request).await?.event_id)
    }

    /// The content of one piece of room state, as the bot sees it; none when it was never set.
    ///
    /// # Errors
    /// When the homeserver is not there or the bot is not in the room.
    pub async fn get_state(&self, room: &RoomId, event_type: &str, state_key: &str) -> Result<Option<Value>> {
        self.find_state_as(room, event_type, state_key, get_state_event_for_key::v3::StateEventFormat::Content).await
    }

    /// Who made a room, as the bot sees it.
    ///
    /// # Errors
    /// When the homeserver is not there or the bot is not in the room.
    pub async fn creator_of(&self, room: &RoomId) -> Result<Option<String>> {
        self.find_state_sender(room, "m.room.create").await
    }

    /// The user who set one piece of room state, as the bot sees it.
    pub(super) async fn find_state_sender(&self, room: &RoomId, event_type: &str) -> Result<Option<String>> {
        let format = get_state_event_for_key::v3::StateEventFormat::Event;
        let event = self.find_state_as(room, event_type, "", format).await?;
        Ok(event.and_then(|event| event.get("sender").and_then(Value::as_str).map(str::to_owned)))
    }

    async fn find_state_as(
        &self,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
        format: get_state_event_for_key::v3::StateEventFormat,
    ) -> Result<Option<Value>> {
        let kind = StateEventType::from(event_type);
        let mut request = get_state_event_for_key::v3::Request::new(room.to_owned(), kind, state_key.to_owned());
        request.format = format;
        match self.ask(Who::User(self.bot()), request).await {
            Ok(answer) => Ok(serde_json::from_str(answer.event_or_content.get()).ok()),
            Err(MatrixError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The content an event was sent with, as the bot sees it; none when it is not there or was taken away.
    ///
    /// # Errors
    /// When the homeserver is not there.
    pub async fn find_content(&self, room: &RoomId, event: &str) -> Result<Option<Value>> {
        let Ok(event) = EventId::parse(event) else { return Ok(None) };
        match self.ask(Who::User(self.bot()), get_room_event::v3::Request::new(room.to_owned(), event)).await {
            Ok(answer) => {
                let event: Value = serde_json::from_str(answer.event.json().get()).unwrap_or_default();
                Ok(event.get("content").filter(|content| content.get("body").is_some()).cloned())
            }
            Err(MatrixError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Marks everything up to `event` as read by `as_user`, who must be in the room. Harmless to repeat.
    ///
    /// # Errors
    /// When the homeserver is not there or the user is not in the room.
    pub async fn mark_read(&self, room: &RoomId, as_user: &UserId, event: &EventId) -> Result<()> {
        let mut request =
            create_receipt::v3::Request::new(room.to_owned(), create_receipt::v3::ReceiptType::Read, event.to_owned());
        request.thread = ReceiptThread::Unthreaded;
        self.ask(Who::User(as_user), request).await.map(drop)
    }

    /// After a failed request that named a device: makes the device again when that was the trouble.
    async fn mend(&self, user: &UserId, error: MatrixError) -> MatrixError {
        match error {
            MatrixError::UnknownDevice => match self.ensure_device(user).await {
                Ok(()) => MatrixError::UnknownDevice,
                Err(error) => error,
            },
            other => other,
        }
    }
}

/// A JSON value always writes; this is for the type system.
fn unwritable(_: serde_json::Error) -> MatrixError {
    MatrixError::Refused { status: 400, errcode: "M_BAD_JSON".into(), message: "the content can not be written".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::homeserver_double::{Double, fault, fine};
    use crate::verdict::{Gate, Verdict};
    use ruma::OwnedRoomId;
    use serde_json::json;
    use wiremock::ResponseTemplate;
    use wiremock::matchers::{query_param, query_param_is_missing};

    const GHOST: &str = "@whatsapp_1:test.local";
    const SEND: &str = "v3/rooms/!r:test.local/send/m.room.message/t1";

    fn room() -> OwnedRoomId {
        "!r:test.local".try_into().unwrap()
    }

    #[tokio::test]
    async fn a_send_names_user_device_transaction_and_time() {
        let double = Double::start().await;
        double
            .on("PUT", SEND)
            .and(query_param("user_id", GHOST))
            .and(query_param("device_id", "WABRIDGE"))
            .and(query_param("ts", "1600000000000"))
            .respond_with(fine(json!({ "event_id": "$e" })))
            .expect(1)
            .mount(&double.server)
            .await;
        let matrix = double.matrix().await;
        let content = json!({ "msgtype": "m.text", "body": "hi", "m.mentions": {} });
        let sent = matrix
            .send(&room(), &matrix.ghost_id("1"), "m.room.message", "t1", &content, Some(1_600_000_000_000))
            .await
            .unwrap();
        assert_eq!(sent, "$e");
        assert_eq!(double.bodies("PUT", SEND).await, [content]);
    }

    #[tokio::test]
    async fn a_lost_device_is_made_again_and_told_so_that_the_caller_looks_first() {
        let double = Double::start().await;
        double.with_device("PUT", SEND, GHOST, fault(400, "M_UNKNOWN_DEVICE"), 1).await;
        double.as_user("PUT", "v3/devices/WABRIDGE", GHOST, fine(json!({})), 1).await;
        let matrix = double.matrix().await;
        let sent = matrix.send(&room(), &matrix.ghost_id("1"), "m.room.message", "t1", &json!({}), None).await;
        assert_eq!(sent, Err(MatrixError::UnknownDevice));
    }

    #[tokio::test]
    async fn an_event_sent_before_is_found_by_its_transaction_id_some_pages_back() {
        let double = Double::start().await;
        let event = |id: &str, txn: &str, ts: i64| {
            json!({ "event_id": id, "type": "m.room.message", "sender": GHOST, "origin_server_ts": ts,
                    "content": {}, "unsigned": { "transaction_id": txn } })
        };
        let messages = "v3/rooms/!r:test.local/messages";
        double
            .on("GET", messages)
            .and(query_param("device_id", "WABRIDGE"))
            .and(query_param_is_missing("from"))
            .respond_with(fine(json!({ "start": "a", "end": "b", "chunk": [event("$2", "t2", 2)] })))
            .expect(2)
            .mount(&double.server)
            .await;
        double
            .on("GET", messages)
            .and(query_param("from", "b"))
            .respond_with(fine(json!({ "start": "b", "chunk": [{ "odd": 1 }, event("$1", "t1", 1)] })))
            .expect(2)
            .mount(&double.server)
            .await;
        let matrix = double.matrix().await;
        let ghost = matrix.ghost_id("1");
        assert_eq!(matrix.find_sent(&room(), &ghost, "t1", 0).await.unwrap().unwrap(), "$1");
        assert_eq!(matrix.find_sent(&room(), &ghost, "t9", 0).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_look_ends_some_pages_behind_the_time_asked_for() {
        let double = Double::start().await;
        let old = json!({ "event_id": "$o", "origin_server_ts": 5, "unsigned": {} });
        double
            .on("GET", "v3/rooms/!r:test.local/messages")
            .respond_with(fine(json!({ "start": "a", "end": "a", "chunk": [old] })))
            .expect(5)
            .mount(&double.server)
            .await;
        let matrix = double.matrix().await;
        assert_eq!(matrix.find_sent(&room(), &matrix.ghost_id("1"), "t1", 6).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_homeserver_that_can_not_reach_its_database_is_away_and_one_odd_event_is_not() {
        for (probe, away) in [(fault(500, "M_UNKNOWN"), true), (fault(404, "M_NOT_FOUND"), false)] {
            let double = Double::start().await;
            double.with_device("PUT", SEND, GHOST, fault(500, "M_UNKNOWN"), 1).await;
            double.on("GET", "v3/devices/WABRIDGE").respond_with(probe).expect(1).mount(&double.server).await;
            let matrix = double.matrix().await;
            let sent = matrix.send(&room(), &matrix.ghost_id("1"), "m.room.message", "t1", &json!({}), None).await;
            let verdict = sent.unwrap_err().verdict();
            assert_eq!(verdict == Verdict::Blocked(Gate::Homeserver), away, "{verdict:?}");
            assert_eq!(matrix.is_reachable(), !away);
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_a_homeserver_that_is_away_and_its_error_names_nobody() {
        let (matrix, _store) = crate::matrix::homeserver_double::matrix_at("http://127.0.0.1:9").await;
        let error = matrix
            .send(&room(), &matrix.ghost_id("15550100"), "m.room.message", "t1", &json!({}), None)
            .await
            .unwrap_err();
        assert!(matches!(error, MatrixError::Unreachable { .. }));
        assert!(!format!("{error} {error:?}").contains("15550100"));
    }

    #[tokio::test]
    async fn waiting_ends_when_the_homeserver_is_back_and_a_refused_token_does_not_end_it() {
        let double = Double::start().await;
        for answer in [ResponseTemplate::new(502), fault(401, "M_UNKNOWN_TOKEN")] {
            double
                .on("GET", "v3/devices/WABRIDGE")
                .respond_with(answer)
                .up_to_n_times(1)
                .expect(1)
                .mount(&double.server)
                .await;
        }
        double
            .on("GET", "v3/devices/WABRIDGE")
            .respond_with(fault(404, "M_NOT_FOUND"))
            .expect(1)
            .mount(&double.server)
            .await;
        let matrix = double.matrix().await;
        let (other, third) = (matrix.clone(), matrix.clone());
        tokio::join!(matrix.wait_until_reachable(), other.wait_until_reachable(), third.wait_until_reachable());
        assert!(matrix.is_reachable());
    }

    #[tokio::test]
    async fn read_marks_and_notices_go_out_as_told() {
        let double = Double::start().await;
        double.as_user("POST", "v3/rooms/!r:test.local/receipt/m.read/$e", GHOST, fine(json!({})), 1).await;
        double.with_device("PUT", SEND, "@whatsappbot:test.local", fine(json!({ "event_id": "$n" })), 1).await;
        let matrix = double.matrix().await;
        let event: OwnedEventId = "$e".try_into().unwrap();
        matrix.mark_read(&room(), &matrix.ghost_id("1"), &event).await.unwrap();
        matrix.send_notice(&room(), "hello", "t1").await.unwrap();
        let want = json!({ "msgtype": "m.notice", "body": "hello", "m.mentions": {} });
        assert_eq!(double.bodies("PUT", SEND).await, [want]);
    }
}
