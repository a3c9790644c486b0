//! Failures of this machine: nothing left it, so nothing was learnt about the other end.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// Whether this machine's own network, or its own limits, are at fault.
pub fn is_own(error: &io::Error) -> bool {
    let kind = matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
            | ErrorKind::PermissionDenied
            | ErrorKind::OutOfMemory
    );
    kind || is_out_of_files(error) || is(error, Errno::NOBUFS)
}

/// Whether no more files could be opened.
pub fn is_out_of_files(error: &io::Error) -> bool {
    is(error, Errno::MFILE) || is(error, Errno::NFILE)
}

fn is(error: &io::Error, number: Errno) -> bool {
    error.raw_os_error() == Some(number.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_left_this_machine_is_its_own() {
        let os = |number: Errno| io::Error::from_raw_os_error(number.raw_os_error());
        for number in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NETUNREACH, Errno::ADDRNOTAVAIL]
        {
            assert!(is_own(&os(number)), "{number}");
        }
        for number in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::HOSTUNREACH, Errno::TIMEDOUT] {
            assert!(!is_own(&os(number)), "{number}");
        }
        assert!(is_out_of_files(&os(Errno::MFILE)) && !is_out_of_files(&os(Errno::NOBUFS)));
    }
}
