//! The configuration file: TOML with the names of the flags, `_` for `-`. Unknown names are errors, because they are most
//! likely misspelt.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Overrides;

/// The content of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    listen: Option<String>,
    public_url: Option<String>,
    data_dir: Option<PathBuf>,
    allow_targets: Option<ListValue>,
    allow_http: Option<bool>,
    allow_watch_targets: Option<ListValue>,
    watch_references: Option<ListValue>,
    watch_interval_seconds_min: Option<u32>,
    allow_insecure_tls: Option<bool>,
    channels_max: Option<u32>,
    smtp_url: Option<String>,
    mail_from: Option<String>,
    run_header_prefix: Option<String>,
    workflow_header_prefix: Option<String>,
    drain_seconds: Option<u64>,
    log: Option<String>,
    log_format: Option<String>,
    api_key: Option<String>,
    secret_key: Option<String>,
}

/// A list, or one string separated by commas.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ListValue {
    One(String),
    Many(Vec<String>),
}

pub(super) fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("config: cannot read {}", path.display()))?;
    // The parser's full message quotes the line, which may contain a secret. Only its reason and the line number are kept.
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let position = line.map_or_else(String::new, |line| format!(" line {line}:"));
        anyhow::anyhow!("config: {}:{position} {}", path.display(), error.message())
    })
}

impl File {
    /// The overrides, with the values of the file for those that are not set.
    pub(super) fn under(self, overrides: Overrides) -> Overrides {
        let joined = |value: ListValue| match value {
            ListValue::One(text) => text,
            ListValue::Many(list) => list.join(","),
        };
        Overrides {
            config: overrides.config,
            listen: overrides.listen.or(self.listen),
            public_url: overrides.public_url.or(self.public_url),
            data_dir: overrides.data_dir.or(self.data_dir),
            allow_targets: overrides.allow_targets.or(self.allow_targets.map(joined)),
            allow_http: overrides.allow_http.or(self.allow_http),
            allow_watch_targets: overrides.allow_watch_targets.or(self.allow_watch_targets.map(joined)),
            watch_references: overrides.watch_references.or(self.watch_references.map(joined)),
            watch_interval_seconds_min: overrides.watch_interval_seconds_min.or(self.watch_interval_seconds_min),
            allow_insecure_tls: overrides.allow_insecure_tls.or(self.allow_insecure_tls),
            channels_max: overrides.channels_max.or(self.channels_max),
            smtp_url: overrides.smtp_url.or(self.smtp_url),
            mail_from: overrides.mail_from.or(self.mail_from),
            run_header_prefix: overrides.run_header_prefix.or(self.run_header_prefix),
            workflow_header_prefix: overrides.workflow_header_prefix.or(self.workflow_header_prefix),
            drain_seconds: overrides.drain_seconds.or(self.drain_seconds),
            log: overrides.log.or(self.log),
            log_format: overrides.log_format.or(self.log_format),
            api_key: overrides.api_key.or(self.api_key),
            secret_key: overrides.secret_key.or(self.secret_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn with_file(text: &str, mut overrides: Overrides) -> Result<Settings> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidings.toml");
        std::fs::write(&path, text).unwrap();
        overrides.config = Some(path);
        Settings::resolve(overrides)
    }

    #[test]
    fn flags_override_the_file() {
        let text = "listen = \"127.0.0.1:1\"\nallow_targets = [\"10.0.0.0/8\", \"::1\"]\ndrain_seconds = 3\n";
        let overrides = Overrides { listen: Some("127.0.0.1:2".into()), ..Overrides::default() };
        let settings = with_file(text, overrides).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!((settings.allow_targets.len(), settings.drain.as_secs()), (2, 3));
    }

    #[test]
    fn error_has_the_line_and_no_secret() {
        let text = "listen = \"127.0.0.1:1\"\napi_keys = \"tdg_hunter2\"\n";
        let error = format!("{:#}", with_file(text, Overrides::default()).err().unwrap());
        assert!(error.contains("line 2") && error.contains("api_keys") && !error.contains("hunter2"), "{error}");
        let missing = Overrides { config: Some("/nowhere/tidings.toml".into()), ..Overrides::default() };
        assert!(format!("{:#}", Settings::resolve(missing).err().unwrap()).contains("/nowhere/tidings.toml"));
    }
}
