//! Fills what transactions lose: `/sync` as the bot from a stored place on.
//!
//! Synapse loses events that it holds in memory behind a transaction in flight, even on a clean stop. The bot is in
//! every room of the bridge, so its `/sync` tells of all of them, in order, from a place that lasts. A catch-up
//! runs at the start, after the connection broke, when transaction numbers jump, and every minute. It stores the
//! rooms one by one, the place last: dying in between repeats what is known by its event ids.
//!
//! **Order.** After a stop of the homeserver newer events may come by transaction before the lost older ones come
//! this way. So each room is walked in its own order: what is missing is put in, and a row that stands before
//! something older, and that nobody has begun to work on, moves behind it ([`Store::move_to_end`]); so do rows of
//! the lane that are newer than this `/sync` tells. Meanwhile the lanes into WhatsApp are held
//! ([`super::intake::Intake::holding`]).
//!
//! No device is named: to-device messages are for whoever reads them with the bot's device.

use super::client::Who;
use super::error::MatrixError;
use super::incoming::{Sorted, TAKEN};
use super::intake::Intake;
use crate::ids::Lane;
use crate::store::inbox::ring_all;
use crate::store::mx_intake::SyncPlace;
use crate::store::{Store, StoreError, Tx};
use ruma::api::client::filter::{Filter, FilterDefinition, RoomEventFilter};
use ruma::api::client::message::get_message_events;
use ruma::api::client::sync::sync_events::v3 as sync;
use ruma::presence::PresenceState;
use ruma::{OwnedRoomId, RoomId, UInt};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// Events of a room in one answer; Synapse's own limit.
const TIMELINE: u32 = 100;
/// Events asked for at once where the answer had a gap.
const GAP_PAGE: u32 = 500;
/// Waiting rows looked through for an invitation.
const LOOKED_AT: i64 = 100;
/// How long Synapse may take; a long absence with many rooms takes seconds.
const SYNC_TIME: Duration = Duration::from_secs(180);

/// Why a catch-up did not come to its end; repeating is right.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// The homeserver.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One room's news, in the room's order.
struct Walk {
    room: OwnedRoomId,
    sorted: Vec<Sorted>,
}

impl Intake {
    /// One catch-up; after `Ok` everything up to the moment it was asked is stored, and the lanes are let go if
    /// the standing watch holds.
    ///
    /// # Errors
    /// When the homeserver or the database fails in the middle; the place stays, so nothing is lost.
    pub async fn catch_up(&self) -> Result<(), CatchUpError> {
        let epoch = self.epoch();
        let place = self.matrix().store().find_sync_place().await?;
        let answer = match (self.sync(place.as_ref()).await, &place) {
            // The homeserver does not know its own token any more: its database is another one. Holding the lanes
            // until somebody repairs that would hold them for ever.
            (Err(error @ MatrixError::Refused { status: 400, .. }), Some(_)) => {
                tracing::error!(%error, "the homeserver refuses the stored place in /sync; going on from the present");
                let writer = self.writer().await;
                let mut tx = self.matrix().store().begin("mx.forget_place").await?;
                self.matrix().store().forget_sync_place(&mut tx).await?;
                tx.commit().await?;
                drop(writer);
                return Err(error.into());
            }
            (answer, _) => answer?,
        };
        let since = place.as_ref().map_or("", |place| place.token.as_str());
        for (room, invited) in &answer.rooms.invite {
            let stripped: Vec<&RawValue> = invited.invite_state.events.iter().map(|raw| raw.json()).collect();
            if let Some(sorted) = self.matrix().sort_invite(&stripped, room.as_str(), since) {
                self.store_invite(room, sorted).await?;
            }
        }
        let next = answer.next_batch.clone();
        if let Some(place) = &place {
            for walk in self.walks(answer, &place.token).await? {
                self.store_walk(walk, Some(place)).await?;
            }
        }
        let store = self.matrix().store();
        let writer = self.writer().await;
        let mut tx = store.begin("mx.sync_place").await?;
        store.put_sync_place(&mut tx, &next).await?;
        tx.commit().await?;
        drop(writer);
        self.release(epoch);
        Ok(())
    }

    async fn sync(&self, place: Option<&SyncPlace>) -> Result<sync::Response, MatrixError> {
        // Without a place only the place is asked for, and invitations, which no filter concerns.
        let mut filter = FilterDefinition::empty();
        filter.presence = Filter::ignore_all();
        filter.account_data = Filter::ignore_all();
        filter.room.account_data = RoomEventFilter::ignore_all();
        filter.room.state = RoomEventFilter::ignore_all();
        filter.room.timeline = place.map_or_else(RoomEventFilter::ignore_all, |_| taken(TIMELINE));
        filter.room.ephemeral = RoomEventFilter::ignore_all();
        if place.is_some() {
            filter.room.ephemeral.types = Some(vec!["m.receipt".into()]);
        }
        let mut request = sync::Request::new();
        request.filter = Some(filter.into());
        request.since = place.map(|place| place.token.clone());
        request.set_presence = PresenceState::Offline;
        request.timeout = Some(Duration::ZERO);
        self.matrix().ask_slowly(Who::User(self.matrix().bot()), SYNC_TIME, request).await
    }

    /// Everything the answer tells, room by room, gaps filled.
    async fn walks(&self, answer: sync::Response, since: &str) -> Result<Vec<Walk>, MatrixError> {
        let mut timelines: BTreeMap<OwnedRoomId, (sync::Timeline, Vec<Sorted>)> = BTreeMap::new();
        for (room, joined) in answer.rooms.join {
            let marks = joined.ephemeral.events.iter();
            let marks = marks.flat_map(|raw| self.matrix().sort_ephemeral(raw.json(), Some(room.as_str()))).collect();
            timelines.insert(room, (joined.timeline, marks));
        }
        for (room, left) in answer.rooms.leave {
            timelines.insert(room, (left.timeline, Vec::new()));
        }
        let mut walks = Vec::new();
        for (room, (timeline, marks)) in timelines {
            let mut sorted = match &timeline.prev_batch {
                Some(from) if timeline.limited => self.fill_gap(&room, from, since).await?,
                _ => Vec::new(),
            };
            let told = timeline.events.iter();
            sorted.extend(told.filter_map(|raw| self.matrix().sort_event(raw.json(), Some(room.as_str()))));
            sorted.extend(marks);
            if !sorted.is_empty() {
                walks.push(Walk { room, sorted });
            }
        }
        Ok(walks)
    }

    /// The events between the stored place and the beginning of the answer's timeline, oldest first. Only what
    /// is for the inbox is kept in memory.
    async fn fill_gap(&self, room: &RoomId, from: &str, since: &str) -> Result<Vec<Sorted>, MatrixError> {
        let mut newest_first = Vec::new();
        let mut from = Some(from.to_owned());
        while from.is_some() {
            let mut request = get_message_events::v3::Request::backward(room.to_owned()).from(from.clone());
            request.to = Some(since.to_owned());
            request.limit = GAP_PAGE.into();
            request.filter = taken(GAP_PAGE);
            let page = match self.matrix().ask(Who::User(self.matrix().bot()), request).await {
                Ok(page) => page,
                // Not a fault of the homeserver's health (that was checked): this room can not be read any more.
                Err(error @ (MatrixError::Forbidden { .. } | MatrixError::NotFound | MatrixError::Refused { .. })) => {
                    tracing::error!(mx.room_id = %room, %error, "a gap in a room could not be filled");
                    break;
                }
                Err(error) => return Err(error),
            };
            let told = page.chunk.iter();
            newest_first.extend(told.filter_map(|raw| self.matrix().sort_event(raw.json(), Some(room.as_str()))));
            from = page.end.filter(|end| Some(end) != from.as_ref());
        }
        newest_first.reverse();
        Ok(newest_first)
    }

    /// Stores an invitation, unless a transaction has brought it and it waits to be worked on.
    async fn store_invite(&self, room: &RoomId, invite: Sorted) -> Result<(), StoreError> {
        let waiting = self.matrix().store().take_rows(&invite.arrival.lane, LOOKED_AT).await?;
        if waiting.iter().any(|row| self.matrix().is_invite(&row.body)) {
            return Ok(());
        }
        self.store_walk(Walk { room: room.to_owned(), sorted: vec![invite] }, None).await
    }

    /// Stores one room's news in one database transaction.
    async fn store_walk(&self, walk: Walk, place: Option<&SyncPlace>) -> Result<(), StoreError> {
        let store = self.matrix().store();
        let writer = self.writer().await;
        let mut tx = store.begin("mx.catch_up").await?;
        let mut order = Order { store, tx: &mut tx, ends: HashMap::new(), walked: HashSet::new(), fresh: 0, moved: 0 };
        for sorted in &walk.sorted {
            order.place(sorted).await?;
        }
        if let Some(place) = place {
            order.push_newer_behind(place.mark).await?;
        }
        let Order { ends, fresh, moved, .. } = order;
        tx.commit().await?;
        ring_all(store, ends.into_keys());
        drop(writer);
        if fresh > 0 || moved > 0 {
            tracing::info!(mx.room_id = %walk.room, fresh, moved, "a catch-up found what no transaction had brought");
        }
        Ok(())
    }
}

/// Puts one room's events into their lanes so that each lane ends in the order of the walk.
struct Order<'a> {
    store: &'a Store,
    tx: &'a mut Tx,
    /// Highest number the walk has reached in each lane.
    ends: HashMap<Lane, i64>,
    walked: HashSet<String>,
    fresh: usize,
    moved: usize,
}

impl Order<'_> {
    async fn place(&mut self, sorted: &Sorted) -> Result<(), StoreError> {
        let Sorted { arrival, fault } = sorted;
        self.walked.insert(arrival.dedup.clone());
        if let Some(why) = fault {
            if self.store.put_failed_arrival(self.tx, arrival, why).await? {
                tracing::error!(why, "an event of the homeserver is kept as failed");
            }
            return Ok(());
        }
        let end = self.ends.get(&arrival.lane).copied().unwrap_or(0);
        let reached = match self.store.find_waiting(self.tx, &arrival.dedup).await? {
            Some(row) if row.seq < end => self.move_behind(row.seq, end).await?,
            Some(row) => row.seq,
            None if self.store.put_arrival(self.tx, arrival).await? => {
                self.fresh += 1;
                // Numbers grow, so this one is above the row's own and below every later one.
                self.store.clock().next_id()
            }
            // Settled before, or kept as failed.
            None => return Ok(()),
        };
        self.ends.insert(arrival.lane.clone(), reached.max(end));
        Ok(())
    }

    /// Rows put after the last place that this walk does not tell of came by transaction after it was asked:
    /// they belong behind everything it tells.
    async fn push_newer_behind(&mut self, mark: i64) -> Result<(), StoreError> {
        for (lane, mut end) in self.ends.clone() {
            for (seq, dedup) in self.store.untouched_after(self.tx, &lane, mark).await? {
                if seq < end && !self.walked.contains(&dedup) {
                    end = self.move_behind(seq, end).await?;
                }
            }
        }
        Ok(())
    }

    /// Moves a row to the end of its lane; a row somebody has begun to work on stays where it is.
    async fn move_behind(&mut self, seq: i64, end: i64) -> Result<i64, StoreError> {
        let moved = self.store.move_to_end(self.tx, seq).await?;
        self.moved += usize::from(moved.is_some());
        Ok(moved.unwrap_or(end))
    }
}

/// The filter for what is taken; the bot's own events need not even be told.
fn taken(limit: u32) -> RoomEventFilter {
    let mut filter = RoomEventFilter::empty();
    filter.types = Some(TAKEN.iter().map(|kind| (*kind).to_owned()).collect());
    filter.limit = Some(UInt::from(limit));
    filter
}

#[cfg(test)]
mod tests;
