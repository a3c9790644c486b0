//! The instance's own mail server, as its operator names it in `TIDINGS_SMTP_URL` and `TIDINGS_MAIL_FROM`.
//!
//! It is trusted: the address guard is not asked about it, so that a relay on the same machine or network will do.

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use tidings_domain::secret::Secret;
use tidings_domain::text::has_control;
use url::Url;

use super::address;
use super::server::{Credentials, Security, Server, parse_host};

/// What the URL must look like, for messages.
const FORM: &str =
    "expected smtps://user:password@host[:port] or smtp://[user:password@]host[:port]?tls=required|opportunistic|none";

/// The instance's own SMTP server and the sender of its mails.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    pub(super) server: Server,
}

impl RelayConfig {
    /// Reads `TIDINGS_SMTP_URL` and `TIDINGS_MAIL_FROM`. The error says what would be right and quotes no password.
    ///
    /// `smtps` is TLS from the first byte (port 465). `smtp` begins in the clear: with `tls=required`, the default,
    /// nothing is said before STARTTLS (port 587); with `tls=opportunistic` STARTTLS is used where the server offers
    /// it, and with `tls=none` never (port 25). User name and password are percent-encoded.
    pub fn parse(url: &str, from: &str) -> Result<Self, String> {
        let from = address::parse_mailbox(from).map_err(|wrong| {
            format!("TIDINGS_MAIL_FROM: {wrong}; give tidings@example.com or Tidings <tidings@example.com>")
        })?;
        match parse_url(url, from) {
            Ok(server) => Ok(Self { server }),
            Err(wrong) => Err(format!("TIDINGS_SMTP_URL: {wrong}")),
        }
    }
}

fn parse_url(text: &str, from: Mailbox) -> Result<Server, String> {
    let url = Url::parse(text.trim()).map_err(|wrong| format!("{wrong}; {FORM}"))?;
    let security = security(&url)?;
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err(format!("nothing may follow the port but ?tls=…; {FORM}"));
    }
    let credentials = credentials(&url)?;
    if credentials.is_some() && security == Security::None {
        return Err("with tls=none the password would be sent in the clear; use tls=required".into());
    }
    Ok(Server {
        host: parse_host(url.host_str().unwrap_or_default())?,
        port: url.port().unwrap_or(security.default_port()),
        security,
        credentials,
        from,
        trusted: true,
    })
}

fn security(url: &Url) -> Result<Security, String> {
    let mut mode = None;
    for (key, value) in url.query_pairs() {
        if key != "tls" || mode.is_some() {
            return Err(format!("the only parameter is tls, once; {FORM}"));
        }
        mode = Some(value);
    }
    match (url.scheme(), mode.as_deref()) {
        ("smtps", None) => Ok(Security::Tls),
        ("smtps", Some(_)) => Err("smtps is always TLS; leave ?tls= away".into()),
        ("smtp", None | Some("required")) => Ok(Security::StartTls),
        ("smtp", Some("opportunistic")) => Ok(Security::Opportunistic),
        ("smtp", Some("none")) => Ok(Security::None),
        ("smtp", Some(_)) => Err("tls must be required, opportunistic or none".into()),
        _ => Err(FORM.into()),
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, String> {
    let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) if !has_control(&text) => Ok(text.into_owned()),
        _ => Err("user name and password must be percent-encoded UTF-8 without control characters".to_owned()),
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None | Some("")) => Err("give both user name and password, or neither".into()),
        (username, Some(password)) => {
            Ok(Some(Credentials { username: decode(username)?, password: Secret::new(decode(password)?) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "Tidings <tidings@example.com>";

    fn parse(url: &str) -> Result<Server, String> {
        RelayConfig::parse(url, FROM).map(|mail| mail.server)
    }

    #[test]
    fn ports_and_security_follow_the_scheme() {
        for (url, host, port, security) in [
            ("smtps://mail.example.com", "mail.example.com", 465, Security::Tls),
            ("smtps://mail.example.com:4650/", "mail.example.com", 4650, Security::Tls),
            ("smtp://mail.example.com", "mail.example.com", 587, Security::StartTls),
            ("smtp://Mail.Example.com?tls=required", "mail.example.com", 587, Security::StartTls),
            ("smtp://127.0.0.1?tls=opportunistic", "127.0.0.1", 25, Security::Opportunistic),
            ("smtp://[::1]:2525?tls=none", "::1", 2525, Security::None),
        ] {
            let server = parse(url).unwrap();
            assert_eq!((server.host.as_str(), server.port, server.security), (host, port, security), "{url}");
            assert!(server.trusted && server.credentials.is_none());
            assert_eq!(address::show_mailbox(&server.from), FROM);
        }
    }

    #[test]
    fn credentials_are_percent_decoded() {
        let credentials = parse("smtps://mail%40example.com:p%40ss%3A%2F%C3%A4@mail.example.com").unwrap().credentials;
        let credentials = credentials.unwrap();
        assert_eq!(credentials.username, "mail@example.com");
        assert_eq!(credentials.password, Secret::new("p@ss:/ä"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, words) in [
            ("", "expected smtps://"),
            ("mail.example.com", "expected smtps://"),
            ("https://u:hunter2@mail.example.com", "expected smtps://"),
            ("smtps://u:hunter2@", "host"),
            ("smtps://u:hunter2@mail.example.com:99999", "port"),
            ("smtps://u:hunter2@mail.example.com/x", "nothing may follow"),
            ("smtps://u:hunter2@mail.example.com?tls=required", "always TLS"),
            ("smtp://u:hunter2@mail.example.com?tls=maybe", "required, opportunistic or none"),
            ("smtp://u:hunter2@mail.example.com?tls=required&x=1", "the only parameter"),
            ("smtp://u:hunter2@mail.example.com?tls=none", "in the clear"),
            ("smtp://:hunter2@mail.example.com", "both"),
            ("smtp://u@mail.example.com", "both"),
            ("smtps://u:hunter2%00@mail.example.com", "percent-encoded"),
            ("smtps://u:hunter2%ff@mail.example.com", "percent-encoded"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.starts_with("TIDINGS_SMTP_URL: ") && error.contains(words), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = RelayConfig::parse("smtps://u:hunter2@mail.example.com", "Tidings").unwrap_err();
        assert!(error.starts_with("TIDINGS_MAIL_FROM: ") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_password_is_not_printed() {
        let mail = RelayConfig::parse("smtps://u:hunter2@mail.example.com", FROM).unwrap();
        assert!(!format!("{mail:?}").contains("hunter2"));
    }
}
