//! Unused dependencies: a crate that a manifest lists and no Rust file of the package uses costs build time.
//!
//! cargo-shear checks the same, but takes minutes to compile where it is not installed.

use anyhow::Context as _;
use toml::{Table, Value};

/// The findings for the `Cargo.toml` at `path`; `sources` are the crate's Rust files.
pub fn check<'a>(
    path: &str,
    manifest: &str,
    sources: impl Iterator<Item = &'a str> + Clone,
) -> anyhow::Result<Vec<String>> {
    let manifest: Table = manifest.parse().with_context(|| format!("cannot parse {path}"))?;
    let mut findings = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for name in manifest.get(section).and_then(Value::as_table).into_iter().flat_map(Table::keys) {
            let ident = name.replace('-', "_");
            if !sources.clone().any(|source| source.lines().any(|line| is_used(line, &ident))) {
                findings.push(format!(
                    "{path}: `{name}` in [{section}] is not used by any Rust file of the crate: remove it"
                ));
            }
        }
    }
    Ok(findings)
}

/// Whether a line of Rust uses the crate: its identifier followed by `::`, or alone in a `use`.
fn is_used(line: &str, ident: &str) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    !line.trim_start().starts_with("//")
        && line.match_indices(ident).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + ident.len()..]);
            let is_imported = before.trim_end().ends_with("use") && after.starts_with([';', ' ']);
            !before.ends_with(is_of_word) && !before.ends_with("::") && (after.starts_with("::") || is_imported)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(manifest: &str, source: &str) -> Vec<String> {
        check("crates/x/Cargo.toml", manifest, [source].into_iter()).unwrap()
    }

    #[test]
    fn used_dependency_is_no_finding() {
        for used in ["use b_c::D;", "    b_c::d!();", "#[b_c::e]", "use b_c;", "use b_c as d;", "x(b_c::Y)"] {
            assert_eq!(findings("[dependencies]\nb-c.workspace = true", used), [""; 0], "{used}");
        }
    }

    #[test]
    fn unused_dependency_is_named_with_its_section() {
        for unused in ["", "// use b_c::D;", "use ab_c::D;", "use b_c2::D;", "use crate::b_c::D;", "let b_c = 1;"] {
            let found = findings("[dev-dependencies]\nb-c = \"1\"", unused);
            assert_eq!(found.len(), 1, "{unused}");
            assert!(found[0].contains("`b-c` in [dev-dependencies]"), "{found:?}");
        }
    }

    #[test]
    fn invalid_manifest_is_an_error_that_names_the_file() {
        let error = check("crates/x/Cargo.toml", "[package", [].into_iter()).unwrap_err();
        assert!(error.to_string().contains("crates/x"));
    }
}
