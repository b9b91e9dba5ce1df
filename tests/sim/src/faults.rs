//! Faults a test can arm: by name, for an account's messages ([`kinds`]), and by
//! rule, by chance if wanted, for any stanza either way ([`rules`]) and for
//! downloads ([`media`]).

mod chance;
mod kinds;
mod media;
mod rules;

use chance::Chance;
pub use kinds::{Delivery, FaultKind, Faults, Intake};
pub use media::{MediaEffect, MediaRule};
pub use rules::{Direction, Effect, Rule, Rules};
