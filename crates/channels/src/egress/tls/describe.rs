//! Failed handshakes in words.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};
use tidings_domain::check::Certificate;
use tidings_domain::text::truncate_chars;

use crate::egress::certificate::CertificateInfo;

/// The longest list of certificate names in a message, in characters.
const NAMES_CHARS_MAX: usize = 120;

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TlsError {
    /// Names the server and says what is wrong.
    pub message: String,
    /// The server's certificate, if that is the reason.
    pub certificate: Option<Certificate>,
    /// The certificate is of no known authority: it would be accepted if the user gave it in the `caCertificate` of this
    /// target. False if the user gave one.
    pub is_unknown_authority: bool,
}

impl TlsError {
    pub(super) fn new(message: String) -> Self {
        Self { message, certificate: None, is_unknown_authority: false }
    }

    /// The error of a handshake. rustls wraps its own error in the I/O error.
    pub(in crate::egress) fn from_io(label: &str, error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))))
                if other.is::<CertificateProblem>() =>
            {
                // Checked by the guard.
                let Some(problem) = other.downcast_ref::<CertificateProblem>() else { return Self::new(label.into()) };
                Self {
                    message: format!("TLS with {label} failed: its certificate {problem}"),
                    certificate: problem.info.as_ref().map(|info| info.certificate.clone()),
                    is_unknown_authority: problem.is_untrusted() && !problem.has_own_authorities,
                }
            }
            Some(error) => Self::new(format!("TLS with {label} failed: {}", describe(error))),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    Self::new(format!("{label} closed the connection during the TLS handshake"))
                }
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Self::new(format!("{label} reset the connection during the TLS handshake"))
                }
                kind => Self::new(format!("TLS with {label} failed: {kind}")),
            },
        }
    }

    /// The message, and in which field the user can make the certificate trusted, if that would help.
    pub fn message_naming(&self, field: &str) -> String {
        if !self.is_unknown_authority {
            return self.message.clone();
        }
        format!("{}; if it is your own, give it in {field}", self.message)
    }
}

/// What is wrong with a certificate, in the form in which it passes through rustls. Displayed, it completes a sentence
/// whose subject is the certificate.
#[derive(Debug)]
pub(super) struct CertificateProblem {
    pub reason: CertificateError,
    /// `None` if it cannot be parsed.
    pub info: Option<CertificateInfo>,
    /// Whether the user gave certificates to trust.
    pub has_own_authorities: bool,
}

impl CertificateProblem {
    fn is_self_signed(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.is_self_signed)
    }

    /// Whether it would be accepted if it were given as trusted.
    fn is_untrusted(&self) -> bool {
        use CertificateError::{
            BadEncoding, BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidForName,
            NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked, UnknownIssuer,
        };
        match &self.reason {
            UnknownIssuer => true,
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => false,
            NotValidForName | NotValidForNameContext { .. } | Revoked | BadEncoding => false,
            InvalidPurpose | InvalidPurposeContext { .. } | BadSignature => self.is_self_signed(),
            // Such as a certificate that may sign others (`CA:TRUE`): a self-signed one has to be trusted first.
            _ => self.is_self_signed(),
        }
    }
}

impl std::error::Error for CertificateProblem {}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CertificateError::{
            BadEncoding, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidForName,
            NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked, UnknownIssuer,
        };
        let date =
            |at: tidings_domain::time::Timestamp| at.to_string().split('T').next().unwrap_or_default().to_owned();
        match (&self.reason, &self.info) {
            (Expired | ExpiredContext { .. }, Some(info)) => {
                write!(f, "expired on {}", date(info.certificate.not_after))
            }
            (Expired | ExpiredContext { .. }, None) => f.write_str("has expired"),
            (NotValidYet | NotValidYetContext { .. }, Some(info)) => {
                write!(f, "is not valid yet (not before {})", date(info.not_before))
            }
            (NotValidYet | NotValidYetContext { .. }, None) => f.write_str("is not valid yet"),
            (NotValidForNameContext { presented, .. }, _) if !presented.is_empty() => {
                let names: Vec<_> = presented.iter().map(|name| strip_name_wrapper(name)).collect();
                let names = truncate_chars(&names.join(", "), NAMES_CHARS_MAX);
                write!(f, "is for another name ({})", names.replace(char::is_control, "\u{fffd}"))
            }
            (NotValidForNameContext { .. }, _) => {
                f.write_str("names no host (its subject alternative names are missing; its common name does not count)")
            }
            (NotValidForName, _) => f.write_str("is for another name"),
            (Revoked, _) => f.write_str("is revoked"),
            (BadEncoding, _) => f.write_str("is malformed"),
            _ if self.is_self_signed() && self.has_own_authorities => {
                f.write_str("is self-signed, and not the one that was given as trusted")
            }
            _ if self.is_self_signed() => f.write_str("is self-signed, not signed by a known authority"),
            (UnknownIssuer, info) => {
                f.write_str("is from an unknown issuer")?;
                if let Some(info) = info {
                    write!(f, " ({})", info.certificate.issuer)?;
                }
                f.write_str(match self.has_own_authorities {
                    true => ", not signed by the authority that was given as trusted",
                    false => ", not signed by a known authority",
                })
            }
            (InvalidPurpose | InvalidPurposeContext { .. }, _) => f.write_str("is not meant for servers"),
            (other, _) => write!(f, "is invalid ({other})"),
        }
    }
}

/// `example.com` from `DnsName("example.com")`, which is how webpki formats names.
fn strip_name_wrapper(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')').trim_matches('"'))
}

/// Why TLS failed, if an error or one of its sources is one of TLS: a clause about the server, such as `it asks for a client
/// certificate`. Some servers end the connection only after the handshake.
pub fn describe_tls_error(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    // `io::Error::source` skips the error that it wraps and returns that one's source, so it is looked up here.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let found = error.downcast_ref().or_else(|| inner?.downcast_ref::<rustls::Error>());
    found.map(describe).or_else(|| describe_tls_error(error.source()?))
}

const NO_VERSION: &str = "it supports neither TLS 1.2 nor 1.3, and older versions are not secure";

/// The reason, as a clause about the server.
fn describe(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(reason) => format!("its certificate is invalid ({reason})"),
        rustls::Error::InvalidMessage(_) => "its response is not TLS".into(),
        rustls::Error::AlertReceived(alert) => describe_alert(*alert),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => NO_VERSION.into(),
        rustls::Error::PeerIncompatible(_) => "it has no cipher or algorithm in common with Tidings".into(),
        rustls::Error::PeerMisbehaved(_) => "it breaks the rules of the protocol".into(),
        rustls::Error::NoCertificatesPresented => "it presented no certificate".into(),
        other => other.to_string(),
    }
}

/// Alerts are how a server says why it ends the handshake (RFC 8446, 6.2).
fn describe_alert(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::ProtocolVersion => return NO_VERSION.into(),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it has no cipher or algorithm in common with Tidings, or asks for a client certificate"
        }
        AlertDescription::UnrecognisedName => "it does not serve this name",
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate | AlertDescription::UnknownCA => {
            "it asks for a client certificate"
        }
        AlertDescription::InternalError => "it had an internal error",
        AlertDescription::AccessDenied => "it denied access",
        AlertDescription::CloseNotify => "it closed the connection",
        _ => "it ended the handshake",
    };
    format!("{why} (alert {alert:?})")
}
