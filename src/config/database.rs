//! Database addresses as operators write them, turned into what sqlx takes. Pure.

/// The file an operator's SQLite uri names. Taken: a plain path, `sqlite:path`, `sqlite://path`, `file:path` and
/// `file:///path`, each with parameters behind `?` (`_txlock=immediate` and the like), which are dropped: the
/// bridge sets its own pragmas.
pub(super) fn sqlite_path(uri: &str) -> String {
    let (path, is_uri) = strip_scheme(uri);
    if !is_uri {
        return path.to_owned();
    }
    let path = path.split(['?', '#']).next().unwrap_or(path);
    percent_decode(path)
}

/// Splits off the scheme; without one a `?` belongs to the file's name.
fn strip_scheme(uri: &str) -> (&str, bool) {
    for scheme in ["sqlite://", "sqlite:", "file://", "file:"] {
        if let Some(rest) = uri.strip_prefix(scheme) {
            return (rest, true);
        }
    }
    (uri, false)
}

/// The sqlx URL of a SQLite file that is made when it is not there. A relative path has no `//`, because what
/// follows it is read as a host.
pub(super) fn sqlite_url(path: &str) -> String {
    let slashes = if path.starts_with('/') { "//" } else { "" };
    format!("sqlite:{slashes}{}?mode=rwc", percent_encode(path))
}

fn percent_encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~+=@,:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Decodes `%2F` and the like; what is no such escape, or would not be UTF-8, stays as it is.
fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
            && let Ok(byte) = u8::try_from(high * 16 + low)
        {
            out.push(byte);
            rest = after;
        } else {
            out.push(*first);
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use reqwest::Url;
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    #[test]
    fn every_spelling_of_a_file_becomes_one_path() {
        for (uri, path) in [
            ("matrix-whatsapp.db", "matrix-whatsapp.db"),
            ("/data/bridge.db", "/data/bridge.db"),
            ("file:matrix-whatsapp.db", "matrix-whatsapp.db"),
            ("file:matrix-whatsapp.db?_txlock=immediate", "matrix-whatsapp.db"),
            ("file:///data/bridge.db?_txlock=immediate&_fk=1", "/data/bridge.db"),
            ("file:/data/bridge.db", "/data/bridge.db"),
            ("sqlite://bridge.db", "bridge.db"),
            ("sqlite:bridge.db?mode=rwc", "bridge.db"),
            ("sqlite:///data/bridge.db?mode=ro", "/data/bridge.db"),
            ("file:my%20bridge.db", "my bridge.db"),
            ("odd?name.db", "odd?name.db"),
        ] {
            assert_eq!(sqlite_path(uri), path, "{uri}");
        }
    }

    #[test]
    fn the_url_is_made_when_missing() {
        assert_eq!(sqlite_url("bridge.db"), "sqlite:bridge.db?mode=rwc");
        assert_eq!(sqlite_url("/data/my bridge.db"), "sqlite:///data/my%20bridge.db?mode=rwc");
    }

    proptest! {
        #[test]
        fn sqlx_opens_the_file_that_was_meant(name in "[a-zA-Z0-9 ?#%._é-]{1,20}", absolute: bool) {
            let path = if absolute { format!("/data/x{name}") } else { format!("x{name}") };
            // The way the pool takes it: as a URL first.
            let url = Url::parse(&sqlite_url(&path)).unwrap();
            let options = SqliteConnectOptions::from_url(&url).unwrap();
            prop_assert_eq!(options.get_filename(), Path::new(&path));
        }

        #[test]
        fn decoding_never_panics(text in ".*") {
            let decoded = percent_decode(&text);
            prop_assert!(decoded.len() <= text.len());
        }
    }
}
