//! The program that started this one, whose end is this one's end.

use std::{io::Read as _, process, thread};

/// Ends this program when standard input ends, which it does with the program that holds the other end of it.
pub fn end_with_it() {
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
}
