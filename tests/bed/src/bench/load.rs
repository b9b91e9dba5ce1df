//! Load: as fast as it goes, and paced.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::{join_all, try_join_all};

use super::meter;
use super::rig::{LONG, Rig};
use super::server::Direct;

/// What came of a flood.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Messages a second.
    pub rate: f64,
    /// CPU seconds of the bridge per 1,000 messages.
    pub cpu: f64,
}

/// The middle and the slow end of a paced load, milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Paced {
    /// Half are faster.
    pub p50: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
}

impl Rig {
    fn rounds(&self, count: usize) -> usize {
        count.div_ceil(self.contacts.len())
    }

    /// All contacts write at once, `count` messages together; ends when the last is on the homeserver.
    ///
    /// # Errors
    /// One does not arrive.
    pub async fn flood_in(&self, tag: &str, count: usize) -> Result<Flood> {
        let (rounds, process) = (self.rounds(count), self.process()?);
        let (start, before) = (Instant::now(), meter::cpu_seconds(process)?);
        for round in 0..rounds {
            for (place, contact) in self.contacts.iter().enumerate() {
                let text = format!("{tag} in {place} {round}");
                self.phones.send(&contact.account.number, &self.login.number, &text).await?;
            }
            // Sending is work without a pause; whoever shares these threads gets a turn.
            tokio::task::yield_now().await;
        }
        let mut end = start;
        for place in 0..self.contacts.len() {
            let last = format!("{tag} in {place} {}", rounds - 1);
            end = end.max(self.server.wait_said(&last, LONG).await?.at);
        }
        self.settle().await?;
        self.flood(rounds, end - start, before)
    }

    /// The owner writes into all rooms at once; ends when the last is on its contact's phone.
    ///
    /// # Errors
    /// One does not arrive.
    pub async fn flood_out(&self, tag: &str, count: usize) -> Result<Flood> {
        let (rounds, process) = (self.rounds(count), self.process()?);
        let (start, before) = (Instant::now(), meter::cpu_seconds(process)?);
        let saying = self.contacts.iter().enumerate().map(async |(place, contact)| {
            for round in 0..rounds {
                self.server.say(&contact.room, &format!("{tag} out {place} {round}")).await?;
            }
            anyhow::Ok(())
        });
        let arriving = self.contacts.iter().enumerate().map(async |(place, contact)| {
            self.wait_on_phone(contact, &format!("{tag} out {place} {}", rounds - 1), LONG).await
        });
        let (said, arrived) = futures_util::future::join(try_join_all(saying), try_join_all(arriving)).await;
        said?;
        arrived?;
        let took = start.elapsed();
        self.settle().await?;
        self.flood(rounds, took, before)
    }

    fn flood(&self, rounds: usize, took: Duration, before: f64) -> Result<Flood> {
        let messages = (rounds * self.contacts.len()) as f64;
        let cpu = (meter::cpu_seconds(self.process()?)? - before) * 1000.0 / messages;
        Ok(Flood { rate: messages / took.as_secs_f64(), cpu })
    }

    /// The homeserver's bound into Matrix: ghosts with devices send without the bridge, one after another in each
    /// room, all rooms at once. Messages a second.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn bound_in(&self, direct: &Direct, tag: &str, count: usize) -> Result<f64> {
        let (rounds, start) = (self.rounds(count), Instant::now());
        let sending = self.contacts.iter().enumerate().map(async |(place, contact)| {
            for round in 0..rounds {
                direct.say(&contact.room, &contact.ghost, &format!("{tag} bound {place} {round}")).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(sending).await?;
        Ok((rounds * self.contacts.len()) as f64 / start.elapsed().as_secs_f64())
    }

    /// The homeserver's bound out of Matrix: the owner sends into as many rooms that are not bridged. Messages a
    /// second; none where there is no such bound.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn bound_out(&self, rooms: &[String], tag: &str, count: usize) -> Result<f64> {
        let (rounds, start) = (count.div_ceil(rooms.len()), Instant::now());
        let sending = rooms.iter().enumerate().map(async |(place, room)| {
            for round in 0..rounds {
                self.server.say(room, &format!("{tag} plain {place} {round}")).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(sending).await?;
        Ok((rounds * rooms.len()) as f64 / start.elapsed().as_secs_f64())
    }

    /// Contacts write in turn, `rate` a second; the time from the phone to the homeserver.
    ///
    /// # Errors
    /// One does not arrive.
    pub async fn paced_in(&self, tag: &str, rate: u32, count: usize) -> Result<Paced> {
        paced(rate, count, async |number| {
            let (contact, text) = (&self.contacts[number % self.contacts.len()], format!("{tag} paced in {number}"));
            let start = Instant::now();
            self.phones.send(&contact.account.number, &self.login.number, &text).await?;
            Ok(self.server.wait_said(&text, LONG).await?.at - start)
        })
        .await
    }

    /// The owner writes in turn into all rooms; the time from handing over to the homeserver to the phone.
    ///
    /// # Errors
    /// One does not arrive.
    pub async fn paced_out(&self, tag: &str, rate: u32, count: usize) -> Result<Paced> {
        paced(rate, count, async |number| {
            let (contact, text) = (&self.contacts[number % self.contacts.len()], format!("{tag} paced out {number}"));
            let start = Instant::now();
            let saying = self.server.say(&contact.room, &text);
            let arriving = self.wait_on_phone(contact, &text, LONG);
            let (said, arrived) = futures_util::future::join(saying, arriving).await;
            said.and(arrived)?;
            Ok(start.elapsed())
        })
        .await
    }

    /// Ghosts write without the bridge; the time until the owner's client has it.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn paced_direct(&self, direct: &Direct, tag: &str, rate: u32, count: usize) -> Result<Paced> {
        paced(rate, count, async |number| {
            let (contact, text) =
                (&self.contacts[number % self.contacts.len()], format!("{tag} paced direct {number}"));
            let start = Instant::now();
            direct.say(&contact.room, &contact.ghost, &text).await?;
            Ok(self.server.wait_said(&text, LONG).await?.at - start)
        })
        .await
    }
}

/// Begins `count` messages at fixed moments, whatever became of the ones before.
async fn paced(rate: u32, count: usize, one: impl AsyncFn(usize) -> Result<Duration>) -> Result<Paced> {
    let start = tokio::time::Instant::now();
    let messages = (0..count).map(async |number| {
        tokio::time::sleep_until(start + Duration::from_secs(1) * u32::try_from(number)? / rate).await;
        one(number).await
    });
    let mut times = join_all(messages).await.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Paced { p50: meter::percentile(&mut times, 50), p99: meter::percentile(&mut times, 99) })
}
