//! Passwords from the terminal, without echo, or from standard input.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tidings_domain::secret::Secret;

/// More than any password has, so that reading ends.
const LINE_BYTES_MAX: u64 = 4_096;

/// Reads a new password: on a terminal asks for it twice, without echo; otherwise takes the first line of standard input.
///
/// # Errors
/// The two differ, or there is no line.
pub(crate) fn new_password(whose: &str) -> Result<Secret> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let first = without_echo(&format!("New password of {whose}: "))?;
    if without_echo("Again: ")? != first {
        bail!("the two passwords differ");
    }
    Ok(first)
}

/// Restores the terminal when it is dropped.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
        eprintln!();
    }
}

fn without_echo(prompt: &str) -> Result<Secret> {
    let before = tcgetattr(io::stdin()).context("cannot read the settings of the terminal")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _restore = Restore(before);
    tcsetattr(io::stdin(), OptionalActions::Flush, &silent).context("cannot turn off the echo of the terminal")?;
    // Only now: what is typed before the echo is off would be dropped. Standard output may be redirected, so that the prompt
    // goes to standard error.
    eprint!("{prompt}");
    io::stderr().flush()?;
    line()
}

fn line() -> Result<Secret> {
    let mut text = String::new();
    io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut text).context("cannot read the password")?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if password.is_empty() {
        bail!("there is no password on standard input: write it there as one line, or use --generate");
    }
    Ok(Secret::new(password))
}
