//! Names and labels are one list; what the documentation, the dashboard and the alerts speak of is in it.

use super::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_family_fits_into_its_cells_and_says_what_it_is() {
    let mut names = BTreeSet::new();
    for family in FAMILIES {
        let cells = match family.sort {
            Sort::Counter => family.series(),
            Sort::Gauge => 0,
            Sort::Histogram => family.series() * (BOUNDS.len() + 2),
        };
        assert!(cells <= family.cells.len(), "{} has {} series", family.name, family.series());
        assert!(family.help.ends_with('.') && family.help.len() < 120, "{}", family.name);
        assert_eq!(family.name.ends_with("_total"), family.sort == Sort::Counter, "{}", family.name);
        assert!(names.insert(family.name), "{} is there twice", family.name);
    }
}

#[test]
fn what_is_counted_is_written() {
    let line = |text: &str, start: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("no {start}"));
        found.trim().parse::<f64>().unwrap()
    };
    let verdict = "matrix_whatsapp_verdicts_total{direction=\"into_whatsapp\",verdict=\"never\"}";
    let bucket =
        |bound: &str| format!("matrix_whatsapp_homeserver_request_seconds_bucket{{kind=\"other\",le=\"{bound}\"}}");
    let before = write(&[]);
    count_verdict(Direction::IntoWhatsapp, Outcome::Never, 2);
    count_request(Request::Other, Status::Silent, Some(Duration::from_millis(300)));
    let reading = [Reading::of(&REACHABLE, None, 1.0), Reading::of(&LOGINS, Some(Login::Offline as usize), 3.0)];
    let after = write(&reading);
    let grew = |start: &str| line(&after, start) - line(&before, start);
    assert!(grew(verdict) >= 1.0);
    assert!(grew("matrix_whatsapp_retries_total{direction=\"into_whatsapp\"}") >= 1.0);
    assert!(grew(&bucket("0.5")) >= 1.0 && grew(&bucket("+Inf")) >= 1.0);
    assert!(grew("matrix_whatsapp_homeserver_request_seconds_sum{kind=\"other\"}") > 0.25);
    assert_eq!(line(&after, "matrix_whatsapp_logins{state=\"offline\"}"), 3.0);
    assert_eq!(line(&after, "matrix_whatsapp_homeserver_reachable"), 1.0);
    assert!(!before.contains("\nmatrix_whatsapp_homeserver_reachable"), "what nobody knows is not told as zero");
    let series = after.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 400, "{series} series");
}

#[test]
fn requests_are_told_apart_by_their_path_whatever_the_ids_are() {
    for (path, kind) in [
        ("/_matrix/client/v3/rooms/!sync:media/send/m.room.message/txn", Request::Send),
        ("/_matrix/client/v3/rooms/!a:b/redact/$event/txn", Request::Send),
        ("/_matrix/client/v3/rooms/!a:b/state/m.room.name/", Request::State),
        ("/_matrix/client/v3/rooms/!a:b/invite", Request::Membership),
        ("/_matrix/client/v3/rooms/!a:b/joined_members", Request::Membership),
        ("/_matrix/client/v3/rooms/!a:b/typing/@c:d", Request::Other),
        ("/_matrix/client/v3/rooms/!a:b/messages", Request::Sync),
        ("/_matrix/client/v3/join/%23alias:b", Request::Membership),
        ("/_matrix/client/v3/createRoom", Request::Room),
        ("/_matrix/client/v3/profile/@a:b/displayname", Request::Profile),
        ("/_matrix/client/v3/register", Request::Account),
        ("/_matrix/client/v3/devices/WABRIDGE", Request::Account),
        ("/_matrix/client/v3/sync", Request::Sync),
        ("/_matrix/client/v1/media/download/a/b", Request::Media),
        ("/_matrix/media/v3/upload", Request::Media),
        ("/_matrix/client/versions", Request::Other),
        ("/prefix/_matrix/client/v3/sync", Request::Sync),
    ] {
        assert_eq!(kind_of_request(path), kind, "{path}");
    }
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// The names with our prefix in a text, without what Prometheus adds to a histogram's.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_of_name(c)).filter_map(|word| word.strip_prefix(PREFIX));
    let plain = words.map(|word| {
        let histogram = FAMILIES.iter().find(|family| {
            family.sort == Sort::Histogram
                && ["_bucket", "_sum", "_count"].iter().any(|end| word.strip_suffix(end) == Some(family.name))
        });
        histogram.map_or(word, |family| family.name).to_owned()
    });
    plain.collect()
}

#[test]
fn dashboard_and_alerts_ask_only_for_what_there_is() {
    let known: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    let labels: Vec<Label> = FAMILIES.iter().flat_map(|family| family.labels).copied().collect();
    for name in ["monitoring/grafana.json", "monitoring/alerts.yml"] {
        let text = std::fs::read_to_string(docs(name)).unwrap();
        let used = names_in(&text);
        assert!(used.len() > 3, "{name} asks for hardly anything");
        assert_eq!(
            used.difference(&known).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{name} asks for what nobody counts"
        );
        // `label="value"` and `label=~"one|other"`, quotes escaped in JSON.
        let text = text.replace("\\\"", "\"");
        for (at, _) in text.match_indices("=\"").chain(text.match_indices("=~\"")) {
            let before = &text[..at];
            let word = before.rsplit(|c: char| !c.is_ascii_lowercase()).next().unwrap();
            let values = text[at..].split('"').nth(1).unwrap();
            if ["job", "le", "instance"].contains(&word) {
                continue;
            }
            let of_label: Vec<&Label> = labels.iter().filter(|label| label.name == word).collect();
            assert!(!of_label.is_empty(), "{name}: nothing has a label {word:?}");
            for value in values.split('|') {
                assert!(of_label.iter().any(|label| label.values.contains(&value)), "{name}: {word}={value:?}");
            }
        }
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(docs("monitoring/grafana.json")).unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 5);
    let rules: serde_json::Value =
        serde_yaml::from_str(&std::fs::read_to_string(docs("monitoring/alerts.yml")).unwrap()).unwrap();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        for key in ["alert", "expr", "for", "labels", "annotations"] {
            assert!(!rule[key].is_null(), "{} has no {key}", rule["alert"]);
        }
    }
}

/// Writes the generated file anew instead of comparing when this variable is set.
const WRITE: &str = "MATRIX_WHATSAPP_TEST_WRITE";

#[test]
fn the_table_of_numbers_is_among_the_generated_files() {
    let path = docs("monitoring.md");
    let manual = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- numbers: generated -->\n", "<!-- end of numbers -->");
    let (before, rest) = manual.split_once(start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let mut table = String::from("| Name | Kind | Labels | What it says |\n|---|---|---|---|\n");
    for family in FAMILIES {
        let label = |label: &Label| format!("`{}`: {}", label.name, label.values.join(", "));
        let labels = family.labels.iter().map(label).collect::<Vec<_>>().join("; ");
        let sort = format!("{:?}", family.sort).to_lowercase();
        table.push_str(&format!("| `{PREFIX}{}` | {sort} | {labels} | {} |\n", family.name, family.help));
    }
    let want = format!("{before}{start}{table}{end}{after}");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, want).unwrap();
        return;
    }
    assert!(
        manual == want,
        "docs/monitoring.md is not what the code says; run `{WRITE}=1 cargo test --lib generated_files`"
    );
    let known: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    let foreign: Vec<String> = names_in(&manual).difference(&known).cloned().collect();
    assert_eq!(foreign, Vec::<String>::new(), "docs/monitoring.md speaks of what nobody counts");
}
