//! Figures beside their budgets, as a table and as JSON.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What a figure may be.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Told for understanding the others.
    None,
}

struct Figure {
    on: &'static str,
    name: String,
    value: f64,
    unit: &'static str,
    budget: Budget,
}

impl Figure {
    fn verdict(&self) -> &'static str {
        match self.budget {
            Budget::AtMost(most) if self.value > most => "MISSED",
            Budget::AtLeast(least) if self.value < least => "MISSED",
            Budget::None => "",
            _ => "ok",
        }
    }

    fn budget_text(&self) -> String {
        match self.budget {
            Budget::AtMost(most) => format!("<= {most}"),
            Budget::AtLeast(least) => format!(">= {least}"),
            Budget::None => String::new(),
        }
    }
}

/// All figures of a run, in order.
#[derive(Default)]
pub struct Report {
    figures: Vec<Figure>,
    details: Vec<String>,
}

impl Report {
    /// Notes a figure and prints it at once.
    pub fn note(&mut self, on: &'static str, name: impl Into<String>, value: f64, unit: &'static str, budget: Budget) {
        let figure = Figure { on, name: name.into(), value, unit, budget };
        println!("{}", line(&figure));
        self.figures.push(figure);
    }

    /// Notes a text that explains a figure; printed after the table.
    pub fn explain(&mut self, text: String) {
        self.details.push(text);
    }

    /// Prints the table once more as a whole and writes the JSON to `file` in `target`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn finish(&self, file: &str, settings: &Value) -> Result<()> {
        for detail in &self.details {
            println!("\n{detail}");
        }
        println!("\n{}", heading());
        for figure in &self.figures {
            println!("{}", line(figure));
        }
        let missed = self.figures.iter().filter(|figure| figure.verdict() == "MISSED").count();
        println!("{missed} of {} budgets missed", self.figures.iter().filter(|f| !f.verdict().is_empty()).count());
        let figures: Vec<Value> = self.figures.iter().map(as_json).collect();
        let path = xtask::places::target().join(file);
        let all = json!({"settings": settings, "figures": figures, "details": self.details});
        std::fs::write(&path, serde_json::to_vec_pretty(&all)?).with_context(|| path.display().to_string())?;
        println!("as JSON: {}", path.display());
        Ok(())
    }
}

/// Returns the table's first line.
#[must_use]
pub fn heading() -> String {
    format!("{:<9} {:<52} {:>10} {:<9} {:>9}", "on", "what", "measured", "", "budget")
}

fn line(figure: &Figure) -> String {
    let decimals = if figure.value.abs() >= 100.0 { 0 } else { 2 };
    format!(
        "{:<9} {:<52} {:>10.decimals$} {:<9} {:>9} {}",
        figure.on,
        figure.name,
        figure.value,
        figure.unit,
        figure.budget_text(),
        figure.verdict()
    )
}

fn as_json(figure: &Figure) -> Value {
    let (kind, budget) = match figure.budget {
        Budget::AtMost(most) => ("at most", Some(most)),
        Budget::AtLeast(least) => ("at least", Some(least)),
        Budget::None => ("none", None),
    };
    json!({"on": figure.on, "what": figure.name, "value": figure.value, "unit": figure.unit,
        "budget": budget, "budget_kind": kind, "verdict": figure.verdict()})
}
