//! An email channel's `config`: `recipients`, and `smtp` if the channel has a mail server of its own.
//!
//! The same code reads a configuration when it is validated and when the channel is opened. Stored is what was entered,
//! in normalised spelling; defaults are not stored, so that they follow later edits of other fields.

use lettre::Address;
use serde_json::{Map, Value, json};
use tidings_domain::secret::Secret;
use tidings_domain::text::has_control;
use tidings_domain::violation::{Violation, Violations, pointer};

use super::address;
use super::server::{Credentials, Proof, Security, Server, parse_host};
use crate::config_reader::{MASK, REENTER_SECRET};
use crate::egress::tls::{self, TlsProfile};
use crate::{ChannelConfig, ChannelContext, Field};

/// Recipients per channel.
pub const RECIPIENTS_MAX: usize = 50;

/// For the user name and for the password.
const CREDENTIAL_BYTES_MAX: usize = 500;

/// For an OAuth token; Microsoft's have some thousand bytes.
const TOKEN_BYTES_MAX: usize = 8_000;

/// The keys in [`ChannelConfig::secrets`].
const PASSWORD: &str = "smtp.password";
const TOKEN: &str = "smtp.token";
/// Their names within `smtp`.
const PROOFS: [(&str, &str); 2] = [("password", PASSWORD), ("token", TOKEN)];

/// The violation if neither the instance nor the channel has a mail server.
pub(super) const NO_SERVER: &str = "this instance has no mail server: the operator must set TIDINGS_SMTP_URL and \
     TIDINGS_MAIL_FROM, or set smtp to use a mail server of your own";

const SMTP_KEYS: [&str; 7] = ["host", "port", "tls", "username", "password", "token", "from"];

/// The keys of `smtp.tls` where it is an object.
const TLS_KEYS: [&str; 3] = ["mode", "caCertificate", "serverName"];

/// The fields of `config`; fields of `smtp` with a dot.
pub(super) const FIELDS: &[Field] = &[
    Field { required: true, ..field("recipients", "The recipients: 1 to 50 addresses.", r#"["oncall@example.com"]"#) },
    field("smtp.host", "A mail server of your own; the default is the instance's.", "smtp.example.com"),
    field("smtp.port", "Its port; the default is 587, 465 or 25, depending on `tls`.", "587"),
    field(
        "smtp.tls",
        "`starttls` (the default: upgrades to TLS before any mail or password is sent), `tls` (TLS from the first byte; \
         the default on port 465), `opportunistic` (STARTTLS if it succeeds, else no encryption) or `none` (no \
         encryption, so not with a password). Or an object of `mode` (one of these), `caCertificate` (certificates in \
         PEM that are trusted instead of the system's authorities) and `serverName` (the name that the server's \
         certificate is for).",
        "starttls",
    ),
    field("smtp.username", "The user name, if the mail server requires one.", "alerts@example.com"),
    Field { secret: true, ..field(PASSWORD, "That user's password.", "correct horse battery staple") },
    Field {
        secret: true,
        ..field(TOKEN, "An OAuth 2.0 access token instead of a password, sent with XOAUTH2.", "ya29.a0AfH6SM")
    },
    field("smtp.from", "The sender: an address, or `Name <address>`.", "Alerts <alerts@example.com>"),
];

const fn field(key: &'static str, about: &'static str, example: &'static str) -> Field {
    Field { key, about, required: false, secret: false, example }
}

/// A parsed configuration.
pub(super) struct Settings {
    pub recipients: Vec<Address>,
    /// The channel's own server; `None` for the instance's.
    pub server: Option<Server>,
}

/// Validates `input` merged over `current`, and returns what to store.
pub(super) fn check(
    input: &Map<String, Value>,
    current: Option<&ChannelConfig>,
    context: &ChannelContext,
) -> Result<ChannelConfig, Violations> {
    let mut violations = unknown_keys(input, &["recipients", "smtp"], "");
    let merged = merge(input, current, &mut violations);
    let settings = read(&merged, &mut violations);
    match settings.as_ref().map(|settings| &settings.server) {
        Some(Some(server)) => {
            violations.extend(guard_violation(server, context));
            if redirects_credentials(server, input, current) {
                let proof = merged_proof(&merged).map_or("password", |(name, _)| name);
                violations.push(Violation::new(format!("/smtp/{proof}"), REENTER_SECRET));
            }
        }
        Some(None) if context.relay.is_none() => violations.push(Violation::new("/smtp", NO_SERVER)),
        _ => {}
    }
    match settings {
        Some(settings) if violations.is_empty() => Ok(to_stored(merged, &settings)),
        _ => Err(violations),
    }
}

/// Whether the stored password or token would be sent to another server than the one it was entered for.
fn redirects_credentials(server: &Server, input: &Map<String, Value>, current: Option<&ChannelConfig>) -> bool {
    let Some(current) = current.filter(|current| merged_proof(current).is_some()) else { return false };
    let given = |name: &str| input.get("smtp").and_then(|smtp| smtp.get(name)).and_then(Value::as_str);
    let is_new = PROOFS.into_iter().any(|(name, _)| given(name).is_some_and(|text| !keeps_secret(text)));
    if server.credentials.is_none() || is_new {
        return false;
    }
    let before = open(current).ok().and_then(|settings| settings.server);
    before.is_none_or(|before| (before.host, before.port) != (server.host.clone(), server.port))
}

/// Whether a password or token that was sent means the stored one: it is empty or the mask.
fn keeps_secret(text: &str) -> bool {
    text.is_empty() || text == MASK
}

/// The password or token of a configuration, with its name within `smtp`.
fn merged_proof(config: &ChannelConfig) -> Option<(&'static str, &Secret)> {
    PROOFS.into_iter().find_map(|(name, key)| config.secrets.get(key).map(|secret| (name, secret)))
}

/// Parses a stored configuration. The error describes all violations.
pub(super) fn open(stored: &ChannelConfig) -> Result<Settings, String> {
    let mut violations = Violations::new();
    match read(stored, &mut violations) {
        Some(settings) if violations.is_empty() => Ok(settings),
        _ => Err(violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")),
    }
}

fn unknown_keys(object: &Map<String, Value>, known: &[&str], at: &str) -> Violations {
    let unknown = object.keys().filter(|key| !known.contains(&key.as_str()));
    let violations = |key: &String| {
        Violation::new(pointer(key), format!("is not a known field; the fields are {}", known.join(", ")))
    };
    unknown.map(|key| violations(key).under(at)).collect()
}

/// Merges the input over the stored configuration.
fn merge(input: &Map<String, Value>, current: Option<&ChannelConfig>, violations: &mut Violations) -> ChannelConfig {
    let mut merged = current.cloned().unwrap_or_default();
    if let Some(recipients) = input.get("recipients") {
        merged.settings.insert("recipients".into(), recipients.clone());
    }
    match input.get("smtp") {
        None => {}
        Some(Value::Null) => {
            merged.settings.remove("smtp");
            remove_proofs(&mut merged);
        }
        Some(Value::Object(given)) => {
            violations.extend(unknown_keys(given, &SMTP_KEYS, "/smtp"));
            merge_smtp(given, &mut merged, violations);
        }
        Some(_) => violations.push(Violation::new("/smtp", "must be an object, or null for the instance's server")),
    }
    merged
}

fn merge_smtp(given: &Map<String, Value>, merged: &mut ChannelConfig, violations: &mut Violations) {
    let mut smtp = merged.settings.get("smtp").and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in given {
        match (key.as_str(), value) {
            ("username", Value::Null) => {
                smtp.remove("username");
                remove_proofs(merged);
            }
            ("password" | "token", _) => {}
            (_, Value::Null) => _ = smtp.remove(key),
            ("tls", Value::Object(given)) => {
                let mut tls = match smtp.remove(key) {
                    Some(Value::Object(stored)) => stored,
                    Some(mode) => Map::from_iter([("mode".to_owned(), mode)]),
                    None => Map::new(),
                };
                tls.extend(given.clone());
                smtp.insert(key.clone(), Value::Object(tls));
            }
            _ => _ = smtp.insert(key.clone(), value.clone()),
        }
    }
    merge_proofs(given, merged, violations);
    for (name, _) in PROOFS {
        smtp.remove(name);
    }
    merged.settings.insert("smtp".into(), Value::Object(smtp));
}

fn remove_proofs(config: &mut ChannelConfig) {
    for (_, key) in PROOFS {
        config.secrets.remove(key);
    }
}

/// Merges password and token: a new one replaces the other, too.
fn merge_proofs(given: &Map<String, Value>, merged: &mut ChannelConfig, violations: &mut Violations) {
    let mut new = Vec::new();
    for (name, key) in PROOFS {
        match given.get(name) {
            None => {}
            Some(Value::Null) => _ = merged.secrets.remove(key),
            Some(Value::String(text)) if keeps_secret(text) => {}
            Some(Value::String(text)) => new.push((key, Secret::new(text))),
            Some(_) => violations.push(Violation::new(format!("/smtp/{name}"), "must be a string")),
        }
    }
    if new.len() > 1 {
        violations.push(Violation::new("/smtp/token", "is instead of a password; set one of them"));
    }
    for (key, secret) in new {
        remove_proofs(merged);
        merged.secrets.insert(key.into(), secret);
    }
}

/// Parses a configuration; `None` only with a violation added.
fn read(stored: &ChannelConfig, violations: &mut Violations) -> Option<Settings> {
    let recipients = read_recipients(stored.settings.get("recipients"), violations);
    let server = match stored.settings.get("smtp").and_then(Value::as_object) {
        Some(smtp) => Some(read_smtp(smtp, merged_proof(stored), violations)?),
        None => None,
    };
    Some(Settings { recipients: recipients?, server })
}

fn read_recipients(value: Option<&Value>, violations: &mut Violations) -> Option<Vec<Address>> {
    let Some(Value::Array(list)) = value else {
        violations.push(Violation::new("/recipients", "must be a list of addresses, such as [\"oncall@example.com\"]"));
        return None;
    };
    if !(1..=RECIPIENTS_MAX).contains(&list.len()) {
        violations.push(Violation::new("/recipients", format!("must contain 1 to {RECIPIENTS_MAX} addresses")));
        return None;
    }
    let mut recipients = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        match value.as_str().ok_or_else(|| "must be a string".to_owned()).and_then(address::parse) {
            Ok(address) if recipients.contains(&address) => {}
            Ok(address) => recipients.push(address),
            Err(message) => violations.push(Violation::new(format!("/recipients/{index}"), message)),
        }
    }
    Some(recipients)
}

fn read_smtp(
    smtp: &Map<String, Value>,
    proof: Option<(&'static str, &Secret)>,
    violations: &mut Violations,
) -> Option<Server> {
    let profile = read_tls_profile(smtp.get("tls"), violations);
    let mut error = |key: &str, message: String| violations.push(Violation::new(format!("/smtp/{key}"), message));
    let host = required_text(smtp, "host").and_then(parse_host).map_err(|message| error("host", message)).ok();
    let from =
        required_text(smtp, "from").and_then(address::parse_mailbox).map_err(|message| error("from", message)).ok();
    let port = port(smtp.get("port")).map_err(|message| error("port", message)).ok();
    let (mode, mode_key) = match smtp.get("tls") {
        Some(Value::Object(tls)) => (tls.get("mode").filter(|mode| !mode.is_null()), "tls/mode"),
        mode => (mode, "tls"),
    };
    let security = port.and_then(|port| security(mode, port).map_err(|message| error(mode_key, message)).ok());
    let credentials = credentials(smtp.get("username"), proof).map_err(|(key, message)| error(key, message)).ok();
    match (security, &credentials) {
        (Some(Security::None), Some(Some(_))) => {
            error("tls", "none would send the password unencrypted; use starttls or tls".into());
        }
        (Some(Security::None), _) if profile.as_ref().is_some_and(|profile| *profile != TlsProfile::default()) => {
            error(
                "tls",
                "none uses no certificates; use starttls or tls, or leave out caCertificate and serverName".into(),
            );
        }
        (Some(Security::Opportunistic), Some(None))
            if profile.as_ref().is_some_and(|profile| *profile != TlsProfile::default()) =>
        {
            error("tls", "opportunistic verifies no certificates without a login; use starttls or tls".into());
        }
        _ => {}
    }
    let (security, port) = (security?, port?);
    Some(Server {
        host: host?,
        port: port.unwrap_or(security.default_port()),
        security,
        credentials: credentials?,
        tls: profile?,
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

/// The certificate settings in `smtp.tls`; `None` with a violation added.
fn read_tls_profile(tls: Option<&Value>, violations: &mut Violations) -> Option<TlsProfile> {
    let Some(Value::Object(tls)) = tls else { return Some(TlsProfile::default()) };
    let unknown = unknown_keys(tls, &TLS_KEYS, "/smtp/tls");
    let mut settings = tls.clone();
    settings.retain(|key, _| key != "mode" && TLS_KEYS.contains(&key.as_str()));
    let read = tls::read_settings(&Value::Object(settings), false);
    let is_known = unknown.is_empty();
    violations.extend(unknown);
    match read {
        Ok(profile) => Some(profile).filter(|_| is_known),
        Err(found) => {
            violations.extend(found.into_iter().map(|violation| violation.under("/smtp/tls")));
            None
        }
    }
}

fn port(value: Option<&Value>) -> Result<Option<u16>, String> {
    let Some(value) = value else { return Ok(None) };
    // `587.0` is a whole number, too.
    let whole = |value: &Value| value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as u64);
    let number = whole(value).and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
    number.map(Some).ok_or_else(|| "must be a number from 1 to 65535".into())
}

fn security(value: Option<&Value>, port: Option<u16>) -> Result<Security, String> {
    match (value.map(Value::as_str), port) {
        (None, Some(465)) | (Some(Some("tls")), _) => Ok(Security::Tls),
        (None, _) | (Some(Some("starttls")), _) => Ok(Security::StartTls),
        (Some(Some("opportunistic")), _) => Ok(Security::Opportunistic),
        (Some(Some("none")), _) => Ok(Security::None),
        _ => Err("must be tls, starttls, opportunistic or none".into()),
    }
}

/// The error names the key at fault.
fn credentials(
    username: Option<&Value>,
    proof: Option<(&'static str, &Secret)>,
) -> Result<Option<Credentials>, (&'static str, String)> {
    let fault = |text: &str, bytes_max: usize| {
        let is_invalid = text.len() > bytes_max || has_control(text);
        is_invalid.then(|| format!("must be at most {bytes_max} bytes, without control characters"))
    };
    let username = match username {
        None => "",
        Some(Value::String(username)) => username,
        Some(_) => return Err(("username", "must be a string".into())),
    };
    if let Some(fault) = fault(username, CREDENTIAL_BYTES_MAX) {
        return Err(("username", fault));
    }
    match proof {
        None if username.is_empty() => Ok(None),
        None => Err(("password", "is required with a user name (or a token)".into())),
        Some((name, _)) if username.is_empty() => Err(("username", format!("is required with a {name}"))),
        Some((name, secret)) => {
            let bytes_max = if name == "token" { TOKEN_BYTES_MAX } else { CREDENTIAL_BYTES_MAX };
            if let Some(fault) = fault(secret.expose(), bytes_max) {
                return Err((name, fault));
            }
            let make = if name == "token" { Proof::Token } else { Proof::Password };
            Ok(Some(Credentials { username: username.to_owned(), proof: make(secret.clone()) }))
        }
    }
}

/// The guard's objection to the host, if it is an address. Names are checked when they are resolved.
fn guard_violation(server: &Server, context: &ChannelContext) -> Option<Violation> {
    let address = server.host.parse().ok()?;
    let refused = context.egress.guard().check(address).err()?;
    Some(Violation::new("/smtp/host", refused.to_string()))
}

/// The configuration to store: as entered, in normalised spelling, the password apart.
fn to_stored(mut merged: ChannelConfig, settings: &Settings) -> ChannelConfig {
    let recipients: Vec<String> = settings.recipients.iter().map(Address::to_string).collect();
    merged.settings.insert("recipients".into(), json!(recipients));
    let smtp = merged.settings.get_mut("smtp").and_then(Value::as_object_mut);
    if let (Some(server), Some(smtp)) = (&settings.server, smtp) {
        smtp.insert("host".into(), json!(server.host));
        smtp.insert("from".into(), json!(address::format_mailbox(&server.from)));
        if let Some(credentials) = &server.credentials {
            let name = if matches!(credentials.proof, Proof::Token(_)) { "token" } else { "password" };
            smtp.insert(name.into(), json!(MASK));
        } else {
            smtp.remove("username");
        }
        if let Some(tls) = smtp.get_mut("tls").and_then(Value::as_object_mut) {
            let settings = server.tls.settings();
            tls.retain(|key, value| key == "mode" && !value.is_null());
            tls.extend(settings.ca_certificate.map(|pem| ("caCertificate".to_owned(), json!(pem))));
            tls.extend(settings.server_name.map(|name| ("serverName".to_owned(), json!(name))));
        }
    }
    merged
}

#[cfg(test)]
mod tests;
