//! Copies the descriptor of WhatsApp's protocol buffers out of the `waproto`
//! package this build uses, so that messages can be shown as JSON with the
//! proto's own field names.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../Cargo.lock");
    let source = find_package("waproto")?.join("src/whatsapp.desc");
    let target = Path::new(&env::var("OUT_DIR")?).join("whatsapp.desc");
    fs::copy(&source, &target).map_err(|error| format!("{}: {error}", source.display()))?;
    Ok(())
}

/// The folder of a package among this build's dependencies. A package cannot
/// name files of another one; only Cargo knows where it put them.
fn find_package(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version", "1", "--filter-platform", &env::var("TARGET")?])
        .current_dir(env::var("CARGO_MANIFEST_DIR")?)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let manifests = text.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    for manifest in manifests {
        let folder = Path::new(manifest).parent().unwrap_or(Path::new("")).to_path_buf();
        let called = folder.file_name().and_then(|called| called.to_str()).unwrap_or_default();
        if called.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
            return Ok(folder);
        }
    }
    Err(format!("no package {name} among the dependencies").into())
}
