//! What was found, for people and for programs.

use serde_json::{Value, json};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Well,
    /// It works, and something is missing or soon wrong.
    Warn,
    /// The bridge can't work so.
    Fault,
}

impl State {
    /// Its name in texts for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Warn => "warn",
            Self::Fault => "fault",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: a word that stays the same in later versions.
    pub about: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub told: String,
    /// What to do; empty when it is well.
    pub fix: String,
}

/// Everything that was looked at, in the order of looking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report(Vec<Finding>);

impl Report {
    pub(super) fn well(&mut self, about: &'static str, told: impl Into<String>) {
        self.add(about, State::Well, told, "");
    }

    pub(super) fn warn(&mut self, about: &'static str, told: impl Into<String>, fix: &str) {
        self.add(about, State::Warn, told, fix);
    }

    /// Something that keeps the bridge from working.
    pub fn fault(&mut self, about: &'static str, told: impl Into<String>, fix: &str) {
        self.add(about, State::Fault, told, fix);
    }

    fn add(&mut self, about: &'static str, state: State, told: impl Into<String>, fix: &str) {
        self.0.push(Finding { about, state, told: told.into(), fix: fix.to_owned() });
    }

    /// What was found.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Whether there is no fault; warnings may be there.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.0.iter().all(|finding| finding.state < State::Fault)
    }

    /// For a terminal: one line each, and one with the fix.
    #[must_use]
    pub fn as_text(&self) -> String {
        let mut text = String::new();
        for Finding { about, state, told, fix } in &self.0 {
            let word = if *state == State::Fault { "FAULT" } else { state.word() };
            text.push_str(&format!("{word:<5}  {about}: {told}\n"));
            if !fix.is_empty() {
                text.push_str(&format!("       -> {fix}\n"));
            }
        }
        text.push_str(&self.sum());
        text
    }

    /// For a room: what is not well only.
    #[must_use]
    pub fn as_notice(&self) -> String {
        let bad = self.0.iter().filter(|finding| finding.state > State::Well);
        let mut lines: Vec<String> = bad
            .map(|finding| {
                let word = if finding.state == State::Fault { "Fault" } else { "Note" };
                format!("- {word}, {}: {}. What to do: {}.", finding.about, finding.told, finding.fix)
            })
            .collect();
        lines.push(self.sum());
        lines.join("\n")
    }

    /// For programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let checks: Vec<Value> = self
            .0
            .iter()
            .map(|one| json!({ "about": one.about, "state": one.state.word(), "told": one.told, "fix": one.fix }))
            .collect();
        json!({ "ok": self.is_well(), "checks": checks })
    }

    fn sum(&self) -> String {
        let count = |state: State| self.0.iter().filter(|finding| finding.state == state).count();
        format!("{} well, {} to note, {} wrong", count(State::Well), count(State::Warn), count(State::Fault))
    }
}
