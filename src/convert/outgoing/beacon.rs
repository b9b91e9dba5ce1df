//! Live locations (MSC3489, MSC3672), under their unstable and their stable names.

use super::relation::related;
use super::{Plan, Refusal};
use crate::convert::geo::Point;
use crate::convert::words;
use serde_json::Value;

/// Longest sharing WhatsApp has: eight hours, milliseconds.
const MAX_TIMEOUT: u64 = 8 * 3_600 * 1_000;

pub(super) fn info(content: &Value) -> Plan {
    let older = content.get("org.matrix.msc3672.beacon_info").or(content.get("m.beacon_info"));
    let info = older.filter(|older| older.is_object()).unwrap_or(content);
    if info["live"].as_bool() != Some(true) {
        return Plan::LiveStop;
    }
    Plan::LiveStart {
        description: words::line(info["description"].as_str().unwrap_or_default(), 300),
        timeout_ms: info["timeout"].as_u64().unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT),
    }
}

pub(super) fn position(content: &Value) -> Result<Plan, Refusal> {
    let uri = ["/org.matrix.msc3488.location/uri", "/m.location/uri"]
        .iter()
        .find_map(|path| content.pointer(path).and_then(Value::as_str));
    let ts_ms = content["org.matrix.msc3488.ts"].as_i64().or(content["m.ts"].as_i64()).unwrap_or(0);
    match related(content, "m.reference").zip(uri.and_then(Point::of_uri)) {
        Some((start, point)) => Ok(Plan::LiveMove { start, point, ts_ms }),
        None => Err(Refusal::new(
            "The live location has no place that can be read, so it was not sent. Please share it again.",
        )),
    }
}
