//! Licences, banned packages and doubles, read from `cargo metadata`: needs no network and no further tool.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cargo;

/// Licences that may be part of a program under AGPL-3.0-or-later.
const ALLOWED: [&str; 16] = [
    "0BSD",
    "AGPL-3.0-or-later",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that must never be in, each with the reason.
const BANNED: [(&str, &str); 7] = [
    ("openssl", "TLS is rustls with ring: a static binary, no system library"),
    ("openssl-sys", "TLS is rustls with ring: a static binary, no system library"),
    ("native-tls", "TLS is rustls with ring: a static binary, no system library"),
    ("aws-lc-sys", "one crypto provider (ring); this one needs cmake and minutes of C"),
    ("aws-lc-rs", "one crypto provider (ring)"),
    ("tokio-native-tls", "TLS is rustls with ring"),
    ("serde_yml", "unsound; the maintained fork of serde_yaml is used"),
];

/// Packages of which one version is allowed in the whole tree: two would not share types, state or C symbols.
const SINGLE: [&str; 7] = ["ruma", "tokio", "rustls", "axum", "sqlx", "libsqlite3-sys", "whatsapp-rust"];

struct Package {
    name: String,
    version: String,
    licence: String,
}

/// Checks every package that any build of the workspace for Linux can contain.
///
/// # Errors
/// Lists all faults at once.
pub fn check() -> Result<()> {
    let metadata = cargo()
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .context("running cargo metadata")?;
    if !metadata.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&metadata.stderr));
    }
    let packages = read(&serde_json::from_slice(&metadata.stdout)?)?;
    let faults = find_faults(&packages);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    println!("{} packages: licences fit, none banned, no doubles of {}", packages.len(), SINGLE.join(", "));
    Ok(())
}

fn read(metadata: &Value) -> Result<Vec<Package>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("no resolve.nodes")?;
    let used: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().context("no packages")?;
    Ok(packages
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .map(|package| {
            let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
            Package { name: text("name"), version: text("version"), licence: text("license") }
        })
        .collect())
}

fn find_faults(packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let Package { name, version, licence } = package;
        versions.entry(name).or_default().insert(version);
        if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| banned == name) {
            faults.push(format!("{name} {version} is banned: {reason}"));
        }
        if !allows(licence) {
            faults.push(format!("{name} {version}: licence `{licence}` is not on the list"));
        }
    }
    for name in SINGLE {
        match versions.get(name) {
            None => faults.push(format!("{name} is not in the tree: the list of doubles is out of date")),
            Some(found) if found.len() > 1 => {
                faults.push(format!("{name} is in the tree {} times: {found:?}", found.len()))
            }
            Some(_) => {}
        }
    }
    faults
}

/// Returns whether an SPDX expression can be met by allowed licences alone: one side of each `OR`, both of each `AND`.
fn allows(expression: &str) -> bool {
    // Cargo's old notation of a choice.
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let mut rest = &words[..];
    let met = any(&mut rest);
    met && rest.is_empty()
}

fn any(words: &mut &[&str]) -> bool {
    let mut met = all(words);
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        met |= all(words);
    }
    met
}

fn all(words: &mut &[&str]) -> bool {
    let mut met = one(words);
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        met &= one(words);
    }
    met
}

fn one(words: &mut &[&str]) -> bool {
    let Some((&word, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    if word == "(" {
        let met = any(words);
        return match words.split_first() {
            Some((&")", rest)) => {
                *words = rest;
                met
            }
            _ => false,
        };
    }
    if let ["WITH", exception, rest @ ..] = *words {
        *words = rest;
        return ALLOWED.contains(&format!("{word} WITH {exception}").as_str());
    }
    ALLOWED.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::{Package, allows, find_faults};

    #[test]
    fn licence_expressions_are_understood() {
        for fine in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0-only OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(allows(fine), "{fine}");
        }
        for bad in
            ["", "GPL-2.0-only", "MIT AND GPL-2.0-only", "(MIT", "MIT )", "Apache-2.0 WITH Other-exception", "SSPL-1.0"]
        {
            assert!(!allows(bad), "{bad}");
        }
    }

    #[test]
    fn a_banned_package_and_a_double_are_found() {
        let package = |name: &str, version: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: "MIT".to_owned(),
        };
        let mut packages: Vec<Package> = super::SINGLE.iter().map(|name| package(name, "1.0.0")).collect();
        assert_eq!(find_faults(&packages), Vec::<String>::new());
        packages.push(package("openssl-sys", "0.9.0"));
        packages.push(package("tokio", "2.0.0"));
        let faults = find_faults(&packages);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
