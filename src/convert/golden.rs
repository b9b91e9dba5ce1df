//! Golden cases: `tests/golden/<direction>/<kind>/<case>/{in.json,out.json}`.
//!
//! A case from WhatsApp holds a message in the names of its protocol, whom the room knows, and what must come of it;
//! one from Matrix holds an event's content and what the bridge found out. Adding a folder adds a case;
//! `MATRIX_WHATSAPP_TEST_WRITE=1` writes what comes out, to be read before it is kept. `{"$repeat": "x", "times": 9}`
//! stands for a long text, and one in `out.json` is shown by its ends.

pub mod cases;
pub mod events;
mod features;
pub mod proto;
mod show;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const WRITE: &str = "MATRIX_WHATSAPP_TEST_WRITE";
/// Cases there are at least: fewer means that some are not read.
const AT_LEAST: usize = 150;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

#[test]
fn golden_cases() {
    let schema = proto::Schema::load();
    let (mut count, mut faults) = (0, Vec::new());
    for direction in entries(&folder()) {
        let run: fn(&proto::Schema, &Value) -> Value = match name(&direction) {
            "from_whatsapp" => cases::from_whatsapp,
            "to_whatsapp" => cases::to_whatsapp,
            other => panic!("no direction: {other}"),
        };
        for case in entries(&direction).iter().flat_map(|kind| entries(kind)) {
            count += 1;
            let shown = case.strip_prefix(folder()).unwrap().display().to_string();
            faults.extend(check(&schema, &case, run).err().map(|fault| format!("{shown}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{} of {count} cases; {WRITE}=1 writes them anew:\n{}", faults.len(), faults.join("\n"));
    assert!(count >= AT_LEAST, "only {count} cases were found");
}

/// What goes in, of all cases of a direction.
pub fn corpus(direction: &str) -> Vec<Value> {
    let kinds = entries(&folder().join(direction));
    let cases = kinds.iter().flat_map(|kind| entries(kind));
    cases
        .map(|case| serde_json::from_str(&std::fs::read_to_string(case.join("in.json")).unwrap()).unwrap())
        .map(expand)
        .collect()
}

fn check(schema: &proto::Schema, case: &Path, run: fn(&proto::Schema, &Value) -> Value) -> Result<(), String> {
    let writes = std::env::var_os(WRITE).is_some();
    for file in entries(case) {
        if !matches!(name(&file), "in.json" | "out.json") {
            return Err(format!("nobody reads {}", name(&file)));
        }
    }
    let read = |file: &str| -> Result<Value, String> {
        let text = std::fs::read_to_string(case.join(file)).map_err(|error| format!("{file}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))
    };
    let input = expand(read("in.json")?);
    let ran = std::panic::catch_unwind(|| run(schema, &input)).map_err(|_| "panicked, see above".to_owned())?;
    let output = show::shorten(ran);
    if writes {
        let text = serde_json::to_string_pretty(&output).unwrap() + "\n";
        std::fs::write(case.join("out.json"), text).unwrap();
        return Ok(());
    }
    let wanted = read("out.json")?;
    if wanted == output { Ok(()) } else { Err(format!("came out as\n{output:#}")) }
}

/// Long texts written short.
fn expand(value: Value) -> Value {
    match value {
        Value::Object(object) => match (object.get("$repeat").and_then(Value::as_str), object.get("times")) {
            (Some(piece), Some(times)) => {
                json!(piece.repeat(usize::try_from(times.as_u64().unwrap()).unwrap()))
            }
            _ => object.into_iter().map(|(key, value)| (key, expand(value))).collect(),
        },
        Value::Array(list) => list.into_iter().map(expand).collect(),
        other => other,
    }
}
