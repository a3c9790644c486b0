//! The instance's own mail server, as the operator sets it with `TIDINGS_SMTP_URL` and `TIDINGS_MAIL_FROM`.
//!
//! It is trusted: the address guard does not apply, so that a relay on the same machine or network can be used.

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use tidings_domain::secret::Secret;
use tidings_domain::text::has_control;
use url::Url;

use super::address;
use super::server::{Credentials, Proof, Security, Server, parse_host};
use crate::egress::TlsProfile;

/// The URL's syntax, for messages.
const URL_SYNTAX: &str =
    "expected smtps://user:password@host[:port] or smtp://[user:password@]host[:port]?tls=required|opportunistic|none";

/// The instance's own SMTP server and the sender of its mails.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    pub(super) server: Server,
}

impl RelayConfig {
    /// Parses `TIDINGS_SMTP_URL` and `TIDINGS_MAIL_FROM`. The error says what is expected and quotes no password.
    ///
    /// `smtps` is TLS from the first byte (port 465). `smtp` starts unencrypted: with `tls=required`, the default,
    /// STARTTLS is mandatory (port 587); with `tls=opportunistic` it is used if the server offers it, without verifying the
    /// certificate unless there is a login, with `tls=none` never (port 25). User name and password are percent-encoded.
    pub fn parse(url: &str, from: &str) -> Result<Self, String> {
        let from = address::parse_mailbox(from).map_err(|error| {
            format!("TIDINGS_MAIL_FROM: {error}; use the form tidings@example.com or Tidings <tidings@example.com>")
        })?;
        match parse_url(url, from) {
            Ok(server) => Ok(Self { server }),
            Err(error) => Err(format!("TIDINGS_SMTP_URL: {error}")),
        }
    }
}

fn parse_url(text: &str, from: Mailbox) -> Result<Server, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("{error}; {URL_SYNTAX}"))?;
    let security = security(&url)?;
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err(format!("only ?tls=… may follow the port; {URL_SYNTAX}"));
    }
    let credentials = credentials(&url)?;
    if credentials.is_some() && security == Security::None {
        return Err("tls=none would send the password unencrypted; use tls=required".into());
    }
    Ok(Server {
        host: parse_host(url.host_str().unwrap_or_default())?,
        port: url.port().unwrap_or(security.default_port()),
        security,
        credentials,
        tls: TlsProfile::default(),
        from,
        trusted: true,
    })
}

fn security(url: &Url) -> Result<Security, String> {
    let mut mode = None;
    for (key, value) in url.query_pairs() {
        if key != "tls" || mode.is_some() {
            return Err(format!("the only allowed parameter is tls, once; {URL_SYNTAX}"));
        }
        mode = Some(value);
    }
    match (url.scheme(), mode.as_deref()) {
        ("smtps", None) => Ok(Security::Tls),
        ("smtps", Some(_)) => Err("smtps always uses TLS; remove ?tls=".into()),
        ("smtp", None | Some("required")) => Ok(Security::StartTls),
        ("smtp", Some("opportunistic")) => Ok(Security::Opportunistic),
        ("smtp", Some("none")) => Ok(Security::None),
        ("smtp", Some(_)) => Err("tls must be required, opportunistic or none".into()),
        _ => Err(URL_SYNTAX.into()),
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, String> {
    let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) if !has_control(&text) => Ok(text.into_owned()),
        _ => Err("user name and password must be percent-encoded UTF-8 without control characters".to_owned()),
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None | Some("")) => Err("set both user name and password, or neither".into()),
        (username, Some(password)) => {
            let proof = Proof::Password(Secret::new(decode(password)?));
            Ok(Some(Credentials { username: decode(username)?, proof }))
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
    fn parse_port_and_security_follow_the_scheme() {
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
            assert_eq!(address::format_mailbox(&server.from), FROM);
        }
    }

    #[test]
    fn parse_credentials_are_percent_decoded() {
        let credentials = parse("smtps://mail%40example.com:p%40ss%3A%2F%C3%A4@mail.example.com").unwrap().credentials;
        let credentials = credentials.unwrap();
        assert_eq!(credentials.username, "mail@example.com");
        assert_eq!(credentials.proof, Proof::Password(Secret::new("p@ss:/ä")));
    }

    #[test]
    fn parse_errors_do_not_quote_the_password() {
        for (url, message) in [
            ("", "expected smtps://"),
            ("mail.example.com", "expected smtps://"),
            ("https://u:hunter2@mail.example.com", "expected smtps://"),
            ("smtps://u:hunter2@", "host"),
            ("smtps://u:hunter2@mail.example.com:99999", "port"),
            ("smtps://u:hunter2@mail.example.com/x", "may follow the port"),
            ("smtps://u:hunter2@mail.example.com?tls=required", "always uses TLS"),
            ("smtp://u:hunter2@mail.example.com?tls=maybe", "required, opportunistic or none"),
            ("smtp://u:hunter2@mail.example.com?tls=required&x=1", "the only allowed parameter"),
            ("smtp://u:hunter2@mail.example.com?tls=none", "unencrypted"),
            ("smtp://:hunter2@mail.example.com", "both"),
            ("smtp://u@mail.example.com", "both"),
            ("smtps://u:hunter2%00@mail.example.com", "percent-encoded"),
            ("smtps://u:hunter2%ff@mail.example.com", "percent-encoded"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.starts_with("TIDINGS_SMTP_URL: ") && error.contains(message), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = RelayConfig::parse("smtps://u:hunter2@mail.example.com", "Tidings").unwrap_err();
        assert!(error.starts_with("TIDINGS_MAIL_FROM: ") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn debug_output_hides_the_password() {
        let mail = RelayConfig::parse("smtps://u:hunter2@mail.example.com", FROM).unwrap();
        assert!(!format!("{mail:?}").contains("hunter2"));
    }
}
