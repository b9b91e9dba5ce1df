//! Chance that can be repeated: numbers from a printed seed.

/// A generator of pseudo-random numbers (SplitMix64: one multiply-xor chain per number, any seed is good).
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// Takes the seed from `MATRIX_WHATSAPP_TEST_SEED`, or a new one from the clock, and prints it.
    #[must_use]
    pub fn from_environment() -> Self {
        let given = std::env::var("MATRIX_WHATSAPP_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |now| now.as_nanos() as u64)
        });
        println!("repeat with MATRIX_WHATSAPP_TEST_SEED={seed}");
        Self { state: seed }
    }

    /// A generator that gives the same numbers each time.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns a number from 0 to `limit` - 1; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(limit).unwrap_or(0)
    }
}
