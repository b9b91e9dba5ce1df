//! Transactions of the homeserver: read leniently, stored whole in one database transaction.
//!
//! A transaction is known by its id and by a hash over what is the same each time it is sent: the ids of its
//! events and the text of its ephemeral events (the events' texts differ, their `unsigned.age` counts on). The
//! same id with another hash means that the homeserver counts from one again, on a new database: then its events
//! are looked at like any others, each known by its own id.

use super::incoming::Sorted;
use super::intake::Intake;
use super::signals::Told;
use crate::derive::body_hash;
use crate::store::StoreError;
use crate::store::inbox::ring_all;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What came of reading a transaction's body.
pub(super) struct Transaction {
    /// For the inbox, in order.
    pub(super) sorted: Vec<Sorted>,
    /// See the module's text.
    pub(super) hash: String,
    /// Age of its oldest event as the homeserver tells it, milliseconds; 0 when it tells none.
    pub(super) age: i64,
    /// Typing and presence of people; not stored.
    pub(super) signals: Vec<Told>,
}

/// Why a body is no transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadBody {
    /// Not JSON at all.
    NotJson,
    /// JSON, but not an object with lists where lists belong.
    BadJson,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    events: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    ephemeral: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Aged {
    unsigned: Age,
}

#[derive(Deserialize)]
struct Age {
    age: i64,
}

#[derive(Deserialize)]
struct Id {
    event_id: String,
}

impl Intake {
    /// Reads a transaction's body; needs no database.
    pub(super) fn read_transaction(&self, body: &[u8]) -> Result<Transaction, BadBody> {
        // Read as a struct, a list would pass for one with its first field missing.
        if body.trim_ascii_start().first() == Some(&b'[') && serde_json::from_slice::<&RawValue>(body).is_ok() {
            return Err(BadBody::BadJson);
        }
        let body: Body<'_> = serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => BadBody::BadJson,
            _ => BadBody::NotJson,
        })?;
        let mut same = String::new();
        let mut age = 0;
        let (mut sorted, mut signals) = (Vec::new(), Vec::new());
        for raw in body.events {
            match serde_json::from_str::<Id>(raw.get()) {
                Ok(id) => same.push_str(&id.event_id),
                Err(_) => same.push_str(raw.get()),
            }
            same.push('\n');
            age = age.max(serde_json::from_str::<Aged>(raw.get()).map_or(0, |aged| aged.unsigned.age));
            sorted.extend(self.matrix().sort_event(raw, None));
        }
        // Ephemeral events are no part of it: Synapse leaves them out when it repeats a transaction.
        for raw in body.ephemeral {
            sorted.extend(self.matrix().sort_ephemeral(raw, None));
            signals.extend(self.matrix().read_signal(raw));
        }
        let hash = if same.is_empty() { String::new() } else { body_hash(same.as_bytes()) };
        Ok(Transaction { sorted, hash, age, signals })
    }

    /// Stores a transaction; after `Ok` it may be answered. A repeat changes nothing.
    pub(super) async fn store_transaction(&self, txn: &str, transaction: Transaction) -> Result<(), StoreError> {
        let store = self.matrix().store();
        let _writer = self.writer().await;
        let mut tx = store.begin("mx.transaction").await?;
        let name = txn_name(txn);
        if !store.put_new_mx_txn(&mut tx, &name, &transaction.hash).await? {
            // The same number with other events is no repeat: Synapse on SQLite counts from one again after a restart.
            // The events themselves say what is new.
            let known = store.find_mx_txn(&mut tx, &name).await?;
            if !transaction.hash.is_empty() && known.as_ref() == Some(&transaction.hash) {
                // What was found may be on its way to the disk still.
                return tx.commit().await;
            }
            store.put_mx_txn(&mut tx, &name, &transaction.hash).await?;
        }
        let mut lanes = Vec::new();
        for Sorted { arrival, fault } in transaction.sorted {
            match fault {
                None => {
                    if store.put_arrival(&mut tx, &arrival).await? {
                        lanes.push(arrival.lane);
                    }
                }
                Some(why) => {
                    if store.put_failed_arrival(&mut tx, &arrival, why).await? {
                        tracing::error!(why, "an event of the homeserver is kept as failed");
                    }
                }
            }
        }
        tx.commit().await?;
        if !lanes.is_empty() {
            fail::fail_point!("mx.txn.after_commit", |_| std::process::abort());
        }
        ring_all(store, lanes);
        Ok(())
    }
}

/// The id as it is stored: Synapse's are small numbers; anything odd is hashed.
fn txn_name(txn: &str) -> String {
    if txn.len() <= 64 && txn.bytes().all(|b| b.is_ascii_graphic()) {
        txn.to_owned()
    } else {
        body_hash(txn.as_bytes())
    }
}
