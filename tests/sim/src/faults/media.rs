//! Rules about media: what goes wrong with an account's downloads.

use anyhow::Result;

use super::Chance;

/// Bytes a second of slow downloads, and the bytes of shortened ones, when nothing else is said.
const LIMIT: u64 = 1_000;

/// What happens to a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaEffect {
    /// It goes no faster than so many bytes a second.
    Slow(u64),
    /// It ends after so many bytes, as if that were all.
    Truncate(u64),
}

impl MediaEffect {
    /// Reads a name of the admin API: `slow_media[:BYTES_PER_SECOND]`, `truncate_media[:BYTES]`. Nothing when it is
    /// another fault.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, number.parse().ok()?),
            None => (text, LIMIT),
        };
        match name {
            "slow_media" => Some(Self::Slow(number)),
            "truncate_media" => Some(Self::Truncate(number)),
            _ => None,
        }
    }
}

/// One rule about an account's downloads.
#[derive(Debug)]
pub struct MediaRule {
    effect: MediaEffect,
    /// How many downloads it still hits.
    left: u32,
    chance: Chance,
}

impl MediaRule {
    /// A rule that hits the next `count` downloads.
    pub fn new(effect: MediaEffect, count: u32) -> Self {
        Self { effect, left: count, chance: Chance::always() }
    }

    /// Lets it hit each download only with this probability, drawn from `seed`. Errors when that is no probability.
    pub fn by_chance(mut self, probability: f64, seed: u64) -> Result<Self> {
        self.chance = Chance::seeded(probability, seed)?;
        Ok(self)
    }

    /// How many downloads it still hits.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// What it does to the next download, if it hits that.
    pub fn take(&mut self) -> Option<MediaEffect> {
        if self.left == 0 || !self.chance.hits() {
            return None;
        }
        self.left -= 1;
        Some(self.effect)
    }
}

#[cfg(test)]
mod tests {
    use super::{MediaEffect, MediaRule};
    use crate::faults::Rules;

    fn hits(seed: u64) -> Vec<bool> {
        let mut rules = Rules::default();
        rules.add_media(MediaRule::new(MediaEffect::Slow(1), 1_000).by_chance(0.3, seed).unwrap());
        (0..200).map(|_| rules.take_media().is_some()).collect()
    }

    #[test]
    fn the_same_seed_hits_the_same_downloads() {
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        let share = hits(7).iter().filter(|hit| **hit).count();
        assert!((30..90).contains(&share), "{share} of 200 at 0.3");
    }

    #[test]
    fn rules_about_downloads_come_in_order_and_end() {
        let mut rules = Rules::default();
        rules.add_media(MediaRule::new(MediaEffect::Truncate(5), 1));
        rules.add_media(MediaRule::new(MediaEffect::Slow(9), 1));
        assert_eq!(rules.left(), 2);
        assert_eq!(rules.take_media(), Some(MediaEffect::Truncate(5)));
        assert_eq!(rules.take_media(), Some(MediaEffect::Slow(9)));
        assert_eq!(rules.take_media(), None);
        assert_eq!(rules.left(), 0);
        MediaRule::new(MediaEffect::Slow(1), 1).by_chance(1.5, 0).unwrap_err();
    }

    #[test]
    fn effects_on_media_are_read() {
        assert_eq!(MediaEffect::parse("slow_media"), Some(MediaEffect::Slow(1_000)));
        assert_eq!(MediaEffect::parse("truncate_media:7"), Some(MediaEffect::Truncate(7)));
        assert_eq!(MediaEffect::parse("truncate_media:none"), None);
        assert_eq!(MediaEffect::parse("slow_medium"), None);
    }
}
