//! The numbers as Prometheus reads them: text exposition format 0.0.4.

use super::{BOUNDS, FAMILIES, Family, PREFIX, Sort};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// A number that was asked for just now.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Of which family.
    pub family: &'static Family,
    /// The places of its labels' values in their lists, in the labels' order.
    pub values: Vec<usize>,
    /// The number.
    pub number: f64,
}

impl Reading {
    /// One number of a family with at most one label.
    #[must_use]
    pub fn of(family: &'static Family, value: Option<usize>, number: f64) -> Self {
        Self { family, values: value.into_iter().collect(), number }
    }
}

/// Everything as text. A gauge nobody has read is left out: absent says "not known", which zero does not.
#[must_use]
pub fn write(readings: &[Reading]) -> String {
    let mut out = String::with_capacity(16 << 10);
    for family in FAMILIES {
        let kind = match family.sort {
            Sort::Counter => "counter",
            Sort::Gauge => "gauge",
            Sort::Histogram => "histogram",
        };
        let name = format!("{PREFIX}{}", family.name);
        line(&mut out, format_args!("# HELP {name} {}", family.help));
        line(&mut out, format_args!("# TYPE {name} {kind}"));
        match family.sort {
            Sort::Counter => {
                for (at, values) in series(family).into_iter().enumerate() {
                    let count = family.cells.get(at).map_or(0, |cell| cell.load(Ordering::Relaxed));
                    line(&mut out, format_args!("{name}{} {count}", labels(family, &values, None)));
                }
            }
            Sort::Gauge => {
                for reading in readings.iter().filter(|reading| std::ptr::eq(reading.family, *family)) {
                    let labels = labels(family, &reading.values, None);
                    line(&mut out, format_args!("{name}{labels} {}", reading.number));
                }
            }
            Sort::Histogram => write_histograms(&mut out, &name, family),
        }
    }
    out
}

fn write_histograms(out: &mut String, name: &str, family: &Family) {
    let width = BOUNDS.len() + 2;
    for (at, values) in series(family).into_iter().enumerate() {
        let cell = |which: usize| family.cells.get(at * width + which).map_or(0, |cell| cell.load(Ordering::Relaxed));
        let mut count = 0;
        for (which, bound) in BOUNDS.iter().enumerate() {
            count += cell(which);
            line(out, format_args!("{name}_bucket{} {count}", labels(family, &values, Some(&bound.to_string()))));
        }
        count += cell(BOUNDS.len());
        line(out, format_args!("{name}_bucket{} {count}", labels(family, &values, Some("+Inf"))));
        let seconds = std::time::Duration::from_micros(cell(BOUNDS.len() + 1)).as_secs_f64();
        line(out, format_args!("{name}_sum{} {seconds}", labels(family, &values, None)));
        line(out, format_args!("{name}_count{} {count}", labels(family, &values, None)));
    }
}

/// Every combination of values, in the order of the cells.
fn series(family: &Family) -> Vec<Vec<usize>> {
    family.labels.iter().fold(vec![Vec::new()], |all, label| {
        let with = |begun: &Vec<usize>| {
            let begun = begun.clone();
            (0..label.values.len()).map(move |value| [begun.as_slice(), &[value]].concat())
        };
        all.iter().flat_map(with).collect()
    })
}

fn labels(family: &Family, values: &[usize], bound: Option<&str>) -> String {
    let known = family.labels.iter().zip(values).map(|(label, value)| {
        let value = label.values.get(*value).copied().unwrap_or("unknown");
        format!("{}=\"{value}\"", label.name)
    });
    let all: Vec<String> = known.chain(bound.map(|bound| format!("le=\"{bound}\""))).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String can not fail.
    out.write_fmt(text).ok();
    out.push('\n');
}
