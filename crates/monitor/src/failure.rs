//! Why no answer came, in words that a person who is woken by them understands: host and port, never a path, a query
//! or a secret.

use std::io::{self, ErrorKind};

use tidings_channels::egress::resolve::reason;
use tidings_channels::egress::{DialError, Refused, is_own};
use tidings_domain::check::{Failure, FailureClass};

use crate::ALLOW_SETTING;
use crate::target::Target;

/// A failure of this class, in these words.
pub(crate) fn failure(class: FailureClass, words: impl Into<String>) -> Failure {
    Failure { class, message: words.into() }
}

/// What the guard said, with the setting that would let the address be watched.
pub(crate) fn refused_words(why: &Refused) -> String {
    format!("{} is {}, which is refused; {ALLOW_SETTING} can let it in", why.ip, why.what)
}

/// Why there is no connection. `within` is the time that there was, in words.
pub(crate) fn unreached(target: &Target, why: &DialError, within: &str) -> Failure {
    let (host, name) = (&target.host, &target.name);
    match why {
        DialError::Unresolved(error) => {
            let class = match error.kind() {
                _ if is_own(error) => FailureClass::OwnNetwork,
                ErrorKind::TimedOut => FailureClass::Timeout,
                _ => FailureClass::Dns,
            };
            failure(class, format!("the name {host} could not be resolved: {}", reason(error)))
        }
        DialError::UnresolvedInTime => unresolved_in_time(target, within),
        DialError::NoAddress => failure(FailureClass::Dns, format!("the name {host} has no address")),
        DialError::Refused(why) => {
            let words = refused_words(why);
            let is_name = matches!(host, url::Host::Domain(_));
            failure(FailureClass::Forbidden, if is_name { format!("{host}: {words}") } else { words })
        }
        DialError::Unconnected(error) => unconnected(name, error, within),
        DialError::UnconnectedInTime => unconnected_in_time(target, within),
    }
}

/// The name service took too long.
pub(crate) fn unresolved_in_time(target: &Target, within: &str) -> Failure {
    failure(FailureClass::Timeout, format!("the name {} was not resolved within {within}", target.host))
}

/// The connection took too long.
pub(crate) fn unconnected_in_time(target: &Target, within: &str) -> Failure {
    failure(FailureClass::Timeout, format!("no connection to {} within {within}", target.name))
}

fn unconnected(name: &str, error: &io::Error, within: &str) -> Failure {
    match error.kind() {
        _ if is_own(error) => own(name, error),
        ErrorKind::ConnectionRefused => failure(FailureClass::Refused, format!("connection refused by {name}")),
        ErrorKind::ConnectionReset => failure(FailureClass::Connect, format!("connection reset by {name}")),
        ErrorKind::HostUnreachable => {
            failure(FailureClass::Connect, format!("{name} cannot be reached: no route to host"))
        }
        ErrorKind::TimedOut => failure(FailureClass::Timeout, format!("no connection to {name} within {within}")),
        _ => failure(FailureClass::Connect, format!("no connection to {name}: {}", reason(error))),
    }
}

/// It failed on this machine, before anything could leave it.
pub(crate) fn own(name: &str, error: &io::Error) -> Failure {
    let reason = reason(error);
    failure(FailureClass::OwnNetwork, format!("nothing could be sent to {name} from this machine: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::io::Errno;

    use super::*;
    use crate::target::host;

    #[test]
    fn failures_are_told_apart() {
        let target = Target::new(host("shop.example").unwrap(), 443).unwrap();
        let os = |no: Errno| DialError::Unconnected(Arc::new(io::Error::from_raw_os_error(no.raw_os_error())));
        let named = |kind, words: &str| DialError::Unresolved(Arc::new(io::Error::new(kind, words.to_owned())));
        for (why, class, words) in [
            (
                named(ErrorKind::NotFound, "no such name"),
                FailureClass::Dns,
                "the name shop.example could not be resolved: no such name",
            ),
            (named(ErrorKind::TimedOut, "no answer"), FailureClass::Timeout, "could not be resolved: no answer"),
            (named(ErrorKind::NetworkUnreachable, "no route"), FailureClass::OwnNetwork, "could not be resolved"),
            (DialError::UnresolvedInTime, FailureClass::Timeout, "was not resolved within 10 s"),
            (DialError::NoAddress, FailureClass::Dns, "has no address"),
            (DialError::UnconnectedInTime, FailureClass::Timeout, "no connection to shop.example:443 within 10 s"),
            (os(Errno::CONNREFUSED), FailureClass::Refused, "connection refused by shop.example:443"),
            (os(Errno::CONNRESET), FailureClass::Connect, "connection reset by shop.example:443"),
            (os(Errno::HOSTUNREACH), FailureClass::Connect, "shop.example:443 cannot be reached"),
            (os(Errno::TIMEDOUT), FailureClass::Timeout, "no connection to shop.example:443 within 10 s"),
            (os(Errno::NETUNREACH), FailureClass::OwnNetwork, "from this machine"),
            (os(Errno::MFILE), FailureClass::OwnNetwork, "too many open files"),
            (os(Errno::ADDRNOTAVAIL), FailureClass::OwnNetwork, "from this machine"),
        ] {
            let failure = unreached(&target, &why, "10 s");
            assert_eq!(failure.class, class, "{failure:?}");
            assert!(failure.message.contains(words), "{words:?} in {failure:?}");
        }
    }
}
