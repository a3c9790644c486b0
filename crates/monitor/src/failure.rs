//! Failures of probes, in messages for the person on call: they name host and port, never a path, a query or a secret.

use std::io::{self, ErrorKind};

use tidings_channels::egress::resolve::reason;
use tidings_channels::egress::{DialError, is_own};
use tidings_domain::check::{Failure, FailureClass};

use crate::target::{ProbeTarget, describe_refused};

/// Shorthand for a [`Failure`].
pub(crate) fn failure(class: FailureClass, message: impl Into<String>) -> Failure {
    Failure { class, message: message.into() }
}

/// The failure for an endpoint whose stored definition is not valid.
pub(crate) fn invalid_endpoint(why: &str) -> Failure {
    failure(FailureClass::Protocol, format!("the endpoint cannot be probed: {why}"))
}

/// The failure for a host that was not reached. `within` is the probe's timeout as text.
pub(crate) fn dial_failure(target: &ProbeTarget, error: &DialError, within: &str) -> Failure {
    let (host, name) = (&target.host, &target.name);
    match error {
        DialError::LookupFailed(error) => {
            let class = match error.kind() {
                _ if is_own(error) => FailureClass::OwnNetwork,
                ErrorKind::TimedOut => FailureClass::Timeout,
                _ => FailureClass::Dns,
            };
            failure(class, format!("the name {host} could not be resolved: {}", reason(error)))
        }
        DialError::LookupTimeout => resolve_timeout(target, within),
        DialError::NoAddress => failure(FailureClass::Dns, format!("the name {host} has no address")),
        DialError::Refused(refused) => {
            let message = describe_refused(refused);
            let is_name = matches!(host, url::Host::Domain(_));
            failure(FailureClass::Forbidden, if is_name { format!("{host}: {message}") } else { message })
        }
        DialError::ConnectFailed(error) => connect_failure(name, error, within),
        DialError::ConnectTimeout => connect_timeout(target, within),
    }
}

/// The failure for a name that was not resolved in time.
pub(crate) fn resolve_timeout(target: &ProbeTarget, within: &str) -> Failure {
    failure(FailureClass::Timeout, format!("the name {} was not resolved within {within}", target.host))
}

/// The failure for a TCP connection that was not established in time.
pub(crate) fn connect_timeout(target: &ProbeTarget, within: &str) -> Failure {
    failure(FailureClass::Timeout, format!("no connection to {} within {within}", target.name))
}

fn connect_failure(name: &str, error: &io::Error, within: &str) -> Failure {
    match error.kind() {
        _ if is_own(error) => local_failure(name, error),
        ErrorKind::ConnectionRefused => failure(FailureClass::Refused, format!("connection refused by {name}")),
        ErrorKind::ConnectionReset => failure(FailureClass::Connect, format!("connection reset by {name}")),
        ErrorKind::HostUnreachable => {
            failure(FailureClass::Connect, format!("{name} cannot be reached: no route to host"))
        }
        ErrorKind::TimedOut => failure(FailureClass::Timeout, format!("no connection to {name} within {within}")),
        _ => failure(FailureClass::Connect, format!("no connection to {name}: {}", reason(error))),
    }
}

/// The failure for an error of this machine, before a packet could leave it.
pub(crate) fn local_failure(name: &str, error: &io::Error) -> Failure {
    let reason = reason(error);
    failure(FailureClass::OwnNetwork, format!("nothing could be sent to {name} from this machine: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::io::Errno;

    use super::*;
    use crate::target::parse_host;

    #[test]
    fn dial_failure_maps_each_error_to_class_and_message() {
        let target = ProbeTarget::new(parse_host("shop.example").unwrap(), 443).unwrap();
        let os = |no: Errno| DialError::ConnectFailed(Arc::new(io::Error::from_raw_os_error(no.raw_os_error())));
        let unresolved = |kind, text: &str| DialError::LookupFailed(Arc::new(io::Error::new(kind, text.to_owned())));
        for (error, class, message) in [
            (
                unresolved(ErrorKind::NotFound, "no such name"),
                FailureClass::Dns,
                "the name shop.example could not be resolved: no such name",
            ),
            (unresolved(ErrorKind::TimedOut, "no answer"), FailureClass::Timeout, "could not be resolved: no answer"),
            (unresolved(ErrorKind::NetworkUnreachable, "no route"), FailureClass::OwnNetwork, "could not be resolved"),
            (DialError::LookupTimeout, FailureClass::Timeout, "was not resolved within 10 s"),
            (DialError::NoAddress, FailureClass::Dns, "has no address"),
            (DialError::ConnectTimeout, FailureClass::Timeout, "no connection to shop.example:443 within 10 s"),
            (os(Errno::CONNREFUSED), FailureClass::Refused, "connection refused by shop.example:443"),
            (os(Errno::CONNRESET), FailureClass::Connect, "connection reset by shop.example:443"),
            (os(Errno::HOSTUNREACH), FailureClass::Connect, "shop.example:443 cannot be reached"),
            (os(Errno::TIMEDOUT), FailureClass::Timeout, "no connection to shop.example:443 within 10 s"),
            (os(Errno::NETUNREACH), FailureClass::OwnNetwork, "from this machine"),
            (os(Errno::MFILE), FailureClass::OwnNetwork, "too many open files"),
            (os(Errno::ADDRNOTAVAIL), FailureClass::OwnNetwork, "from this machine"),
        ] {
            let failure = dial_failure(&target, &error, "10 s");
            assert_eq!(failure.class, class, "{failure:?}");
            assert!(failure.message.contains(message), "{message:?} in {failure:?}");
        }
    }
}
