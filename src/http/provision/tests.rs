//! The description and the routes are one; the copy in `docs` is what the code says.

use super::*;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_description_names_every_route_and_no_other() {
    let described: BTreeSet<String> = Description::openapi().paths.paths.into_keys().collect();
    let routed: BTreeSet<String> = routes().into_iter().map(|(path, _)| format!("{BASE}{path}")).collect();
    assert_eq!(described, routed);
    let doc: serde_json::Value = serde_json::from_str(&describe().unwrap()).unwrap();
    for (path, methods) in doc["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert_eq!(operation["security"][0]["token"], serde_json::json!([]), "{method} {path} needs a token");
            assert!(operation["responses"]["401"].is_object(), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path} says what it does");
        }
    }
}

/// Writes the generated file anew instead of comparing when this variable is set.
const WRITE: &str = "MATRIX_WHATSAPP_TEST_WRITE";

#[test]
fn the_copy_of_the_description_is_among_the_generated_files() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/provisioning.openapi.json");
    let want = describe().unwrap();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, want).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == want,
        "{} is not what the code says; run `{WRITE}=1 cargo test --lib generated_files`",
        path.display()
    );
}
