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
    trusted_proxies: Option<ListValue>,
    public_url: Option<String>,
    data_dir: Option<PathBuf>,
    allow_targets: Option<ListValue>,
    allow_http: Option<bool>,
    allow_watch_targets: Option<ListValue>,
    watch_references: Option<ListValue>,
    watch_interval_seconds_min: Option<u32>,
    allow_insecure_tls: Option<bool>,
    channels_max: Option<u32>,
    members_max: Option<u32>,
    api_keys_max: Option<u32>,
    smtp_url: Option<String>,
    smtp_url_file: Option<PathBuf>,
    mail_from: Option<String>,
    run_header_prefix: Option<String>,
    workflow_header_prefix: Option<String>,
    drain_seconds: Option<u64>,
    log: Option<String>,
    log_format: Option<String>,
    api_key: Option<String>,
    api_key_file: Option<PathBuf>,
    admin_email: Option<String>,
    admin_password: Option<String>,
    admin_password_file: Option<PathBuf>,
    secret_key: Option<String>,
    secret_key_file: Option<PathBuf>,
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
        let (smtp_url, smtp_url_file) =
            first_set((overrides.smtp_url, overrides.smtp_url_file), (self.smtp_url, self.smtp_url_file));
        let (api_key, api_key_file) =
            first_set((overrides.api_key, overrides.api_key_file), (self.api_key, self.api_key_file));
        let (admin_password, admin_password_file) = first_set(
            (overrides.admin_password, overrides.admin_password_file),
            (self.admin_password, self.admin_password_file),
        );
        let (secret_key, secret_key_file) =
            first_set((overrides.secret_key, overrides.secret_key_file), (self.secret_key, self.secret_key_file));
        Overrides {
            config: overrides.config,
            listen: overrides.listen.or(self.listen),
            trusted_proxies: overrides.trusted_proxies.or(self.trusted_proxies.map(joined)),
            public_url: overrides.public_url.or(self.public_url),
            data_dir: overrides.data_dir.or(self.data_dir),
            allow_targets: overrides.allow_targets.or(self.allow_targets.map(joined)),
            allow_http: overrides.allow_http.or(self.allow_http),
            allow_watch_targets: overrides.allow_watch_targets.or(self.allow_watch_targets.map(joined)),
            watch_references: overrides.watch_references.or(self.watch_references.map(joined)),
            watch_interval_seconds_min: overrides.watch_interval_seconds_min.or(self.watch_interval_seconds_min),
            allow_insecure_tls: overrides.allow_insecure_tls.or(self.allow_insecure_tls),
            channels_max: overrides.channels_max.or(self.channels_max),
            members_max: overrides.members_max.or(self.members_max),
            api_keys_max: overrides.api_keys_max.or(self.api_keys_max),
            mail_from: overrides.mail_from.or(self.mail_from),
            run_header_prefix: overrides.run_header_prefix.or(self.run_header_prefix),
            workflow_header_prefix: overrides.workflow_header_prefix.or(self.workflow_header_prefix),
            drain_seconds: overrides.drain_seconds.or(self.drain_seconds),
            log: overrides.log.or(self.log),
            log_format: overrides.log_format.or(self.log_format),
            admin_email: overrides.admin_email.or(self.admin_email),
            smtp_url,
            smtp_url_file,
            api_key,
            api_key_file,
            admin_password,
            admin_password_file,
            secret_key,
            secret_key_file,
        }
    }
}

/// A secret, or the path of the file that holds it.
type SecretSource = (Option<String>, Option<PathBuf>);

/// The source that is set, that of flags and environment first: a flag overrides the configuration file also where that
/// names a file.
fn first_set(overrides: SecretSource, file: SecretSource) -> SecretSource {
    if overrides.0.is_some() || overrides.1.is_some() { overrides } else { file }
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
    fn secret_of_a_flag_overrides_the_file_that_the_configuration_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "password of the file\n").unwrap();
        let text = format!("admin_password_file = {path:?}\n");
        let admin_password = |overrides| with_file(&text, overrides).unwrap().admin_password.unwrap();
        assert_eq!(admin_password(Overrides::default()).expose(), "password of the file");
        let overrides = Overrides { admin_password: Some("password of the flag".into()), ..Overrides::default() };
        assert_eq!(admin_password(overrides).expose(), "password of the flag");
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
