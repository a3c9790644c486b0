//! Why something did not get out, in plain words without secrets: hosts and ports, never paths or queries.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;

use super::dial::DialError;
use super::guard::Refused;
use super::own::{is_out_of_files, is_own};
use crate::ErrorClass;

/// Why a connection or a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EgressError {
    /// What kind of failure it was.
    pub class: ErrorClass,
    /// The failure in words: host and port, never a path, a query or a secret.
    pub message: String,
    /// Whether the peer had closed a kept connection, so that a fresh one may do.
    pub(crate) stale: bool,
}

impl EgressError {
    /// A failure of this class, in these words.
    pub fn new(class: ErrorClass, words: impl Into<String>) -> Self {
        Self { class, message: words.into(), stale: false }
    }

    pub(super) fn timeout(words: impl Into<String>) -> Self {
        Self::new(ErrorClass::Timeout, words)
    }

    /// Why there is no connection to `host`.
    pub(super) fn unreached(host: &str, port: u16, why: &DialError) -> Self {
        match why {
            DialError::Unresolved(error) | DialError::Unconnected(error) if is_own(error) => {
                Self::own(&format!("{host}:{port}"), error)
            }
            DialError::Unresolved(error) => {
                let reason = super::resolve::reason(error);
                Self::new(ErrorClass::Dns, format!("the name {host} could not be resolved: {reason}"))
            }
            DialError::UnresolvedInTime => Self::timeout(format!("the name {host} was not resolved in time")),
            DialError::NoAddress => Self::new(ErrorClass::Dns, format!("{host} has no address")),
            DialError::Refused(why) => Self::refused(host, why),
            DialError::Unconnected(error) => Self::connect(host, port, error),
            DialError::UnconnectedInTime => Self::timeout(format!("no connection to {host}:{port} in time")),
        }
    }

    fn own(place: &str, error: &io::Error) -> Self {
        let reason = if is_out_of_files(error) { "too many open files".to_owned() } else { error.kind().to_string() };
        Self::new(ErrorClass::OwnNetwork, format!("nothing could be sent to {place} from this machine: {reason}"))
    }

    fn refused(host: &str, why: &Refused) -> Self {
        let words = if super::resolve::literal(host).is_some() { why.to_string() } else { format!("{host}: {why}") };
        Self::new(ErrorClass::TargetRefused, words)
    }

    fn connect(host: &str, port: u16, error: &io::Error) -> Self {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut};
        let place = format!("{host}:{port}");
        match error.kind() {
            ConnectionRefused => Self::new(ErrorClass::Connect, format!("{place} refused the connection")),
            ConnectionReset => Self::new(ErrorClass::Connect, format!("{place} reset the connection")),
            HostUnreachable => Self::new(ErrorClass::Connect, format!("{place} cannot be reached from here")),
            TimedOut => Self::timeout(format!("no connection to {place} in time")),
            kind => Self::new(ErrorClass::Connect, format!("no connection to {place}: {kind}")),
        }
    }

    /// Why TLS with `host` failed: rustls puts its own error inside the I/O error of the handshake.
    pub fn tls(host: &str, error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(error) => Self::new(ErrorClass::Tls, format!("TLS with {host} failed: {}", tls_words(error))),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::new(ErrorClass::Tls, format!("{host} closed the connection during the TLS handshake"))
            }
            None => Self::new(ErrorClass::Tls, format!("TLS with {host} failed: {}", error.kind())),
        }
    }
}

fn tls_words(error: &rustls::Error) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked,
        UnknownIssuer,
    };
    match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            Expired | ExpiredContext { .. } => "its certificate has expired".into(),
            NotValidYet | NotValidYetContext { .. } => "its certificate is not valid yet".into(),
            UnknownIssuer => "its certificate is from an unknown issuer (or self-signed)".into(),
            NotValidForName | NotValidForNameContext { .. } => "its certificate is for another name".into(),
            Revoked => "its certificate is revoked".into(),
            other => format!("its certificate is not good ({other})"),
        },
        rustls::Error::InvalidMessage(_) => "what it answered is no TLS".into(),
        rustls::Error::AlertReceived(alert) => format!("it ended the handshake with the alert {alert:?}"),
        rustls::Error::PeerIncompatible(_) => "no protocol version or cipher in common".into(),
        other => other.to_string(),
    }
}

/// Whether rustls stands behind this error, however deep.
pub fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>()
        || inside.is_some_and(|inner| inner.is::<rustls::Error>())
        || error.source().is_some_and(is_tls)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn without_files_neither_the_name_nor_the_receiver_is_to_blame() {
        let error = || Arc::new(io::Error::from_raw_os_error(Errno::MFILE.raw_os_error()));
        for why in [DialError::Unresolved(error()), DialError::Unconnected(error())] {
            let failed = EgressError::unreached("hooks.example.com", 443, &why);
            assert_eq!(failed.class, ErrorClass::OwnNetwork);
            let words = "nothing could be sent to hooks.example.com:443 from this machine: too many open files";
            assert_eq!(failed.message, words);
        }
    }
}
