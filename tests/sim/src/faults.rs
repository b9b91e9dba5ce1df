//! Faults a test can arm: by name, for an account's messages ([`kinds`]), and by
//! rule, for any stanza either way, by chance if wanted ([`rules`]).

mod kinds;
mod rules;

pub use kinds::{Delivery, FaultKind, Faults, Intake};
pub use rules::{Direction, Effect, Rule, Rules};
