//! The configuration file: TOML with the settings' names, `_` for `-`. An unknown name is an error, not a wish.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Overrides;

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    listen: Option<String>,
    public_url: Option<String>,
    data_dir: Option<PathBuf>,
    /// A list, or one text separated by commas.
    allow_targets: Option<Words>,
    allow_http: Option<bool>,
    /// A list, or one text separated by commas.
    allow_watch_targets: Option<Words>,
    /// A list, or one text separated by commas.
    watch_references: Option<Words>,
    watch_interval_seconds_min: Option<u32>,
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

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("config: cannot read {}", path.display()))?;
    // The parser's own message quotes the line, which may hold a secret: only the place and the reason are kept.
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!(" line {line}:"));
        anyhow::anyhow!("config: {}:{place} {}", path.display(), error.message())
    })
}

impl File {
    /// What flags and environment say, and where they are silent what the file says.
    pub(super) fn under(self, said: Overrides) -> Overrides {
        let joined = |words: Words| match words {
            Words::One(text) => text,
            Words::Many(list) => list.join(","),
        };
        Overrides {
            config: said.config,
            listen: said.listen.or(self.listen),
            public_url: said.public_url.or(self.public_url),
            data_dir: said.data_dir.or(self.data_dir),
            allow_targets: said.allow_targets.or(self.allow_targets.map(joined)),
            allow_http: said.allow_http.or(self.allow_http),
            allow_watch_targets: said.allow_watch_targets.or(self.allow_watch_targets.map(joined)),
            watch_references: said.watch_references.or(self.watch_references.map(joined)),
            watch_interval_seconds_min: said.watch_interval_seconds_min.or(self.watch_interval_seconds_min),
            channels_max: said.channels_max.or(self.channels_max),
            smtp_url: said.smtp_url.or(self.smtp_url),
            mail_from: said.mail_from.or(self.mail_from),
            run_header_prefix: said.run_header_prefix.or(self.run_header_prefix),
            workflow_header_prefix: said.workflow_header_prefix.or(self.workflow_header_prefix),
            drain_seconds: said.drain_seconds.or(self.drain_seconds),
            log: said.log.or(self.log),
            log_format: said.log_format.or(self.log_format),
            api_key: said.api_key.or(self.api_key),
            secret_key: said.secret_key.or(self.secret_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn with_file(text: &str, mut said: Overrides) -> Result<Settings> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidings.toml");
        std::fs::write(&path, text).unwrap();
        said.config = Some(path);
        Settings::resolve(said)
    }

    #[test]
    fn the_file_says_what_flags_do_not() {
        let text = "listen = \"127.0.0.1:1\"\nallow_targets = [\"10.0.0.0/8\", \"::1\"]\ndrain_seconds = 3\n";
        let said = Overrides { listen: Some("127.0.0.1:2".into()), ..Overrides::default() };
        let settings = with_file(text, said).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!((settings.allow_targets.len(), settings.drain.as_secs()), (2, 3));
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_without_the_secret() {
        let text = "listen = \"127.0.0.1:1\"\napi_keys = \"tdg_hunter2\"\n";
        let error = format!("{:#}", with_file(text, Overrides::default()).err().unwrap());
        assert!(error.contains("line 2") && error.contains("api_keys") && !error.contains("hunter2"), "{error}");
        let missing = Overrides { config: Some("/nowhere/tidings.toml".into()), ..Overrides::default() };
        assert!(format!("{:#}", Settings::resolve(missing).err().unwrap()).contains("/nowhere/tidings.toml"));
    }
}
