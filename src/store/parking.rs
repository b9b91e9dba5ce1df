//! Rows that came before what they are about: a reaction, an edit or a deletion of a message that is not here yet.
//!
//! Such a row leaves its lane ([`Store::park_row`]) and is put back when its target is settled ([`Store::unpark`]).
//! Who is waited for is kept in memory too ([`Parking`]), so that a settlement asks the database only where somebody
//! waits. A target that never comes: swept after a day.

use super::{Named, Result, Store};
use crate::ids::{Lane, PortalId, WaMessageId};
use sqlx::Row;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

const PARK: &str = "-- parking.park
    UPDATE inbox SET state = 'parked', waits_for = $2, attempts = 0 WHERE seq = $1 AND state = 'waiting'";
const UNPARK: &str = "-- parking.unpark
    UPDATE inbox SET state = 'waiting', waits_for = '' WHERE state = 'parked' AND waits_for = $1 RETURNING lane";
const UNPARK_ALL: &str = "-- parking.unpark_all
    UPDATE inbox SET state = 'waiting', waits_for = '' WHERE state = 'parked'";
const SWEEP: &str = "-- parking.sweep
    DELETE FROM inbox WHERE state = 'parked' AND received_at < $1";

/// What parked rows wait for.
#[derive(Default)]
pub struct Parking(Mutex<HashSet<String>>);

impl Parking {
    fn add(&self, target: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(target);
    }

    fn take(&self, target: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(target)
    }
}

/// A message that rows may wait for.
fn name_of(portal: PortalId, wa_id: &WaMessageId) -> String {
    format!("{} {}", portal.get(), wa_id.as_str())
}

impl Store {
    /// Notes that rows will wait for a message. Look for the message once more after this, and again after
    /// [`Store::park_row`]: its settlement may fall in between.
    pub fn expect_target(&self, portal: PortalId, wa_id: &WaMessageId) {
        self.parking().add(name_of(portal, wa_id));
    }

    /// Takes a row out of its lane until the message is settled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn park_row(&self, seq: i64, portal: PortalId, wa_id: &WaMessageId) -> Result<()> {
        let target = name_of(portal, wa_id);
        self.write("parking.park", sqlx::query(PARK).bind(seq).bind(target.as_str())).await?;
        self.parking().add(target);
        Ok(())
    }

    /// Puts the rows that wait for a message back into their lanes, which are rung. Costs nothing where none waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unpark(&self, portal: PortalId, wa_id: &WaMessageId) -> Result<()> {
        let target = name_of(portal, wa_id);
        if !self.parking().take(&target) {
            return Ok(());
        }
        let freed = match self.write("parking.unpark", sqlx::query(UNPARK).bind(target.as_str())).await {
            Ok(freed) => freed,
            Err(error) => {
                self.parking().add(target);
                return Err(error);
            }
        };
        for row in &freed.rows {
            self.bell().shuffle();
            self.bell().ring(Lane::new(row.try_get::<String, _>("lane").named("parking.unpark")?));
        }
        Ok(())
    }

    /// Puts all parked rows back into their lanes, at the start: the process may have ended between a target's
    /// settlement and the freeing of who waited for it. Whose target is still missing is parked again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unpark_all(&self) -> Result<()> {
        self.write("parking.unpark_all", sqlx::query(UNPARK_ALL)).await.map(drop)
    }

    /// Deletes parked rows that came before `before_ms`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_parked(&self, before_ms: i64) -> Result<u64> {
        Ok(self.write("parking.sweep", sqlx::query(SWEEP).bind(before_ms)).await?.affected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::inbox::{Arrival, Source};
    use crate::store::tests::on_both;

    on_both! { a_row_waits_for_its_target_outside_its_lane => park; }

    async fn park(store: Store) {
        let (lane, portal, target) = (Lane::new("a"), PortalId::new(7), WaMessageId::new("3A"));
        for n in 1..=2_u8 {
            let arrival = Arrival {
                dedup: format!("d{n}"),
                lane: lane.clone(),
                source: Source::Whatsapp,
                login: None,
                portal: Some(portal),
                kind: "test",
                body: vec![n],
                seq: None,
            };
            let mut tx = store.begin("test").await.unwrap();
            store.put_arrival(&mut tx, &arrival).await.unwrap();
            tx.commit().await.unwrap();
        }
        let bodies = async || {
            let rows = store.take_rows(&lane, 10).await.unwrap();
            rows.iter().map(|row| row.body[0]).collect::<Vec<_>>()
        };
        let first = store.take_rows(&lane, 1).await.unwrap().remove(0);
        store.expect_target(portal, &target);
        store.park_row(first.seq, portal, &target).await.unwrap();
        assert_eq!(bodies().await, [2]);
        assert_eq!(store.inbox_counts().await.unwrap().waiting, 1);
        store.unpark(portal, &WaMessageId::new("another")).await.unwrap();
        store.unpark(PortalId::new(8), &target).await.unwrap();
        assert_eq!(bodies().await, [2]);
        store.unpark(portal, &target).await.unwrap();
        assert_eq!(bodies().await, [1, 2], "it has its old place");
        // As after a start: nobody knows whether the target came meanwhile.
        store.park_row(first.seq, portal, &target).await.unwrap();
        assert_eq!(bodies().await, [2]);
        store.unpark_all().await.unwrap();
        assert_eq!(bodies().await, [1, 2]);
        assert_eq!(store.bell().listen().await, std::slice::from_ref(&lane));
        store.park_row(first.seq, portal, &target).await.unwrap();
        assert_eq!(store.sweep_parked(store.clock().now_ms()).await.unwrap(), 0);
        assert_eq!(store.sweep_parked(store.clock().now_ms() + 1).await.unwrap(), 1);
    }
}
