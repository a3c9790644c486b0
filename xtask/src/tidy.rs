//! The house rules that no compiler checks. Each rule is a pure function of text; this file finds the text.

mod arrows;
mod records;
mod sources;
mod unused;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::shell::Repo;

/// The directories that hold Rust of ours.
const SOURCE_DIRS: [&str; 4] = ["crates", "bench", "xtask", "tests"];

/// Checks every rule over the whole repository, and names everything that breaks one.
pub fn run(repo: &Repo) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for dir in SOURCE_DIRS.map(|dir| repo.root.join(dir)).iter().filter(|dir| dir.is_dir()) {
        collect(dir, &mut files)?;
    }
    files.sort();

    let mut findings = Vec::new();
    let mut rust_files = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let (name, text) = (shown(repo, path), read(path)?);
        findings.extend(sources::check(&text).iter().map(|finding| format!("{name}{finding}")));
        rust_files.push((path, text));
    }
    anyhow::ensure!(!rust_files.is_empty(), "found no Rust at all under {}", repo.root.display());

    let mut manifests = Vec::new();
    for path in files.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let (name, text) = (shown(repo, path), read(path)?);
        let of_the_crate = rust_files.iter().filter(|(file, _)| path.parent().is_some_and(|dir| file.starts_with(dir)));
        findings.extend(unused::check(&name, &text, of_the_crate.map(|(_, text)| text.as_str()))?);
        manifests.push(arrows::Manifest::parse(&name, &text)?);
    }
    findings.extend(arrows::check(&manifests));

    let mut decisions = Vec::new();
    collect(&repo.root.join("docs/adr"), &mut decisions)?;
    let mut records = Vec::new();
    for path in decisions {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        records.push((name, read(&path)?));
    }
    findings.extend(records::check(&records));

    for finding in &findings {
        eprintln!("{finding}");
    }
    anyhow::ensure!(findings.is_empty(), "the house is not tidy; findings above: {}", findings.len());
    println!(
        "tidy: {} Rust files, {} manifests, {} decision records, no findings",
        rust_files.len(),
        manifests.len(),
        records.len()
    );
    Ok(())
}

/// All files below a directory, except what Cargo builds and what is hidden.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn shown(repo: &Repo, path: &Path) -> String {
    path.strip_prefix(&repo.root).unwrap_or(path).display().to_string()
}
