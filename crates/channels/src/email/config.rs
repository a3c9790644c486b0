//! An email channel's configuration: `recipients`, and `smtp` where the channel has a mail server of its own.
//!
//! Checked here before it is stored, and read back here, by the same code, when the channel is opened. What is kept
//! is what was given, in one spelling; defaults are not written down, so that an edit of one field moves them along.

use lettre::Address;
use serde_json::{Map, Value, json};
use tidings_domain::secret::Secret;
use tidings_domain::text::has_control;
use tidings_domain::violation::{Violation, Violations, pointer};

use super::address;
use super::server::{Credentials, Security, Server, parse_host};
use crate::config_reader::{GIVE_AGAIN, MASK};
use crate::{ChannelConfig, ChannelContext, Field};

/// How many recipients a channel may have.
pub const RECIPIENTS_MAX: usize = 50;

/// The longest user name and the longest password, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 500;

/// The password's key in [`ChannelConfig::secrets`].
const PASSWORD: &str = "smtp.password";

/// What is said where neither the instance nor the channel has a mail server.
pub(super) const NO_SERVER: &str = "this instance has no mail server: its operator has to set TIDINGS_SMTP_URL and \
     TIDINGS_MAIL_FROM; or give smtp, a server of your own";

/// The keys of `smtp`.
const SMTP_KEYS: [&str; 6] = ["host", "port", "tls", "username", "password", "from"];

/// The fields of `config`; those within `smtp` with a dot.
pub(super) const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field("recipients", "Who gets the mail: 1 to 50 addresses.", r#"["oncall@example.com"]"#)
    },
    field("smtp.host", "A mail server of your own; without it the instance's is used.", "smtp.example.com"),
    field("smtp.port", "Its port; without it 587, 465 or 25, as `tls` says.", "587"),
    field(
        "smtp.tls",
        "`starttls` (the default: begins in the clear, and says nothing before TLS), `tls` (from the first byte; the \
         default on port 465) or `none` (all in the clear, so not with a password).",
        "starttls",
    ),
    field("smtp.username", "Who we are to the mail server, if it asks.", "alerts@example.com"),
    Field { secret: true, ..field(PASSWORD, "That user's password.", "correct horse battery staple") },
    field("smtp.from", "The sender: an address, or `Name <address>`.", "Alerts <alerts@example.com>"),
];

const fn field(key: &'static str, about: &'static str, example: &'static str) -> Field {
    Field { key, about, required: false, secret: false, example }
}

/// A configuration, read.
pub(super) struct Settings {
    /// Who gets the mail.
    pub recipients: Vec<Address>,
    /// The channel's own server; none: the instance's.
    pub server: Option<Server>,
}

/// Checks `input`, merged over `current`, and gives what is to be kept.
pub(super) fn check(
    input: &Map<String, Value>,
    current: Option<&ChannelConfig>,
    environment: &ChannelContext,
) -> Result<ChannelConfig, Violations> {
    let mut wrong = unknown_keys(input, &["recipients", "smtp"], "");
    let merged = merge(input, current, &mut wrong);
    let settings = read(&merged, &mut wrong);
    match settings.as_ref().map(|settings| &settings.server) {
        Some(Some(server)) => {
            wrong.extend(guarded(server, environment));
            if takes_password_elsewhere(server, input, current) {
                wrong.push(Violation::new("/smtp/password", GIVE_AGAIN));
            }
        }
        Some(None) if environment.mail.is_none() => wrong.push(Violation::new("/smtp", NO_SERVER)),
        _ => {}
    }
    match settings {
        Some(settings) if wrong.is_empty() => Ok(kept(merged, &settings)),
        _ => Err(wrong),
    }
}

/// Whether the password that is kept would be told to another server than the one that it was given for.
fn takes_password_elsewhere(server: &Server, input: &Map<String, Value>, current: Option<&ChannelConfig>) -> bool {
    let Some(current) = current.filter(|current| current.secrets.contains_key(PASSWORD)) else { return false };
    let given = input.get("smtp").and_then(|smtp| smtp.get("password")).and_then(Value::as_str);
    if server.credentials.is_none() || given.is_some_and(|text| !keeps(text)) {
        return false;
    }
    let before = open(current).ok().and_then(|settings| settings.server);
    before.is_none_or(|before| (before.host, before.port) != (server.host.clone(), server.port))
}

/// Whether a password that comes in says that the kept one stays: it is empty, or masked as it was shown.
fn keeps(password: &str) -> bool {
    password.is_empty() || password == MASK
}

/// Reads a stored configuration. The error says in words what is wrong with it.
pub(super) fn open(stored: &ChannelConfig) -> Result<Settings, String> {
    let mut wrong = Violations::new();
    match read(stored, &mut wrong) {
        Some(settings) if wrong.is_empty() => Ok(settings),
        _ => Err(wrong.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")),
    }
}

fn unknown_keys(object: &Map<String, Value>, known: &[&str], at: &str) -> Violations {
    let unknown = object.keys().filter(|key| !known.contains(&key.as_str()));
    let wrong = |key: &String| Violation::new(pointer(key), format!("is unknown; known are {}", known.join(", ")));
    unknown.map(|key| wrong(key).under(at)).collect()
}

/// Lays the input over what is kept now.
fn merge(input: &Map<String, Value>, current: Option<&ChannelConfig>, wrong: &mut Violations) -> ChannelConfig {
    let mut merged = current.cloned().unwrap_or_default();
    if let Some(recipients) = input.get("recipients") {
        merged.settings.insert("recipients".into(), recipients.clone());
    }
    match input.get("smtp") {
        None => {}
        Some(Value::Null) => {
            merged.settings.remove("smtp");
            merged.secrets.remove(PASSWORD);
        }
        Some(Value::Object(given)) => {
            wrong.extend(unknown_keys(given, &SMTP_KEYS, "/smtp"));
            merge_smtp(given, &mut merged, wrong);
        }
        Some(_) => wrong.push(Violation::new("/smtp", "must be an object, or null for the instance's server")),
    }
    merged
}

fn merge_smtp(given: &Map<String, Value>, merged: &mut ChannelConfig, wrong: &mut Violations) {
    let mut smtp = merged.settings.get("smtp").and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in given {
        match (key.as_str(), value) {
            ("username", Value::Null) => {
                smtp.remove("username");
                merged.secrets.remove(PASSWORD);
            }
            ("password", Value::Null) => _ = merged.secrets.remove(PASSWORD),
            ("password", Value::String(text)) if keeps(text) => {}
            ("password", Value::String(text)) => _ = merged.secrets.insert(PASSWORD.into(), Secret::new(text)),
            ("password", _) => wrong.push(Violation::new("/smtp/password", "must be a string")),
            (_, Value::Null) => _ = smtp.remove(key),
            _ => _ = smtp.insert(key.clone(), value.clone()),
        }
    }
    smtp.remove("password");
    merged.settings.insert("smtp".into(), Value::Object(smtp));
}

/// Reads a configuration; none only if something was found wrong.
fn read(stored: &ChannelConfig, wrong: &mut Violations) -> Option<Settings> {
    let recipients = read_recipients(stored.settings.get("recipients"), wrong);
    let server = match stored.settings.get("smtp").and_then(Value::as_object) {
        Some(smtp) => Some(read_smtp(smtp, stored.secrets.get(PASSWORD), wrong)?),
        None => None,
    };
    Some(Settings { recipients: recipients?, server })
}

fn read_recipients(value: Option<&Value>, wrong: &mut Violations) -> Option<Vec<Address>> {
    let Some(Value::Array(list)) = value else {
        wrong.push(Violation::new("/recipients", "must be a list of addresses, such as [\"oncall@example.com\"]"));
        return None;
    };
    if !(1..=RECIPIENTS_MAX).contains(&list.len()) {
        wrong.push(Violation::new("/recipients", format!("must hold 1 to {RECIPIENTS_MAX} addresses")));
        return None;
    }
    let mut recipients = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        match value.as_str().ok_or_else(|| "must be a string".to_owned()).and_then(address::parse) {
            Ok(address) if recipients.contains(&address) => {}
            Ok(address) => recipients.push(address),
            Err(words) => wrong.push(Violation::new(format!("/recipients/{index}"), words)),
        }
    }
    Some(recipients)
}

fn read_smtp(smtp: &Map<String, Value>, password: Option<&Secret>, wrong: &mut Violations) -> Option<Server> {
    let mut note = |key: &str, words: String| wrong.push(Violation::new(format!("/smtp/{key}"), words));
    let host = required_text(smtp, "host").and_then(parse_host).map_err(|words| note("host", words)).ok();
    let from = required_text(smtp, "from").and_then(address::parse_mailbox).map_err(|words| note("from", words)).ok();
    let port = port(smtp.get("port")).map_err(|words| note("port", words)).ok();
    let security = port.and_then(|port| security(smtp.get("tls"), port).map_err(|words| note("tls", words)).ok());
    let credentials = credentials(smtp.get("username"), password).map_err(|(key, words)| note(key, words)).ok();
    if security == Some(Security::None) && matches!(credentials, Some(Some(_))) {
        note("tls", "with none the password would be sent in the clear; use starttls or tls".into());
    }
    let (security, port) = (security?, port?);
    Some(Server {
        host: host?,
        port: port.unwrap_or(security.default_port()),
        security,
        credentials: credentials?,
        from: from?,
        trusted: false,
    })
}

fn required_text<'a>(smtp: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    match smtp.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::String(_)) | None => Err("is required for a server of your own".into()),
        Some(_) => Err("must be a string".into()),
    }
}

fn port(value: Option<&Value>) -> Result<Option<u16>, String> {
    let Some(value) = value else { return Ok(None) };
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
    number.map(Some).ok_or_else(|| "must be a number from 1 to 65535".into())
}

fn security(value: Option<&Value>, port: Option<u16>) -> Result<Security, String> {
    match (value.map(Value::as_str), port) {
        (None, Some(465)) | (Some(Some("tls")), _) => Ok(Security::Tls),
        (None, _) | (Some(Some("starttls")), _) => Ok(Security::StartTls),
        (Some(Some("none")), _) => Ok(Security::None),
        _ => Err("must be tls, starttls or none".into()),
    }
}

/// The error names the key at fault.
fn credentials(
    username: Option<&Value>,
    password: Option<&Secret>,
) -> Result<Option<Credentials>, (&'static str, String)> {
    let unfit = |text: &str| text.len() > CREDENTIAL_BYTES_MAX || has_control(text);
    let describe = || format!("must be at most {CREDENTIAL_BYTES_MAX} bytes, without control characters");
    match (username, password) {
        (None, None) => Ok(None),
        (Some(Value::String(username)), None) if username.is_empty() => Ok(None),
        (Some(Value::String(username)), _) if unfit(username) => Err(("username", describe())),
        (Some(Value::String(_)), None) => Err(("password", "is required with a user name".into())),
        (Some(Value::String(_)), Some(password)) if unfit(password.expose()) => Err(("password", describe())),
        (Some(Value::String(username)), Some(password)) if !username.is_empty() => {
            Ok(Some(Credentials { username: username.clone(), password: password.clone() }))
        }
        (None | Some(Value::String(_)), Some(_)) => Err(("username", "is required with a password".into())),
        (Some(_), _) => Err(("username", "must be a string".into())),
    }
}

/// What the address guard has against the host, if it is an address. Names are judged when they are resolved.
fn guarded(server: &Server, environment: &ChannelContext) -> Option<Violation> {
    let address = server.host.parse().ok()?;
    let refused = environment.egress.guard().check(address).err()?;
    Some(Violation::new("/smtp/host", refused.to_string()))
}

/// What is to be kept: what was given, in one spelling, with the password apart.
fn kept(mut merged: ChannelConfig, settings: &Settings) -> ChannelConfig {
    let recipients: Vec<String> = settings.recipients.iter().map(Address::to_string).collect();
    merged.settings.insert("recipients".into(), json!(recipients));
    let smtp = merged.settings.get_mut("smtp").and_then(Value::as_object_mut);
    if let (Some(server), Some(smtp)) = (&settings.server, smtp) {
        smtp.insert("host".into(), json!(server.host));
        smtp.insert("from".into(), json!(address::show_mailbox(&server.from)));
        if server.credentials.is_some() {
            smtp.insert("password".into(), json!(MASK));
        } else {
            smtp.remove("username");
        }
    }
    merged
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
