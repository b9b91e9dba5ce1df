//! What is wrong with a configuration, all of it at once, in words for the operator.

use std::fmt;

/// One fault: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key's path, the variable's name, or the file.
    pub place: String,
    /// What is wrong there. Never holds a secret.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.what, self.fix)
    }
}

/// Everything that is wrong, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults, at least one when it is an error.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Fault { place: place.into(), what: what.into(), fix: fix.into() });
    }

    /// A single fault.
    #[must_use]
    pub fn one(place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        let mut faults = Self::default();
        faults.add(place, what, fix);
        faults
    }

    /// Whether something at this key, or in it, was already found wrong.
    pub(super) fn concerns(&self, path: &str) -> bool {
        self.0.iter().any(|fault| {
            fault
                .place
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest == "_FILE" || rest.starts_with('.'))
        })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The candidate that is nearest to what was written, if any is near enough to be what was meant.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + written.chars().count() / 4;
    candidates
        .into_iter()
        .map(|candidate| (distance(&written.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or replaced, or neighbours swapped, to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let replaced = at(&last, j) + usize::from(from != to);
            let mut best = replaced.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

fn at(row: &[usize], index: usize) -> usize {
    row.get(index).copied().unwrap_or(usize::MAX / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        let names = ["address", "domain", "permissions"];
        assert_eq!(nearest("adress", names), Some("address"));
        assert_eq!(nearest("Domain", names), Some("domain"));
        assert_eq!(nearest("permisions", names), Some("permissions"));
        assert_eq!(nearest("relay", names), None);
        assert_eq!(nearest("", names), None);
    }

    #[test]
    fn a_key_is_concerned_by_faults_at_it_and_in_it_only() {
        let faults = Faults::one("bridge.permissions.*", "bad", "fix");
        assert!(faults.concerns("bridge.permissions"));
        assert!(!faults.concerns("bridge.perm"));
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_zero_only_for_equals(a in "[a-c]{0,6}", b in "[a-c]{0,6}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }
    }
}
