//! The mapping between WhatsApp messages and Matrix events, reserved before it is true.
//!
//! States of a row: `reserved` (the names are fixed, the outcome is unknown) → `sent` (the other side has it) or
//! `failed` (it never will). A row is reserved before the effect and settled together with its inbox row.

use super::{Named, Result, Store, StoreError, Tx};
use crate::ids::{GhostId, LoginId, PortalId, WaMessageId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Names one part of one WhatsApp message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartKey {
    /// The chat.
    pub portal: PortalId,
    /// Its WhatsApp author.
    pub sender: GhostId,
    /// WhatsApp's id.
    pub wa_id: WaMessageId,
    /// Which Matrix event of it, from 0.
    pub part: i64,
}

/// A stored mapping.
#[derive(Debug, Clone)]
pub struct Message {
    /// Which message and part.
    pub key: PartKey,
    /// Whether it came from WhatsApp or from Matrix.
    pub from_matrix: bool,
    /// What is known of the outcome.
    pub state: MessageState,
    /// The Matrix event, once known.
    pub event_id: Option<String>,
    /// The transaction id it is sent with, for messages into Matrix. Never made anew: the facts it was made from may
    /// have changed since (an id learnt late).
    pub txn_id: Option<String>,
    /// User who sends or sent the event.
    pub mx_sender: String,
    /// WhatsApp time, milliseconds since 1970.
    pub ts: i64,
    /// First attempt, milliseconds since 1970.
    pub tried_at: i64,
    /// The built WhatsApp message, for a retry that sends the same.
    pub body: Option<Vec<u8>>,
    /// What a reply quotes of it.
    pub quote: Option<Vec<u8>>,
    /// What it is, as in [`Reservation::kind`].
    pub kind: String,
}

/// What is known of a message's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// Names are fixed, the outcome is unknown.
    Reserved,
    /// The other side has it.
    Sent,
    /// It never will arrive.
    Failed,
}

/// What a reservation needs to know besides its key.
#[derive(Debug, Clone)]
pub struct Reservation<'a> {
    /// Which message and part.
    pub key: &'a PartKey,
    /// The event it came from, for messages from Matrix.
    pub event_id: Option<&'a str>,
    /// The transaction id it will be sent with, for messages into Matrix.
    pub txn_id: Option<&'a str>,
    /// User who sends or sent the event.
    pub mx_sender: &'a str,
    /// The login it came or goes through.
    pub login: &'a LoginId,
    /// WhatsApp time, milliseconds since 1970.
    pub ts: i64,
    /// `new` for a message of somebody, `notice` for the bridge's own word.
    pub kind: &'static str,
    /// The built WhatsApp message.
    pub body: Option<&'a [u8]>,
    /// What a reply quotes of it.
    pub quote: Option<&'a [u8]>,
}

/// A message from WhatsApp that was not reported as read yet.
#[derive(Debug, Clone)]
pub struct Unread {
    /// Its author.
    pub sender: GhostId,
    /// Its id.
    pub wa_id: WaMessageId,
}

const COLUMNS: &str = "-- message.find
    SELECT portal_id, sender, wa_id, part, origin, state, event_id, txn_id, mx_sender, ts, tried_at, body, quote, kind FROM message
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND part = $4";
const BY_EVENT: &str = "-- message.by_event
    SELECT portal_id, sender, wa_id, part, origin, state, event_id, txn_id, mx_sender, ts, tried_at, body, quote, kind FROM message
    WHERE event_id = $1 ORDER BY part LIMIT 1";
const OF_EVENT: &str = "-- message.of_event
    SELECT portal_id, sender, wa_id, part, origin, state, event_id, txn_id, mx_sender, ts, tried_at, body, quote, kind FROM message
    WHERE event_id = $1 AND portal_id = $2 ORDER BY part";
const BEGUN: &str = "-- message.begun
    SELECT login_id, part, state FROM message
    WHERE event_id = $1 AND portal_id = $2 AND origin = 'mx' ORDER BY part";
// The plus keeps SQLite from looking through all that the chat has.
const LET_GO: &str = "-- message.let_go
    UPDATE message SET event_id = NULL WHERE event_id = $1 AND +portal_id = $2 AND login_id <> $3 AND state = 'failed'";
const FIRST_PART: &str = "-- message.first_part
    SELECT portal_id, sender, wa_id, part, origin, state, event_id, txn_id, mx_sender, ts, tried_at, body, quote, kind FROM message
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 ORDER BY part LIMIT 1";
const BY_WA_ID: &str = "-- message.by_wa_id
    SELECT portal_id, sender, wa_id, part, origin, state, event_id, txn_id, mx_sender, ts, tried_at, body, quote, kind FROM message
    WHERE portal_id = $1 AND wa_id = $2 AND state <> 'failed' AND kind <> 'waiting' AND event_id IS NOT NULL
    ORDER BY part DESC LIMIT 1";
const IN_FLIGHT: &str = "-- message.in_flight
    SELECT 1 AS found FROM message
    WHERE portal_id = $1 AND origin = 'wa' AND state = 'reserved' AND event_id IS NULL AND tried_at >= $2 LIMIT 1";
const PARTS: &str = "-- message.parts
    SELECT portal_id, sender, wa_id, part, origin, state, event_id, txn_id, mx_sender, ts, tried_at, body, quote, kind FROM message
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND event_id IS NOT NULL ORDER BY part";
const RESERVE: &str = "-- message.reserve
    INSERT INTO message (portal_id, sender, wa_id, part, origin, kind, state, event_id, txn_id, mx_sender, login_id, ts, tried_at, read_at, body, quote)
    VALUES ($1, $2, $3, $4, $5, $6, 'reserved', $7, $8, $9, $10, $11, $12, 0, $13, $14) ON CONFLICT DO NOTHING";
const SENT: &str = "-- message.sent
    UPDATE message SET state = 'sent', event_id = COALESCE($5, event_id), body = NULL
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND part = $4";
const SENT_IN_ROOM: &str = "-- message.sent_in_room
    UPDATE message SET state = 'sent', event_id = COALESCE($5, event_id), body = NULL
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND part = $4
        AND EXISTS (SELECT 1 FROM portal WHERE portal.portal_id = $6 AND portal.room_id = $7)";
const FAILED: &str = "-- message.failed
    UPDATE message SET state = 'failed' WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND part = $4 AND state = 'reserved'";
const UNREAD: &str = "-- message.unread
    SELECT sender, wa_id FROM message
    WHERE portal_id = $1 AND ts <= $2 AND origin = 'wa' AND kind = 'new' AND read_at = 0 AND part = 0 AND state = 'sent' ORDER BY ts LIMIT 500";
const MARK_READ: &str = "-- message.mark_read
    UPDATE message SET read_at = $4
    WHERE portal_id = $1 AND sender = $2 AND wa_id = $3 AND origin = 'wa' AND read_at = 0";

const NEWEST: &str = "-- message.newest
    SELECT portal_id, sender, wa_id, part, origin, state, event_id, txn_id, mx_sender, ts, tried_at, body, quote, kind FROM message
    WHERE portal_id = $1 AND ts <= $2 AND event_id IS NOT NULL AND kind = 'new' AND state = 'sent'
    ORDER BY ts DESC, part DESC LIMIT 1";
// WhatsApp's times are whole seconds: of the second the mark stands in, what nobody has read yet is behind the mark.
const UNREAD_BETWEEN: &str = "-- message.unread_between
    SELECT sender, wa_id, ts FROM message
    WHERE portal_id = $1 AND ts >= $2 AND (ts > $2 OR read_at = 0) AND ts <= $3 AND kind = 'new' AND part = 0 AND state = 'sent'
    ORDER BY ts LIMIT 500";

impl Store {
    /// Fixes a message's names before anything is sent; false when they already are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reserve(&self, row: &Reservation<'_>) -> Result<bool> {
        let write = sqlx::query(RESERVE)
            .bind(row.key.portal.get())
            .bind(row.key.sender.as_str())
            .bind(row.key.wa_id.as_str())
            .bind(row.key.part)
            .bind(if row.txn_id.is_some() { "wa" } else { "mx" })
            .bind(row.kind)
            .bind(row.event_id)
            .bind(row.txn_id)
            .bind(row.mx_sender)
            .bind(row.login.as_str())
            .bind(row.ts)
            .bind(self.clock().now_ms())
            .bind(row.body)
            .bind(row.quote);
        Ok(self.write("message.reserve", write).await?.affected > 0)
    }

    /// One part of a message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_message(&self, key: &PartKey) -> Result<Option<Message>> {
        let row = sqlx::query(COLUMNS)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part)
            .fetch_optional(self.pool())
            .await
            .named("message.find")?;
        row.as_ref().map(read_message).transpose()
    }

    /// The first part of a message that has any, whichever it is: messages made of one event are its parts 0, 1, ….
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_any_part(
        &self,
        portal: PortalId,
        sender: &GhostId,
        wa_id: &WaMessageId,
    ) -> Result<Option<Message>> {
        let row = sqlx::query(FIRST_PART)
            .bind(portal.get())
            .bind(sender.as_str())
            .bind(wa_id.as_str())
            .fetch_optional(self.pool())
            .await
            .named("message.first_part")?;
        row.as_ref().map(read_message).transpose()
    }

    /// The message behind a Matrix event.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_message_by_event(&self, event_id: &str) -> Result<Option<Message>> {
        let row = sqlx::query(BY_EVENT).bind(event_id).fetch_optional(self.pool()).await.named("message.by_event")?;
        row.as_ref().map(read_message).transpose()
    }

    /// Whether something of a chat's was begun to be sent into its room since `since` (milliseconds since 1970) and its event
    /// is not known: it may be in the room already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_unknown_event(&self, portal: PortalId, since: i64) -> Result<bool> {
        let row = sqlx::query(IN_FLIGHT).bind(portal.get()).bind(since).fetch_optional(self.pool()).await;
        Ok(row.named("message.in_flight")?.is_some())
    }

    /// All messages one Matrix event became, in order. What tells of votes is none of them: it is no event's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn parts_of_event(&self, portal: PortalId, event_id: &str) -> Result<Vec<Message>> {
        let rows = sqlx::query(OF_EVENT).bind(event_id).bind(portal.get()).fetch_all(self.pool()).await;
        rows.named("message.of_event")?.iter().map(read_message).collect()
    }

    /// Through which logins an event's messages were begun to be sent, and what is known of them, by part.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begun_through(&self, portal: PortalId, event_id: &str) -> Result<Vec<(LoginId, i64, MessageState)>> {
        let rows = sqlx::query(BEGUN).bind(event_id).bind(portal.get()).fetch_all(self.pool()).await;
        let read = |row: &AnyRow| {
            let login: String = row.try_get("login_id").named("message.begun")?;
            let state: String = row.try_get("state").named("message.begun")?;
            Ok((LoginId::new(login), row.try_get("part").named("message.begun")?, read_state(&state)?))
        };
        rows.named("message.begun")?.iter().map(read).collect()
    }

    /// Takes an event from the messages other logins could never send of it: this login sends it now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn let_go_of_failed(&self, portal: PortalId, event_id: &str, login: &LoginId) -> Result<()> {
        let write = sqlx::query(LET_GO).bind(event_id).bind(portal.get()).bind(login.as_str());
        self.write("message.let_go", write).await.map(drop)
    }

    /// The last event of a message known by WhatsApp's id alone, as receipts name it. A notice that keeps the place of a
    /// message is not the message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_message_by_wa_id(&self, portal: PortalId, wa_id: &WaMessageId) -> Result<Option<Message>> {
        let row = sqlx::query(BY_WA_ID).bind(portal.get()).bind(wa_id.as_str()).fetch_optional(self.pool()).await;
        row.named("message.by_wa_id")?.as_ref().map(read_message).transpose()
    }

    /// All parts of a message whose events are known, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn parts_of(&self, portal: PortalId, sender: &GhostId, wa_id: &WaMessageId) -> Result<Vec<Message>> {
        let rows = sqlx::query(PARTS)
            .bind(portal.get())
            .bind(sender.as_str())
            .bind(wa_id.as_str())
            .fetch_all(self.pool())
            .await;
        rows.named("message.parts")?.iter().map(read_message).collect()
    }

    /// Records that the other side has a part; `event_id` when it just became known. Together with the inbox row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_was_sent_in(&self, tx: &mut Tx, key: &PartKey, event_id: Option<&str>) -> Result<()> {
        sqlx::query(SENT)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part)
            .bind(event_id)
            .execute(tx.connection())
            .await
            .named("message.sent")
            .map(drop)
    }

    /// As [`Store::message_was_sent_in`], with an event in a chat's room. False when the chat has given the room up since: nobody
    /// reads it there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_was_shown_in(
        &self,
        tx: &mut Tx,
        key: &PartKey,
        event_id: &str,
        (portal, room): (PortalId, &str),
    ) -> Result<bool> {
        let sent = sqlx::query(SENT_IN_ROOM)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part)
            .bind(event_id)
            .bind(portal.get())
            .bind(room)
            .execute(tx.connection())
            .await;
        Ok(sent.named("message.sent_in_room")?.rows_affected() > 0)
    }

    /// Records that a reserved part will never arrive.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_has_failed(&self, key: &PartKey) -> Result<()> {
        let write = sqlx::query(FAILED)
            .bind(key.portal.get())
            .bind(key.sender.as_str())
            .bind(key.wa_id.as_str())
            .bind(key.part);
        self.write("message.failed", write).await.map(drop)
    }

    /// Messages from WhatsApp up to `ts` that were not reported as read, oldest first, at most 500.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unread_until(&self, portal: PortalId, ts: i64) -> Result<Vec<Unread>> {
        let rows =
            sqlx::query(UNREAD).bind(portal.get()).bind(ts).fetch_all(self.pool()).await.named("message.unread")?;
        let read = |row: &AnyRow| -> std::result::Result<Unread, sqlx::Error> {
            Ok(Unread {
                sender: GhostId::new(row.try_get::<String, _>("sender")?),
                wa_id: WaMessageId::new(row.try_get::<String, _>("wa_id")?),
            })
        };
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("message.unread")
    }

    /// The newest message up to `ts` that has an event.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_message_until(&self, portal: PortalId, ts: i64) -> Result<Option<Message>> {
        let row = sqlx::query(NEWEST).bind(portal.get()).bind(ts).fetch_optional(self.pool()).await;
        row.named("message.newest")?.as_ref().map(read_message).transpose()
    }

    /// Messages later than `after` and up to `until`, oldest first, at most 500, those of people on Matrix among them
    /// (other logins see them as a phone's); and up to which time that is all of them: later than `after`, unless that is `until`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unread_between(&self, portal: PortalId, after: i64, until: i64) -> Result<(Vec<Unread>, i64)> {
        let rows = sqlx::query(UNREAD_BETWEEN).bind(portal.get()).bind(after).bind(until).fetch_all(self.pool()).await;
        let (mut unread, mut last) = (Vec::new(), after);
        for row in &rows.named("message.unread_between")? {
            let text = |column: &'static str| row.try_get::<String, _>(column).named("message.unread_between");
            last = row.try_get("ts").named("message.unread_between")?;
            unread.push(Unread { sender: GhostId::new(text("sender")?), wa_id: WaMessageId::new(text("wa_id")?) });
        }
        // A full page may end within one moment: what is left of it comes with the next page, and these once more.
        let whole = if unread.len() < 500 { until } else { (last - 1).max(after + 1) };
        Ok((unread, whole))
    }

    /// Records that a message was reported as read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_was_read(&self, portal: PortalId, message: &Unread) -> Result<()> {
        let write = sqlx::query(MARK_READ)
            .bind(portal.get())
            .bind(message.sender.as_str())
            .bind(message.wa_id.as_str())
            .bind(self.clock().now_ms());
        self.write("message.mark_read", write).await.map(drop)
    }
}

pub(super) fn read_state(text: &str) -> Result<MessageState> {
    match text {
        "reserved" => Ok(MessageState::Reserved),
        "sent" => Ok(MessageState::Sent),
        "failed" => Ok(MessageState::Failed),
        _ => Err(StoreError::Corrupt { table: "message", why: "unknown state".into() }),
    }
}

fn read_message(row: &AnyRow) -> Result<Message> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("message.read");
    let number = |column: &'static str| row.try_get::<i64, _>(column).named("message.read");
    let state = read_state(&text("state")?)?;
    Ok(Message {
        key: PartKey {
            portal: PortalId::new(number("portal_id")?),
            sender: GhostId::new(text("sender")?),
            wa_id: WaMessageId::new(text("wa_id")?),
            part: number("part")?,
        },
        from_matrix: text("origin")? == "mx",
        state,
        event_id: row.try_get("event_id").named("message.read")?,
        txn_id: row.try_get("txn_id").named("message.read")?,
        mx_sender: text("mx_sender")?,
        ts: number("ts")?,
        tried_at: number("tried_at")?,
        body: row.try_get("body").named("message.read")?,
        quote: row.try_get("quote").named("message.read")?,
        kind: text("kind")?,
    })
}
