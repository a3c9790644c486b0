//! How many files this process may open: connections are files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as it may be, and tells how far that is.
pub fn as_many_as_granted() -> u64 {
    let granted = getrlimit(Resource::Nofile);
    // Where it stays as it is, opening says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: granted.maximum, ..granted });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
