//! Starts and kills: how long until the first message crosses.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::rig::{LONG, Rig};

/// How often each is measured; the slowest counts.
const TIMES: usize = 3;

impl Rig {
    /// Starts the stopped bridge while a message waits at WhatsApp; the slowest time from the start of the process
    /// until the message is at the homeserver, and until one of the owner's after it is on the phone, seconds.
    ///
    /// # Errors
    /// It does not arrive.
    pub async fn start_to_first(&mut self, tag: &str) -> Result<(f64, f64)> {
        let (mut slowest_in, mut slowest_out) = (0.0_f64, 0.0_f64);
        for time in 0..TIMES {
            self.stop().await?;
            let (one, other) = self.cross_after_launch(&format!("{tag} {time}")).await?;
            (slowest_in, slowest_out) = (slowest_in.max(one.as_secs_f64()), slowest_out.max(other.as_secs_f64()));
        }
        Ok((slowest_in, slowest_out))
    }

    /// Kills the bridge in the middle of work; the slowest time from the kill until a new message has crossed each
    /// way, seconds.
    ///
    /// # Errors
    /// It does not arrive.
    pub async fn kill_to_working(&mut self, tag: &str) -> Result<f64> {
        let mut slowest = 0.0_f64;
        for time in 0..TIMES {
            for (place, contact) in self.contacts.iter().enumerate() {
                let text = format!("{tag} {time} before the kill {place}");
                self.phones.send(&contact.account.number, &self.login.number, &text).await?;
            }
            self.bridge.kill9()?;
            let (one, other) = self.cross_after_launch(&format!("{tag} {time} kill")).await?;
            slowest = slowest.max(one.as_secs_f64()).max(other.as_secs_f64());
        }
        Ok(slowest)
    }

    /// Starts the process with a message under way each way.
    async fn cross_after_launch(&mut self, tag: &str) -> Result<(Duration, Duration)> {
        let contact = self.contacts[0].clone();
        let (inward, outward) = (format!("{tag} inward"), format!("{tag} outward"));
        let start = Instant::now();
        self.bridge.launch(&[])?;
        self.phones.send(&contact.account.number, &self.login.number, &inward).await?;
        self.server.say(&contact.room, &outward).await?;
        let arriving = async {
            self.wait_on_phone(&contact, &outward, LONG).await?;
            anyhow::Ok(start.elapsed())
        };
        let (said, arrived) = futures_util::future::join(self.server.wait_said(&inward, LONG), arriving).await;
        let times = (said?.at - start, arrived?);
        self.bridge.wait_ready().await?;
        self.settle().await?;
        Ok(times)
    }

    /// Puts many chats of the login into the stopped bridge's database: portal, ghost, members, one message each.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn fill_portals(&mut self, count: usize) -> Result<()> {
        self.stop().await?;
        let login = &self.login.number;
        let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
        for text in [
            format!(
                "INSERT INTO portal (portal_id, chat, receiver, kind, room_id, alias, created_at, merged_into)
                 {numbers} SELECT i, 'fill' || i || '@lid', '{login}', 'dm', '!fill' || i || ':test.local', 'fill' || i, 0, 0 FROM n"
            ),
            format!(
                "INSERT INTO portal_login (portal_id, login_id, read_to) {numbers} SELECT i, '{login}', 0 FROM n"
            ),
            format!(
                "INSERT INTO ghost (ghost_id, localpart, name, name_rank, name_set, avatar_id, avatar_mxc, avatar_set, avatar_checked_at, registered)
                 {numbers} SELECT 'fill' || i || '@lid', 'lid-fill' || i, 'Somebody', 2, 1, '', '', 1, 0, 1 FROM n"
            ),
            format!(
                "INSERT INTO portal_member (portal_id, mxid, membership)
                 {numbers} SELECT i, '@wa0_lid-fill' || i || ':test.local', 'join' FROM n"
            ),
            format!(
                "INSERT INTO message (portal_id, sender, wa_id, part, origin, kind, state, event_id, txn_id, mx_sender, login_id, ts, tried_at, read_at)
                 {numbers} SELECT i, 'fill' || i || '@lid', 'FILL' || i, 0, 'wa', 'new', 'sent', '$fill' || i, 'fill' || i,
                 '@wa0_lid-fill' || i || ':test.local', '{login}', i, i, 0 FROM n"
            ),
            format!("INSERT INTO seen (dedup, at) {numbers} SELECT 'fill' || i, i FROM n"),
        ] {
            self.database.execute(&text).await?;
        }
        self.bridge.start().await?;
        self.wait_connected(1).await
    }
}
