//! Open-file limit and lifetime of the benchmark's processes.

use std::{io::Read as _, process, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the open-file limit to the hard limit, as far as the system allows, and returns it. Connections are files.
pub fn raise_open_file_limit() -> u64 {
    let granted = getrlimit(Resource::Nofile);
    // If this fails, opening files reports it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: granted.maximum, ..granted });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Exits this process when standard input closes, which happens when its parent ends.
pub fn exit_with_parent() {
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
}
