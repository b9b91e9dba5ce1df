//! `docs/features.md` says which golden cases and which story show a kind: here is what keeps it true.

use super::{entries, folder, name};
use std::collections::BTreeSet;
use std::path::Path;

/// What one line of the tables claims.
struct Line {
    kind: String,
    /// `direction/kind/case`.
    cases: Vec<String>,
    /// `file::function`; none for "not yet".
    stories: Vec<String>,
}

/// What is no message: nothing is converted, so there are no golden cases.
const BESIDE: &str = "beside";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads the tables; what is wrong with their form goes to `faults`.
fn read(text: &str, faults: &mut Vec<String>) -> Vec<Line> {
    let mut direction = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line {
            "## WhatsApp to Matrix" => direction = Some("from_whatsapp"),
            "## Matrix to WhatsApp" => direction = Some("to_whatsapp"),
            "## Beside messages" => direction = Some(BESIDE),
            _ => {}
        }
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else { continue };
        let columns: Vec<&str> = row.split(" | ").collect();
        let [kind, cases, story] = columns[..] else {
            faults.push(format!("not three columns: {line}"));
            continue;
        };
        if kind == "Kind" {
            continue;
        }
        let Some(direction) = direction else {
            faults.push(format!("in no direction: {line}"));
            continue;
        };
        let cases = named_cases(direction, cases);
        let stories: Vec<String> = match story {
            "not yet" => Vec::new(),
            names => names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect(),
        };
        if cases.is_empty() && direction != BESIDE {
            faults.push(format!("{kind}: no golden case"));
        }
        lines.push(Line { kind: format!("{direction}, {kind}"), cases, stories });
    }
    lines
}

/// `` `kind`: case, case; `kind`: case ``
fn named_cases(direction: &str, column: &str) -> Vec<String> {
    let groups = column.split("; ").filter_map(|group| group.split_once(": "));
    groups
        .flat_map(|(kind, cases)| {
            let kind = kind.trim_matches('`');
            cases.split(", ").map(move |case| format!("{direction}/{kind}/{case}"))
        })
        .collect()
}

/// Whether a file of stories tells this one, on the databases.
fn is_told(story: &str) -> bool {
    let Some((file, function)) = story.split_once("::") else { return false };
    let Ok(text) = std::fs::read_to_string(root().join(format!("tests/stories/{file}.rs"))) else { return false };
    let listed = text.lines().any(|line| line.trim() == function);
    listed && text.contains(&format!("async fn {function}(")) && text.contains("stories! {")
}

fn check(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = read(text, &mut faults);
    let mut there = BTreeSet::new();
    for direction in entries(&folder()) {
        for kind in entries(&direction) {
            let cases = entries(&kind);
            there.extend(cases.iter().map(|case| format!("{}/{}/{}", name(&direction), name(&kind), name(case))));
        }
    }
    let mut named = BTreeSet::new();
    for Line { kind, cases, stories } in &lines {
        for case in cases {
            if !there.contains(case) {
                faults.push(format!("{kind}: there is no golden case {case}"));
            }
            if !named.insert(case.clone()) {
                faults.push(format!("{kind}: {case} is named twice"));
            }
        }
        faults.extend(
            stories.iter().filter(|story| !is_told(story)).map(|story| format!("{kind}: there is no story {story}")),
        );
    }
    faults.extend(there.difference(&named).map(|case| format!("no line names {case}")));
    faults
}

#[test]
fn every_kind_is_accounted_for() {
    let text = std::fs::read_to_string(root().join("docs/features.md")).unwrap();
    let faults = check(&text);
    assert!(faults.is_empty(), "docs/features.md:\n{}", faults.join("\n"));
}

#[test]
fn what_is_gone_is_noticed() {
    let text = std::fs::read_to_string(root().join("docs/features.md")).unwrap();
    for (old, new, fault) in [
        ("`text`: plain, lines", "`text`: plainer, lines", "there is no golden case from_whatsapp/text/plainer"),
        ("`text`: plain, lines", "`text`: lines", "no line names from_whatsapp/text/plain"),
        ("`text`: plain, lines", "`text`: plain, plain, lines", "is named twice"),
        ("`text::text_crosses_both_ways`", "`text::text_crosses`", "there is no story text::text_crosses"),
        ("`text::text_crosses_both_ways`", "`nowhere::text`", "there is no story nowhere::text"),
        ("`login::login_by_qr` |\n", "|\n", "not three columns"),
    ] {
        assert!(text.contains(old), "{old}");
        let faults = check(&text.replacen(old, new, 1));
        assert!(faults.iter().any(|found| found.contains(fault)), "{fault} is not in {faults:?}");
    }
}
