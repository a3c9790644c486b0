//! Dependencies between crates: `domain ← store, channels ← engine ← monitor ← web ← tidings`, never the other way.
//!
//! Cargo rejects cycles only. It accepts a dependency of a lower layer on a higher one, and a development dependency
//! that forms a cycle.

use anyhow::Context as _;
use toml::{Table, Value};

/// The layers, lowest first. A crate may only depend on crates of lower layers, not on others of its own.
const LAYERS: [&[&str]; 7] = [
    &["tidings-domain"],
    &["tidings-store", "tidings-channels"],
    &["tidings-engine"],
    &["tidings-monitor"],
    &["tidings-app"],
    &["tidings-web"],
    &["tidings"],
];

/// External crates that a crate must not depend on, and why. Tests may use them.
const FORBIDDEN_DEPENDENCIES: [(&str, &[&str], &str); 7] = [
    ("tidings-domain", &["anyhow", "async-trait", "axum", "getrandom", "hyper", "rusqlite", "tokio"], "is pure"),
    ("tidings-store", &["anyhow", "axum", "http", "hyper", "lettre", "reqwest"], "has no HTTP"),
    ("tidings-channels", &["anyhow", "axum", "rusqlite", "tokio-postgres"], "has neither SQL nor an HTTP server"),
    ("tidings-engine", &["anyhow", "axum", "hyper", "rusqlite", "tokio-postgres"], "has neither SQL nor HTTP"),
    ("tidings-monitor", &["anyhow", "axum", "rusqlite", "tokio-postgres"], "has neither SQL nor an HTTP server"),
    ("tidings-app", &["anyhow", "axum", "http", "hyper", "rusqlite", "tokio-postgres"], "knows neither HTTP nor SQL"),
    ("tidings-web", &["anyhow", "rusqlite", "tokio-postgres"], "has no SQL"),
];

/// The name and the dependencies of a crate.
#[derive(Debug)]
pub struct Manifest {
    path: String,
    package: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    package: String,
    for_tests: bool,
}

impl Manifest {
    /// Parses a `Cargo.toml`.
    pub fn parse(path: &str, text: &str) -> anyhow::Result<Self> {
        let manifest: Table = text.parse().with_context(|| format!("cannot parse {path}"))?;
        let package = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        let package = package.with_context(|| format!("{path} has no package name"))?.to_owned();
        let mut dependencies = dependencies(&manifest);
        for target in manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values) {
            dependencies.extend(target.as_table().map(self::dependencies).unwrap_or_default());
        }
        Ok(Self { path: path.to_owned(), package, dependencies })
    }

    fn is_layered(&self) -> bool {
        self.path.starts_with("crates/")
    }
}

fn dependencies(table: &Table) -> Vec<Dependency> {
    let mut found = Vec::new();
    for (section, for_tests) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)] {
        for (key, value) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
            let package = value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned();
            found.push(Dependency { package, for_tests });
        }
    }
    found
}

/// All forbidden dependencies.
pub fn check(manifests: &[Manifest]) -> Vec<String> {
    let mut findings = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.is_layered()) {
        let (path, package) = (&manifest.path, &manifest.package);
        let Some(own) = layer(package) else {
            findings.push(format!("{path}: {package} is in no layer; add it to {}", file!()));
            continue;
        };
        for Dependency { package: other, for_tests } in &manifest.dependencies {
            let is_ours = manifests.iter().any(|manifest| manifest.package == *other) || layer(other).is_some();
            // A crate may be its own development dependency, to enable its features in its tests.
            let is_itself = *for_tests && other == package;
            if is_ours && !is_itself && layer(other).is_none_or(|other| other >= own) {
                findings.push(format!("{path}: {package} must not depend on {other}: {}", diagram()));
            }
            for (_, _, why) in FORBIDDEN_DEPENDENCIES
                .iter()
                .filter(|(name, forbidden, _)| name == package && forbidden.contains(&other.as_str()) && !for_tests)
            {
                findings.push(format!("{path}: {package} must not depend on {other}: it {why}"));
            }
        }
    }
    findings
}

fn layer(package: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&package))
}

fn diagram() -> String {
    LAYERS.map(|layer| layer.join(", ")).join(" ← ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(manifests: &[(&str, &str)]) -> Vec<String> {
        let manifests: Vec<_> = manifests.iter().map(|(path, text)| Manifest::parse(path, text).unwrap()).collect();
        check(&manifests)
    }

    fn one(package: &str, rest: &str) -> Vec<String> {
        findings(&[("crates/x/Cargo.toml", &format!("[package]\nname = \"{package}\"\n{rest}\n"))])
    }

    #[test]
    fn check_dependency_on_a_lower_layer_is_allowed() {
        assert!(
            one("tidings-engine", "[dependencies]\ntidings-domain.workspace = true\ntidings-store = {}").is_empty()
        );
        assert!(one("tidings", "[dependencies]\ntidings-web.workspace = true\nanyhow = \"1\"").is_empty());
    }

    #[test]
    fn check_dependency_on_a_higher_layer_is_reported_in_every_section() {
        for section in ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"] {
            let found = one("tidings-domain", &format!("[{section}]\ntidings-engine.workspace = true"));
            assert_eq!(found.len(), 1, "{section}");
            assert!(found[0].contains("tidings-domain must not depend on tidings-engine"), "{found:?}");
        }
        assert_eq!(one("tidings-web", "[dependencies]\nmain = { package = \"tidings\", path = \"..\" }").len(), 1);
    }

    #[test]
    fn check_dependency_within_a_layer_is_reported() {
        assert_eq!(one("tidings-store", "[dependencies]\ntidings-channels.workspace = true").len(), 1);
        assert_eq!(one("tidings-channels", "[dev-dependencies]\ntidings-store.workspace = true").len(), 1);
    }

    #[test]
    fn check_dependency_on_a_tool_is_reported() {
        let layered =
            ("crates/x/Cargo.toml", "[package]\nname = \"tidings-web\"\n[dependencies]\nxtask.path = \"../..\"\n");
        let tool = ("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n[dependencies]\ntidings-web.path = \"..\"\n");
        let found = findings(&[layered, tool]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("tidings-web must not depend on xtask"), "{found:?}");
    }

    #[test]
    fn check_forbidden_dependency_is_reported_except_for_tests() {
        let found = one("tidings-store", "[dependencies]\nhyper.workspace = true");
        assert_eq!(found, ["crates/x/Cargo.toml: tidings-store must not depend on hyper: it has no HTTP"]);
        assert!(one("tidings-store", "[dev-dependencies]\nhyper.workspace = true").is_empty());
    }

    #[test]
    fn check_crate_without_layer_is_reported() {
        assert_eq!(one("tidings-unknown", "").len(), 1);
    }

    #[test]
    fn parse_invalid_manifest_error_names_the_file() {
        assert!(Manifest::parse("crates/x/Cargo.toml", "[package").unwrap_err().to_string().contains("crates/x"));
        assert!(Manifest::parse("crates/x/Cargo.toml", "").unwrap_err().to_string().contains("has no package name"));
    }
}
