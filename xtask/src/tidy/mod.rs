//! Repository checks that no compiler or linter makes. Each check is a pure function of text; this file finds the text.

mod decisions;
mod docs;
mod layers;
mod sources;
mod unused;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::shell::Repo;

/// Directories with our own sources.
const SOURCE_DIRS: [&str; 4] = ["crates", "bench", "xtask", "tests"];
/// Documents in the root directory.
const ROOT_DOCUMENTS: [&str; 5] = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Cargo.toml"];
/// Extensions of files that are checked for banned words.
const TEXT_EXTENSIONS: [&str; 5] = ["rs", "md", "sql", "svg", "toml"];

/// Runs every check over the whole repository and prints all findings as `file:line: problem`.
pub fn run(repo: &Repo) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for dir in SOURCE_DIRS.map(|dir| repo.root.join(dir)).iter().filter(|dir| dir.is_dir()) {
        collect(dir, &mut files)?;
    }
    files.sort();

    let mut findings = Vec::new();
    let mut rust_files = Vec::new();
    for path in files.iter().filter(|path| has_extension(path, &["rs"])) {
        let (name, text) = (relative(repo, path), read(path)?);
        findings.extend(sources::check(&name, &text));
        findings.extend(docs::check(&name, &text));
        rust_files.push((path, text));
    }
    let mut manifests = Vec::new();
    for path in files.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let (name, text) = (relative(repo, path), read(path)?);
        let of_crate = rust_files.iter().filter(|(file, _)| path.parent().is_some_and(|dir| file.starts_with(dir)));
        findings.extend(unused::check(&name, &text, of_crate.map(|(_, text)| text.as_str()))?);
        manifests.push(layers::Manifest::parse(&name, &text)?);
    }
    let rust_files = rust_files.len();
    anyhow::ensure!(rust_files > 0, "found no Rust files under {}", repo.root.display());
    findings.extend(layers::check(&manifests));

    let mut documents = Vec::new();
    collect(&repo.root.join("docs"), &mut documents)?;
    documents.sort();
    let mut decisions = Vec::new();
    for path in documents.iter().filter(|path| path.parent().is_some_and(|dir| dir.ends_with("docs/adr"))) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        decisions.push((name, read(path)?));
    }
    findings.extend(decisions::check(&decisions));

    let root_documents = ROOT_DOCUMENTS.map(|name| repo.root.join(name));
    let texts = files.iter().chain(&documents).chain(root_documents.iter().filter(|path| path.is_file()));
    let mut words = words::Checker::new();
    for path in texts.filter(|path| has_extension(path, &TEXT_EXTENSIONS)) {
        words.check(&relative(repo, path), &read(path)?);
    }
    findings.extend(words.finish());

    for finding in &findings {
        eprintln!("{finding}");
    }
    anyhow::ensure!(findings.is_empty(), "tidy: {} findings, see above", findings.len());
    let (manifests, decisions) = (manifests.len(), decisions.len());
    println!("tidy: {rust_files} Rust files, {manifests} manifests, {decisions} decision records, no findings");
    Ok(())
}

/// All files below a directory, except build output and hidden files.
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

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| extensions.contains(&extension))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn relative(repo: &Repo, path: &Path) -> String {
    path.strip_prefix(&repo.root).unwrap_or(path).display().to_string()
}
