//! Configuration. In order of precedence: flags, environment variables, the file, defaults.

mod file;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use ipnet::IpNet;
use tidings_app::accounts::password::validate_password;
use tidings_channels::email::RelayConfig;
use tidings_domain::account::validate_email;
use tidings_domain::secret::Secret;
use tidings_engine::settings::SettingsLimits;
use tidings_engine::settings::instance::validate_api_key;

/// The flags, which clap also reads from environment variables. Doc comments are the help texts.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Overrides {
    /// Configuration file (TOML). Its keys are the names of these flags, with _ for -.
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8080].
    #[arg(long, env = "TIDINGS_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Reverse proxies in front of the service: CIDR, separated by commas. Only their X-Forwarded-For, Forwarded and
    /// X-Forwarded-Proto headers are read, from right to left.
    #[arg(long, env = "TIDINGS_TRUSTED_PROXIES", value_name = "CIDR,…")]
    trusted_proxies: Option<String>,
    /// Base URL at which clients reach the service. Without it, URLs of inbound webhooks are returned as paths.
    #[arg(long, env = "TIDINGS_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Directory of the database and all other data [default: ./tidings-data].
    #[arg(long, env = "TIDINGS_DATA_DIR", value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// Private networks that channels may send to: CIDR, separated by commas, such as 10.1.0.0/16. All other private,
    /// loopback and link-local addresses are rejected.
    #[arg(long, env = "TIDINGS_ALLOW_TARGETS", value_name = "CIDR,…")]
    allow_targets: Option<String>,
    /// Allow channels to use http instead of https for every target. By default only targets in --allow-targets may.
    #[arg(long, env = "TIDINGS_ALLOW_HTTP", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_http: Option<bool>,
    /// Private networks whose endpoints may be monitored [default: the value of --allow-targets].
    #[arg(long, env = "TIDINGS_ALLOW_WATCH_TARGETS", value_name = "CIDR,…")]
    allow_watch_targets: Option<String>,
    /// Highly available targets, such as 1.1.1.1:443. While none of them responds, the network of this machine is
    /// considered down, and failed checks are inconclusive.
    #[arg(long, env = "TIDINGS_WATCH_REFERENCES", value_name = "HOST:PORT,…")]
    watch_references: Option<String>,
    /// Minimum interval between checks of an endpoint, in seconds [default: 10].
    #[arg(long, env = "TIDINGS_WATCH_INTERVAL_SECONDS_MIN", value_name = "SECONDS")]
    watch_interval_seconds_min: Option<u32>,
    /// Allow endpoints to send credentials to servers whose certificate they do not verify (tls.verify other than full).
    #[arg(long, env = "TIDINGS_ALLOW_INSECURE_TLS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_insecure_tls: Option<bool>,
    /// Maximum number of shared channels in a workspace [default: 100].
    #[arg(long, env = "TIDINGS_CHANNELS_MAX", value_name = "NUMBER")]
    channels_max: Option<u32>,
    /// Maximum number of members of a workspace, with those who are invited [default: 100].
    #[arg(long, env = "TIDINGS_MEMBERS_MAX", value_name = "NUMBER")]
    members_max: Option<u32>,
    /// Maximum number of API keys of a workspace [default: 100].
    #[arg(long, env = "TIDINGS_API_KEYS_MAX", value_name = "NUMBER")]
    api_keys_max: Option<u32>,
    /// SMTP server for email channels: smtps://USER:PASSWORD@HOST or smtp://…?tls=required|opportunistic|none.
    /// Prefer the environment variable: other users of the machine can see flags.
    #[arg(long, env = "TIDINGS_SMTP_URL", value_name = "URL", hide_env_values = true)]
    smtp_url: Option<String>,
    /// File with the value of --smtp-url.
    #[arg(long, env = "TIDINGS_SMTP_URL_FILE", value_name = "FILE")]
    smtp_url_file: Option<PathBuf>,
    /// Sender of emails, such as `Tidings <tidings@example.com>`. Required with --smtp-url.
    #[arg(long, env = "TIDINGS_MAIL_FROM", value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// Prefix of the signature header of run webhooks [default: X-Mako].
    #[arg(long, env = "TIDINGS_RUN_HEADER_PREFIX", value_name = "PREFIX")]
    run_header_prefix: Option<String>,
    /// Prefix of the headers of use case webhooks [default: X-MagOne].
    #[arg(long, env = "TIDINGS_WORKFLOW_HEADER_PREFIX", value_name = "PREFIX")]
    workflow_header_prefix: Option<String>,
    /// How long a shutdown waits for requests and deliveries in flight, in seconds [default: 20].
    #[arg(long, env = "TIDINGS_DRAIN_SECONDS", value_name = "SECONDS")]
    drain_seconds: Option<u64>,
    /// Log filter, such as info, debug, or warn,tidings_engine=debug [default: info].
    #[arg(long, env = "TIDINGS_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Log format: text or json [default: text].
    #[arg(long, env = "TIDINGS_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
    /// API key of the workspace `default`: tdg_ and at least 32 more characters [default: generated at the first start].
    /// Prefer the environment variable: other users of the machine can see flags.
    #[arg(long, env = "TIDINGS_API_KEY", value_name = "KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// File with the value of --api-key.
    #[arg(long, env = "TIDINGS_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Email of the first user, who owns the workspace `default` and operates the instance [default: admin@localhost].
    /// Only the first start on an empty store reads it.
    #[arg(long, env = "TIDINGS_ADMIN_EMAIL", value_name = "EMAIL")]
    admin_email: Option<String>,
    /// Password of the first user: at least 8 characters [default: generated at the first start].
    /// Prefer the environment variable: other users of the machine can see flags.
    #[arg(long, env = "TIDINGS_ADMIN_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
    /// File with the value of --admin-password.
    #[arg(long, env = "TIDINGS_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    admin_password_file: Option<PathBuf>,
    /// Key that encrypts stored secrets: base64 of 32 bytes [default: generated, in the file secret.key of the data
    /// directory]. Prefer the environment variable: other users of the machine can see flags.
    #[arg(long, env = "TIDINGS_SECRET_KEY", value_name = "KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// File with the value of --secret-key.
    #[arg(long, env = "TIDINGS_SECRET_KEY_FILE", value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
}

/// The email of the first user where none is configured. It is a name to sign in with; mail to it goes nowhere.
const ADMIN_EMAIL: &str = "admin@localhost";

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Human-readable.
    Text,
    /// One JSON object a line.
    Json,
}

/// The validated configuration.
pub(crate) struct Settings {
    pub listen: SocketAddr,
    /// Peers whose forwarding headers are read.
    pub trusted_proxies: Vec<IpNet>,
    /// None: not configured.
    pub public_url: Option<String>,
    pub data_dir: PathBuf,
    pub allow_targets: Vec<IpNet>,
    pub allow_http: bool,
    pub allow_watch_targets: Vec<IpNet>,
    pub watch_references: Vec<(String, u16)>,
    pub limits: SettingsLimits,
    pub mail: Option<Arc<RelayConfig>>,
    /// As it was configured, for `check-config`.
    pub mail_from: Option<String>,
    pub run_header_prefix: String,
    pub workflow_header_prefix: String,
    pub drain: Duration,
    pub log: String,
    pub log_format: LogFormat,
    pub api_key: Option<Secret>,
    pub admin_email: String,
    pub admin_password: Option<Secret>,
    pub secret_key: Option<Secret>,
}

impl Settings {
    /// Merges flags, environment and file, and validates the result.
    ///
    /// # Errors
    /// The name of the invalid setting and its expected form. Secrets are not quoted.
    pub(crate) fn resolve(overrides: Overrides) -> Result<Self> {
        let merged = match &overrides.config {
            Some(path) => file::read(path)?.under(overrides),
            None => overrides,
        };
        let listen = merged.listen.unwrap_or_else(|| "127.0.0.1:8080".into());
        let listen = listen.parse().map_err(|_| {
            anyhow!("listen: {listen:?} is not an address and port, such as 127.0.0.1:8080 or [::]:8080")
        })?;
        let smtp_url = secret("smtp-url", merged.smtp_url, merged.smtp_url_file)?;
        let admin_email = merged.admin_email.filter(|email| !email.is_empty()).unwrap_or_else(|| ADMIN_EMAIL.into());
        let admin_password = secret("admin-password", merged.admin_password, merged.admin_password_file)?;
        Ok(Self {
            listen,
            trusted_proxies: networks("trusted-proxies", merged.trusted_proxies.as_deref().unwrap_or_default())?,
            public_url: merged.public_url.map(public_url).transpose()?,
            data_dir: merged.data_dir.unwrap_or_else(|| "tidings-data".into()),
            allow_watch_targets: match &merged.allow_watch_targets {
                Some(list) => networks("allow-watch-targets", list)?,
                None => networks("allow-targets", merged.allow_targets.as_deref().unwrap_or_default())?,
            },
            allow_targets: networks("allow-targets", merged.allow_targets.as_deref().unwrap_or_default())?,
            watch_references: references(merged.watch_references.as_deref().unwrap_or_default())?,
            limits: SettingsLimits {
                allow_insecure_tls: merged.allow_insecure_tls.unwrap_or(false),
                members_max: merged.members_max.unwrap_or(SettingsLimits::default().members_max),
                api_keys_max: merged.api_keys_max.unwrap_or(SettingsLimits::default().api_keys_max),
                ..limits(merged.channels_max, merged.watch_interval_seconds_min)?
            },
            mail_from: merged.mail_from.clone().filter(|from| !from.is_empty()),
            allow_http: merged.allow_http.unwrap_or(false),
            mail: mail(smtp_url.map(|url| url.expose().to_owned()), merged.mail_from)?,
            run_header_prefix: prefix("run-header-prefix", merged.run_header_prefix, "X-Mako")?,
            workflow_header_prefix: prefix("workflow-header-prefix", merged.workflow_header_prefix, "X-MagOne")?,
            drain: Duration::from_secs(merged.drain_seconds.unwrap_or(20)),
            log: merged.log.unwrap_or_else(|| "info".into()),
            log_format: log_format(merged.log_format.as_deref())?,
            api_key: secret("api-key", merged.api_key, merged.api_key_file)?.map(api_key).transpose()?,
            admin_password: admin_password.map(|password| valid_password(password, &admin_email)).transpose()?,
            admin_email: valid_email(admin_email)?,
            secret_key: secret("secret-key", merged.secret_key, merged.secret_key_file)?,
        })
    }
}

fn public_url(url: String) -> Result<String> {
    let fits = (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(char::is_whitespace);
    if !fits {
        bail!("public-url: {url:?} is not an http or https URL, such as https://tidings.example.com");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn networks(name: &str, list: &str) -> Result<Vec<IpNet>> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let single = || item.parse().map(|ip: std::net::IpAddr| IpNet::from(ip));
            item.parse::<IpNet>()
                .or_else(|_| single())
                .map_err(|_| anyhow!("{name}: {item:?} is not a network, such as 10.1.0.0/16 or fd12::/48"))
        })
        .collect()
}

fn references(list: &str) -> Result<Vec<(String, u16)>> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let parts = item.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
            parts
                .filter(|(host, port)| !host.is_empty() && *port > 0)
                .map(|(host, port)| (host.trim_matches(['[', ']']).to_owned(), port))
                .ok_or_else(|| anyhow!("watch-references: {item:?} is not a host and port, such as 1.1.1.1:443"))
        })
        .collect()
}

fn limits(channels_max: Option<u32>, interval_seconds_min: Option<u32>) -> Result<SettingsLimits> {
    let default = SettingsLimits::default();
    let interval_seconds_min = interval_seconds_min.unwrap_or(default.interval_seconds_min);
    if interval_seconds_min == 0 {
        bail!("watch-interval-seconds-min: must be at least 1");
    }
    Ok(SettingsLimits { channels_max: channels_max.unwrap_or(default.channels_max), interval_seconds_min, ..default })
}

fn mail(url: Option<String>, from: Option<String>) -> Result<Option<Arc<RelayConfig>>> {
    match (url.filter(|url| !url.is_empty()), from.filter(|from| !from.is_empty())) {
        (None, None) => Ok(None),
        (Some(_), None) => bail!("mail-from: must be set if smtp-url is, such as `Tidings <tidings@example.com>`"),
        (None, Some(_)) => {
            bail!("smtp-url: must be set if mail-from is, such as smtps://user:password@mail.example.com")
        }
        (Some(url), Some(from)) => {
            RelayConfig::parse(&url, &from).map(|mail| Some(Arc::new(mail))).map_err(|why| anyhow!("{why}"))
        }
    }
}

fn prefix(name: &str, value: Option<String>, default: &str) -> Result<String> {
    let prefix = value.unwrap_or_else(|| default.into());
    let fits = (1..=40).contains(&prefix.len())
        && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && prefix.starts_with(|first: char| first.is_ascii_alphabetic());
    if fits { Ok(prefix) } else { bail!("{name}: {prefix:?} is not the prefix of a header name, such as {default}") }
}

fn log_format(value: Option<&str>) -> Result<LogFormat> {
    match value {
        None | Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(other) => bail!("log-format: {other:?} is neither text nor json"),
    }
}

fn api_key(key: Secret) -> Result<Secret> {
    match validate_api_key(key.expose()) {
        Some(why) => Err(anyhow!("{why}")).context("api-key (TIDINGS_API_KEY)"),
        None => Ok(key),
    }
}

fn valid_email(email: String) -> Result<String> {
    match validate_email(&email) {
        Some(why) => Err(anyhow!("{why}")).context("admin-email (TIDINGS_ADMIN_EMAIL)"),
        None => Ok(email),
    }
}

fn valid_password(password: Secret, email: &str) -> Result<Secret> {
    match validate_password(password.expose(), email) {
        Some(why) => Err(anyhow!("{why}")).context("admin-password (TIDINGS_ADMIN_PASSWORD)"),
        None => Ok(password),
    }
}

/// A secret from its setting or from the file that holds it. An empty setting counts as not set.
fn secret(name: &str, value: Option<String>, file: Option<PathBuf>) -> Result<Option<Secret>> {
    let value = value.filter(|value| !value.is_empty());
    let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else { return Ok(value.map(Secret::new)) };
    if value.is_some() {
        bail!("{name}: is set, and {name}-file is, too: set one of them");
    }
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("{name}-file: cannot read {}", path.display()))?;
    // Editors end the last line; further whitespace may be part of the secret.
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        bail!("{name}-file: {} is empty", path.display());
    }
    Ok(Some(Secret::new(text)))
}

/// The output of `check-config`: every setting, but of secrets only whether they are set.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = |list: &[IpNet]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let references: Vec<_> = self.watch_references.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
        let set = |is_set: bool, otherwise: &str| if is_set { "set".to_owned() } else { otherwise.to_owned() };
        let lines = [
            ("listen", self.listen.to_string()),
            ("trusted-proxies", or_none(networks(&self.trusted_proxies))),
            (
                "public-url",
                self.public_url.clone().unwrap_or_else(|| "not set: URLs of inbound webhooks are paths".into()),
            ),
            ("data-dir", self.data_dir.display().to_string()),
            ("allow-targets", or_none(networks(&self.allow_targets))),
            ("allow-watch-targets", or_none(networks(&self.allow_watch_targets))),
            ("watch-references", or_none(references.join(","))),
            ("watch-interval-seconds-min", self.limits.interval_seconds_min.to_string()),
            ("allow-insecure-tls", self.limits.allow_insecure_tls.to_string()),
            ("channels-max", self.limits.channels_max.to_string()),
            ("members-max", self.limits.members_max.to_string()),
            ("api-keys-max", self.limits.api_keys_max.to_string()),
            ("allow-http", self.allow_http.to_string()),
            ("smtp-url", set(self.mail.is_some(), "not set: email channels need an SMTP server of their own")),
            ("mail-from", or_none(self.mail_from.clone().unwrap_or_default())),
            ("run-header-prefix", self.run_header_prefix.clone()),
            ("workflow-header-prefix", self.workflow_header_prefix.clone()),
            ("drain-seconds", self.drain.as_secs().to_string()),
            ("log", self.log.clone()),
            ("log-format", if self.log_format == LogFormat::Json { "json".into() } else { "text".into() }),
            ("api-key", set(self.api_key.is_some(), "not set: generated at the first start")),
            ("admin-email", self.admin_email.clone()),
            ("admin-password", set(self.admin_password.is_some(), "not set: generated at the first start")),
            ("secret-key", set(self.secret_key.is_some(), "not set: the file secret.key in the data directory")),
        ];
        for (index, (name, value)) in lines.iter().enumerate() {
            let end = if index + 1 < lines.len() { "\n" } else { "" };
            write!(f, "{name:<28}{value}{end}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(change: impl FnOnce(&mut Overrides)) -> Result<Settings> {
        let mut overrides = Overrides::default();
        change(&mut overrides);
        Settings::resolve(overrides)
    }

    #[test]
    fn defaults_are_sufficient() {
        let settings = resolve(|_| {}).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.public_url, None);
        assert!(settings.allow_targets.is_empty() && !settings.allow_http && settings.mail.is_none());
    }

    #[test]
    fn invalid_setting_is_named_without_quoting_secrets() {
        type Override = fn(&mut Overrides);
        let invalid: [(Override, &str); 14] = [
            (|s| s.listen = Some("8080".into()), "listen"),
            (|s| s.allow_targets = Some("10.0.0.0/8,nonsense".into()), "allow-targets"),
            (|s| s.allow_watch_targets = Some("here".into()), "allow-watch-targets"),
            (|s| s.watch_references = Some("1.1.1.1".into()), "watch-references"),
            (|s| s.watch_interval_seconds_min = Some(0), "watch-interval-seconds-min"),
            (|s| s.public_url = Some("tidings.example.com".into()), "public-url"),
            (|s| s.log_format = Some("xml".into()), "log-format"),
            (|s| s.api_key = Some("tdg_hunter2".into()), "api-key"),
            (|s| s.smtp_url = Some("smtps://u:hunter2@h".into()), "mail-from"),
            (|s| s.trusted_proxies = Some("10.0.0.0/33".into()), "trusted-proxies"),
            (|s| s.admin_email = Some("hunter2".into()), "admin-email"),
            (|s| s.admin_password = Some("hunter2".into()), "admin-password"),
            (|s| s.admin_password_file = Some("/nowhere/password".into()), "admin-password-file"),
            (
                |s| {
                    s.api_key = Some("tdg_hunter2".into());
                    s.api_key_file = Some("/nowhere/key".into());
                },
                "api-key-file",
            ),
        ];
        for (change, name) in invalid {
            let error = format!("{:#}", resolve(change).err().expect(name));
            assert!(error.contains(name), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn monitoring_networks_default_to_those_of_channels() {
        let both = resolve(|s| s.allow_targets = Some("10.1.0.0/16".into())).unwrap();
        assert_eq!(both.allow_watch_targets, both.allow_targets);
        let apart = resolve(|s| {
            s.allow_targets = Some("10.1.0.0/16".into());
            s.allow_watch_targets = Some(String::new());
        });
        assert!(apart.unwrap().allow_watch_targets.is_empty());
        let named = resolve(|s| s.watch_references = Some("1.1.1.1:443, [2606:4700::1111]:53".into())).unwrap();
        assert_eq!(named.watch_references, [("1.1.1.1".into(), 443), ("2606:4700::1111".into(), 53)]);
    }

    #[test]
    fn secret_in_a_file_ends_before_its_last_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            resolve(|s| s.admin_password_file = Some(path.clone())).map(|s| s.admin_password.unwrap())
        };
        assert_eq!(read("correct horse \r\n").unwrap(), Secret::new("correct horse "));
        assert_eq!(read("correct horse").unwrap(), Secret::new("correct horse"));
        assert!(read("\n").is_err() && read("short\n").is_err());
    }

    #[test]
    fn display_contains_no_secret() {
        let settings = resolve(|s| {
            s.api_key = Some(format!("tdg_{}", "hunter2-".repeat(5)));
            s.secret_key = Some("hunter2".into());
            s.admin_password = Some("hunter2-hunter2".into());
        });
        assert!(!settings.unwrap().to_string().contains("hunter2"));
    }
}
