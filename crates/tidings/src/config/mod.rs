//! Configuration: flags go before environment variables, those before the file, that before the defaults.

mod file;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use ipnet::IpNet;
use tidings_channels::email::RelayConfig;
use tidings_domain::secret::Secret;
use tidings_engine::settings::SettingsLimits;
use tidings_engine::settings::instance::validate_api_key;

/// What flags and environment variables say. The file says the same under the flags' names with `_` for `-`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Overrides {
    /// A configuration file (TOML) with any of the settings below, under their names with _ for -.
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8080].
    #[arg(long, env = "TIDINGS_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// How the service is reached from outside, for links [default: http://ADDRESS:PORT].
    #[arg(long, env = "TIDINGS_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Where everything is kept [default: ./tidings-data].
    #[arg(long, env = "TIDINGS_DATA_DIR", value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// Private networks that channels may reach all the same, as CIDR separated by commas, such as 10.1.0.0/16.
    /// Without it private, loopback and link-local addresses are refused.
    #[arg(long, env = "TIDINGS_ALLOW_TARGETS", value_name = "CIDR,…")]
    allow_targets: Option<String>,
    /// Let channels use http (not https) to any address; without it only to allowed targets.
    #[arg(long, env = "TIDINGS_ALLOW_HTTP", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_http: Option<bool>,
    /// Private networks whose endpoints may be watched all the same [default: those of --allow-targets].
    #[arg(long, env = "TIDINGS_ALLOW_WATCH_TARGETS", value_name = "CIDR,…")]
    allow_watch_targets: Option<String>,
    /// Hosts and ports that always answer, such as 1.1.1.1:443: when none of them does, a failed check is this machine's
    /// own fault and counts for nothing.
    #[arg(long, env = "TIDINGS_WATCH_REFERENCES", value_name = "HOST:PORT,…")]
    watch_references: Option<String>,
    /// The shortest interval between two checks of an endpoint, in seconds [default: 10].
    #[arg(long, env = "TIDINGS_WATCH_INTERVAL_SECONDS_MIN", value_name = "SECONDS")]
    watch_interval_seconds_min: Option<u32>,
    /// How many shared channels a workspace may have [default: 100].
    #[arg(long, env = "TIDINGS_CHANNELS_MAX", value_name = "NUMBER")]
    channels_max: Option<u32>,
    /// The SMTP server for mail: smtps://USER:PASSWORD@HOST or smtp://…?tls=required|opportunistic|none.
    /// Prefer the environment variable: flags are seen by others on the machine.
    #[arg(long, env = "TIDINGS_SMTP_URL", value_name = "URL", hide_env_values = true)]
    smtp_url: Option<String>,
    /// Whom mail is from, such as `Tidings <tidings@example.com>`.
    #[arg(long, env = "TIDINGS_MAIL_FROM", value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// What the signature header of run webhooks begins with [default: X-Mako].
    #[arg(long, env = "TIDINGS_RUN_HEADER_PREFIX", value_name = "PREFIX")]
    run_header_prefix: Option<String>,
    /// What the headers of use case webhooks begin with [default: X-MagOne].
    #[arg(long, env = "TIDINGS_WORKFLOW_HEADER_PREFIX", value_name = "PREFIX")]
    workflow_header_prefix: Option<String>,
    /// How long to finish what is being sent when told to end, in seconds [default: 20].
    #[arg(long, env = "TIDINGS_DRAIN_SECONDS", value_name = "SECONDS")]
    drain_seconds: Option<u64>,
    /// Which log lines to write, such as info, debug, or warn,tidings_engine=debug [default: info].
    #[arg(long, env = "TIDINGS_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How to write them: text or json [default: text].
    #[arg(long, env = "TIDINGS_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
    /// The API key of the workspace `default`: tdg_ and at least 32 characters; generated and shown once if not set.
    /// Prefer the environment variable: flags are seen by others on the machine.
    #[arg(long, env = "TIDINGS_API_KEY", value_name = "KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// The key that seals secrets: base64 of 32 bytes; made in the data directory if not set.
    /// Prefer the environment variable: flags are seen by others on the machine.
    #[arg(long, env = "TIDINGS_SECRET_KEY", value_name = "KEY", hide_env_values = true)]
    secret_key: Option<String>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// The configuration, checked.
pub(crate) struct Settings {
    pub listen: SocketAddr,
    /// None: the address that it listens on.
    pub public_url: Option<String>,
    pub data_dir: PathBuf,
    pub allow_targets: Vec<IpNet>,
    pub allow_http: bool,
    pub allow_watch_targets: Vec<IpNet>,
    pub watch_references: Vec<(String, u16)>,
    pub limits: SettingsLimits,
    pub mail: Option<Arc<RelayConfig>>,
    /// Whom mail is from, as it was said.
    pub mail_from: Option<String>,
    pub run_header_prefix: String,
    pub workflow_header_prefix: String,
    pub drain: Duration,
    pub log: String,
    pub log_format: LogFormat,
    pub api_key: Option<Secret>,
    pub secret_key: Option<Secret>,
}

impl Settings {
    /// Puts flags, environment and file together and checks them.
    ///
    /// # Errors
    /// What is wrong with which setting, and what would be right. Secrets are not quoted.
    pub(crate) fn resolve(overrides: Overrides) -> Result<Self> {
        let said = match &overrides.config {
            Some(path) => file::read(path)?.under(overrides),
            None => overrides,
        };
        let listen = said.listen.unwrap_or_else(|| "127.0.0.1:8080".into());
        let listen = listen
            .parse()
            .map_err(|_| anyhow!("listen: {listen:?} is no address and port, such as 127.0.0.1:8080 or [::]:8080"))?;
        Ok(Self {
            listen,
            public_url: said.public_url.map(public_url).transpose()?,
            data_dir: said.data_dir.unwrap_or_else(|| "tidings-data".into()),
            allow_watch_targets: match &said.allow_watch_targets {
                Some(list) => networks("allow-watch-targets", list)?,
                None => networks("allow-targets", said.allow_targets.as_deref().unwrap_or_default())?,
            },
            allow_targets: networks("allow-targets", said.allow_targets.as_deref().unwrap_or_default())?,
            watch_references: references(said.watch_references.as_deref().unwrap_or_default())?,
            limits: limits(said.channels_max, said.watch_interval_seconds_min)?,
            mail_from: said.mail_from.clone().filter(|from| !from.is_empty()),
            allow_http: said.allow_http.unwrap_or(false),
            mail: mail(said.smtp_url, said.mail_from)?,
            run_header_prefix: prefix("run-header-prefix", said.run_header_prefix, "X-Mako")?,
            workflow_header_prefix: prefix("workflow-header-prefix", said.workflow_header_prefix, "X-MagOne")?,
            drain: Duration::from_secs(said.drain_seconds.unwrap_or(20)),
            log: said.log.unwrap_or_else(|| "info".into()),
            log_format: log_format(said.log_format.as_deref())?,
            api_key: said.api_key.filter(|key| !key.is_empty()).map(api_key).transpose()?,
            secret_key: said.secret_key.filter(|key| !key.is_empty()).map(Secret::new),
        })
    }
}

fn public_url(url: String) -> Result<String> {
    let fits = (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(char::is_whitespace);
    if !fits {
        bail!("public-url: {url:?} is no http or https URL, such as https://tidings.example.com");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn networks(name: &str, list: &str) -> Result<Vec<IpNet>> {
    let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let single = || word.parse().map(|ip: std::net::IpAddr| IpNet::from(ip));
            word.parse::<IpNet>()
                .or_else(|_| single())
                .map_err(|_| anyhow!("{name}: {word:?} is no network, such as 10.1.0.0/16 or fd12::/48"))
        })
        .collect()
}

fn references(list: &str) -> Result<Vec<(String, u16)>> {
    let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let parts = word.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
            parts
                .filter(|(host, port)| !host.is_empty() && *port > 0)
                .map(|(host, port)| (host.trim_matches(['[', ']']).to_owned(), port))
                .ok_or_else(|| anyhow!("watch-references: {word:?} is no host and port, such as 1.1.1.1:443"))
        })
        .collect()
}

fn limits(channels_max: Option<u32>, interval_seconds_min: Option<u32>) -> Result<SettingsLimits> {
    let default = SettingsLimits::default();
    let interval_seconds_min = interval_seconds_min.unwrap_or(default.interval_seconds_min);
    if interval_seconds_min == 0 {
        bail!("watch-interval-seconds-min: must be at least 1");
    }
    Ok(SettingsLimits { channels_max: channels_max.unwrap_or(default.channels_max), interval_seconds_min })
}

fn mail(url: Option<String>, from: Option<String>) -> Result<Option<Arc<RelayConfig>>> {
    match (url.filter(|url| !url.is_empty()), from.filter(|from| !from.is_empty())) {
        (None, None) => Ok(None),
        (Some(_), None) => bail!("mail-from: must be set beside smtp-url, such as `Tidings <tidings@example.com>`"),
        (None, Some(_)) => {
            bail!("smtp-url: must be set beside mail-from, such as smtps://user:password@mail.example.com")
        }
        (Some(url), Some(from)) => {
            RelayConfig::parse(&url, &from).map(|mail| Some(Arc::new(mail))).map_err(|why| anyhow!("{why}"))
        }
    }
}

fn prefix(name: &str, said: Option<String>, default: &str) -> Result<String> {
    let prefix = said.unwrap_or_else(|| default.into());
    let fits = (1..=40).contains(&prefix.len())
        && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && prefix.starts_with(|first: char| first.is_ascii_alphabetic());
    if fits { Ok(prefix) } else { bail!("{name}: {prefix:?} is no start of a header's name, such as {default}") }
}

fn log_format(said: Option<&str>) -> Result<LogFormat> {
    match said {
        None | Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(other) => bail!("log-format: {other:?} is neither text nor json"),
    }
}

fn api_key(key: String) -> Result<Secret> {
    match validate_api_key(&key) {
        Some(why) => Err(anyhow!("{why}")).context("api-key (TIDINGS_API_KEY)"),
        None => Ok(Secret::new(key)),
    }
}

/// What the configuration comes to; of secrets only whether they are set.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = |list: &[IpNet]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let references: Vec<_> = self.watch_references.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
        let set = |is_set: bool, otherwise: &str| if is_set { "set".to_owned() } else { otherwise.to_owned() };
        let lines = [
            ("listen", self.listen.to_string()),
            ("public-url", self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen))),
            ("data-dir", self.data_dir.display().to_string()),
            ("allow-targets", or_none(networks(&self.allow_targets))),
            ("allow-watch-targets", or_none(networks(&self.allow_watch_targets))),
            ("watch-references", or_none(references.join(","))),
            ("watch-interval-seconds-min", self.limits.interval_seconds_min.to_string()),
            ("channels-max", self.limits.channels_max.to_string()),
            ("allow-http", self.allow_http.to_string()),
            ("smtp-url", set(self.mail.is_some(), "none: email channels need a server of their own")),
            ("mail-from", or_none(self.mail_from.clone().unwrap_or_default())),
            ("run-header-prefix", self.run_header_prefix.clone()),
            ("workflow-header-prefix", self.workflow_header_prefix.clone()),
            ("drain-seconds", self.drain.as_secs().to_string()),
            ("log", self.log.clone()),
            ("log-format", if self.log_format == LogFormat::Json { "json".into() } else { "text".into() }),
            ("api-key", set(self.api_key.is_some(), "made at the first start")),
            ("secret-key", set(self.secret_key.is_some(), "a file in the data directory")),
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
        let mut said = Overrides::default();
        change(&mut said);
        Settings::resolve(said)
    }

    #[test]
    fn nothing_said_is_enough() {
        let settings = resolve(|_| {}).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.public_url, None);
        assert!(settings.allow_targets.is_empty() && !settings.allow_http && settings.mail.is_none());
    }

    #[test]
    fn what_is_wrong_is_named_and_secrets_are_not_quoted() {
        type Change = fn(&mut Overrides);
        let wrong: [(Change, &str); 9] = [
            (|s| s.listen = Some("8080".into()), "listen"),
            (|s| s.allow_targets = Some("10.0.0.0/8,nonsense".into()), "allow-targets"),
            (|s| s.allow_watch_targets = Some("here".into()), "allow-watch-targets"),
            (|s| s.watch_references = Some("1.1.1.1".into()), "watch-references"),
            (|s| s.watch_interval_seconds_min = Some(0), "watch-interval-seconds-min"),
            (|s| s.public_url = Some("tidings.example.com".into()), "public-url"),
            (|s| s.log_format = Some("xml".into()), "log-format"),
            (|s| s.api_key = Some("tdg_hunter2".into()), "api-key"),
            (|s| s.smtp_url = Some("smtps://u:hunter2@h".into()), "mail-from"),
        ];
        for (change, name) in wrong {
            let error = format!("{:#}", resolve(change).err().expect(name));
            assert!(error.contains(name), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_may_be_told_may_be_watched_unless_it_is_said_otherwise() {
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
    fn the_report_shows_no_secret() {
        let settings = resolve(|s| {
            s.api_key = Some(format!("tdg_{}", "hunter2-".repeat(5)));
            s.secret_key = Some("hunter2".into());
        });
        assert!(!settings.unwrap().to_string().contains("hunter2"));
    }
}
