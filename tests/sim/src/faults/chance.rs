//! Chance that can be had again.

use std::fmt;

use anyhow::{Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Whether a rule hits what it is about, drawn anew each time.
pub struct Chance {
    probability: f64,
    /// What is drawn from; printed with the rule, so that a run can be had again.
    seed: u64,
    drawn: StdRng,
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by seed {}", self.probability, self.seed)
    }
}

impl Chance {
    /// Hits everything.
    pub fn always() -> Self {
        Self { probability: 1.0, seed: 0, drawn: StdRng::seed_from_u64(0) }
    }

    /// Hits with this probability. Errors when it is none.
    pub fn seeded(probability: f64, seed: u64) -> Result<Self> {
        ensure!((0.0..=1.0).contains(&probability), "{probability} is no probability");
        Ok(Self { probability, seed, drawn: StdRng::seed_from_u64(seed) })
    }

    /// Draws.
    pub fn hits(&mut self) -> bool {
        self.drawn.random_bool(self.probability)
    }
}
