//! The arrows between crates: `domain ← store, channels ← engine ← watch ← web ← tidings`, and nothing points back.
//!
//! Cargo refuses circles; it does not refuse a crate that reaches to its right, or through a development dependency.

use anyhow::Context as _;
use toml::{Table, Value};

/// The rooms from left to right. A crate may depend on those strictly to its left; rooms that share a place do not
/// know of each other.
const ROOMS: [&[&str]; 6] = [
    &["tidings-domain"],
    &["tidings-store", "tidings-channels"],
    &["tidings-engine"],
    &["tidings-watch"],
    &["tidings-web"],
    &["tidings"],
];

/// Crates that would bring into a room what it must not know. Tests may use them.
const STRANGERS: [(&str, &[&str], &str); 6] = [
    ("tidings-domain", &["anyhow", "async-trait", "axum", "getrandom", "hyper", "rusqlite", "tokio"], "is pure"),
    ("tidings-store", &["anyhow", "axum", "http", "hyper", "lettre", "reqwest"], "knows no HTTP"),
    ("tidings-channels", &["anyhow", "axum", "rusqlite", "tokio-postgres"], "knows neither SQL nor our own webhooks"),
    ("tidings-engine", &["anyhow", "axum", "hyper", "rusqlite", "tokio-postgres"], "knows neither SQL nor HTTP"),
    ("tidings-watch", &["anyhow", "axum", "rusqlite", "tokio-postgres"], "knows neither SQL nor our own webhooks"),
    ("tidings-web", &["anyhow", "rusqlite", "tokio-postgres"], "knows no SQL"),
];

/// What a `Cargo.toml` says about a crate and what it depends on.
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
    /// Reads the text of a `Cargo.toml`.
    pub fn parse(path: &str, text: &str) -> anyhow::Result<Self> {
        let manifest: Table = text.parse().with_context(|| format!("cannot parse {path}"))?;
        let package = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        let package = package.with_context(|| format!("{path} names no package"))?.to_owned();
        let mut dependencies = dependencies(&manifest);
        for target in manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values) {
            dependencies.extend(target.as_table().map(self::dependencies).unwrap_or_default());
        }
        Ok(Self { path: path.to_owned(), package, dependencies })
    }

    fn is_room(&self) -> bool {
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

/// Everything that points the wrong way.
pub fn check(manifests: &[Manifest]) -> Vec<String> {
    let mut findings = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.is_room()) {
        let (path, package) = (&manifest.path, &manifest.package);
        let Some(own) = place(package) else {
            findings.push(format!("{path}: {package} has no place among the rooms; give it one in {}", file!()));
            continue;
        };
        for Dependency { package: other, for_tests } in &manifest.dependencies {
            let is_ours = manifests.iter().any(|manifest| manifest.package == *other) || place(other).is_some();
            // A crate's own test suites may ask for its own features.
            let is_itself = *for_tests && other == package;
            if is_ours && !is_itself && place(other).is_none_or(|other| other >= own) {
                findings.push(format!("{path}: {package} must not depend on {other}: {}", drawn()));
            }
            for (_, _, why) in STRANGERS
                .iter()
                .filter(|(room, strangers, _)| room == package && strangers.contains(&other.as_str()) && !for_tests)
            {
                findings.push(format!("{path}: {package} must not depend on {other}: it {why}"));
            }
        }
    }
    findings
}

fn place(package: &str) -> Option<usize> {
    ROOMS.iter().position(|rooms| rooms.contains(&package))
}

fn drawn() -> String {
    ROOMS.map(|rooms| rooms.join(", ")).join(" ← ")
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
    fn arrows_to_the_left_are_fine() {
        assert!(
            one("tidings-engine", "[dependencies]\ntidings-domain.workspace = true\ntidings-store = {}").is_empty()
        );
        assert!(one("tidings", "[dependencies]\ntidings-web.workspace = true\nanyhow = \"1\"").is_empty());
    }

    #[test]
    fn arrows_to_the_right_are_not_of_whatever_kind() {
        for section in ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"] {
            let found = one("tidings-domain", &format!("[{section}]\ntidings-engine.workspace = true"));
            assert_eq!(found.len(), 1, "{section}");
            assert!(found[0].contains("tidings-domain must not depend on tidings-engine"), "{found:?}");
        }
        assert_eq!(one("tidings-web", "[dependencies]\nmain = { package = \"tidings\", path = \"..\" }").len(), 1);
    }

    #[test]
    fn rooms_that_share_a_place_do_not_know_of_each_other() {
        assert_eq!(one("tidings-store", "[dependencies]\ntidings-channels.workspace = true").len(), 1);
        assert_eq!(one("tidings-channels", "[dev-dependencies]\ntidings-store.workspace = true").len(), 1);
    }

    #[test]
    fn no_room_depends_on_the_sheds() {
        let room =
            ("crates/x/Cargo.toml", "[package]\nname = \"tidings-web\"\n[dependencies]\nxtask.path = \"../..\"\n");
        let shed = ("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n[dependencies]\ntidings-web.path = \"..\"\n");
        let found = findings(&[room, shed]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("tidings-web must not depend on xtask"), "{found:?}");
    }

    #[test]
    fn strangers_stay_outside_except_for_tests() {
        let found = one("tidings-store", "[dependencies]\nhyper.workspace = true");
        assert_eq!(found, ["crates/x/Cargo.toml: tidings-store must not depend on hyper: it knows no HTTP"]);
        assert!(one("tidings-store", "[dev-dependencies]\nhyper.workspace = true").is_empty());
    }

    #[test]
    fn every_crate_has_a_place() {
        assert_eq!(one("tidings-attic", "").len(), 1);
    }

    #[test]
    fn text_that_is_no_manifest_is_an_error_that_names_the_file() {
        assert!(Manifest::parse("crates/x/Cargo.toml", "[package").unwrap_err().to_string().contains("crates/x"));
        assert!(Manifest::parse("crates/x/Cargo.toml", "").unwrap_err().to_string().contains("names no package"));
    }
}
