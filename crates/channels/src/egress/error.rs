//! Connection and request errors as plain text without secrets: hosts and ports, never paths or queries.

use std::error::Error as StdError;
use std::io;

use super::dial::{DialError, is_out_of_files, is_own};
use super::guard::Refused;
use super::tls::TlsError;
use crate::ErrorClass;

/// Why a connection or a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EgressError {
    /// Decides whether the circuit breaker counts it.
    pub class: ErrorClass,
    /// Names host and port, never a path, a query or a secret.
    pub message: String,
    /// Set if a pooled connection turned out to be closed: the request may be repeated on a fresh one.
    pub(crate) stale: bool,
    /// See [`TlsError::is_unknown_authority`].
    pub(crate) is_unknown_authority: bool,
}

impl EgressError {
    /// The message must not contain secrets: it is stored and shown.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), stale: false, is_unknown_authority: false }
    }

    pub(super) fn timeout(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Timeout, message)
    }

    /// The error with the host's name added.
    pub(super) fn from_dial(host: &str, port: u16, why: &DialError) -> Self {
        match why {
            DialError::LookupFailed(error) | DialError::ConnectFailed(error) if is_own(error) => {
                Self::local(&format!("{host}:{port}"), error)
            }
            DialError::LookupFailed(error) => {
                let reason = super::resolve::reason(error);
                Self::new(ErrorClass::Dns, format!("the name {host} could not be resolved: {reason}"))
            }
            DialError::LookupTimeout => Self::timeout(format!("the name {host} was not resolved in time")),
            DialError::NoAddress => Self::new(ErrorClass::Dns, format!("{host} has no address")),
            DialError::Refused(why) => Self::refused(host, why),
            DialError::ConnectFailed(error) => Self::connect(host, port, error),
            DialError::ConnectTimeout => Self::timeout(format!("no connection to {host}:{port} in time")),
        }
    }

    fn local(host_port: &str, error: &io::Error) -> Self {
        let reason = if is_out_of_files(error) { "too many open files".to_owned() } else { error.kind().to_string() };
        Self::new(ErrorClass::OwnNetwork, format!("nothing could be sent to {host_port} from this machine: {reason}"))
    }

    fn refused(host: &str, why: &Refused) -> Self {
        let message = if super::resolve::literal(host).is_some() { why.to_string() } else { format!("{host}: {why}") };
        Self::new(ErrorClass::TargetRefused, message)
    }

    fn connect(host: &str, port: u16, error: &io::Error) -> Self {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut};
        let target = format!("{host}:{port}");
        match error.kind() {
            ConnectionRefused => Self::new(ErrorClass::Connect, format!("{target} refused the connection")),
            ConnectionReset => Self::new(ErrorClass::Connect, format!("{target} reset the connection")),
            HostUnreachable => Self::new(ErrorClass::Connect, format!("{target} is unreachable")),
            TimedOut => Self::timeout(format!("no connection to {target} in time")),
            kind => Self::new(ErrorClass::Connect, format!("no connection to {target}: {kind}")),
        }
    }

    /// Why the TLS handshake with `host` failed.
    pub fn tls(host: &str, error: &io::Error) -> Self {
        TlsError::from_io(host, error).into()
    }

    /// Names the field of the configuration in which the user can make an unknown certificate trusted, if that is what the
    /// error is about.
    pub fn naming(mut self, ca_field: &str) -> Self {
        if self.is_unknown_authority {
            self.message = format!("{}; if it is your own, give it in {ca_field}", self.message);
            // Once is enough.
            self.is_unknown_authority = false;
        }
        self
    }
}

impl From<TlsError> for EgressError {
    fn from(error: TlsError) -> Self {
        let is_unknown_authority = error.is_unknown_authority;
        Self { is_unknown_authority, ..Self::new(ErrorClass::Tls, error.message) }
    }
}

/// Whether the error or any of its sources is a rustls error.
pub fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    // `io::Error::source` skips the error that it wraps and returns that one's source, so it is looked up here.
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
    fn from_dial_out_of_files_is_classified_as_own_network() {
        let error = || Arc::new(io::Error::from_raw_os_error(Errno::MFILE.raw_os_error()));
        for why in [DialError::LookupFailed(error()), DialError::ConnectFailed(error())] {
            let failed = EgressError::from_dial("hooks.example.com", 443, &why);
            assert_eq!(failed.class, ErrorClass::OwnNetwork);
            let message = "nothing could be sent to hooks.example.com:443 from this machine: too many open files";
            assert_eq!(failed.message, message);
        }
    }
}
