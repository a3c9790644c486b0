//! Programs of others that run beside the one under test. `cargo xtask tools` installs them. A test that misses one fails;
//! it is not skipped.

use std::process::Command;

use super::server::Process;

/// A running program. It is killed when this is dropped.
pub struct Foreign(Process);

impl Foreign {
    /// Starts it.
    #[track_caller]
    pub fn start(command: Command) -> Self {
        let program = command.get_program().to_owned();
        let found = Command::new(&program).arg("--version").output();
        assert!(found.is_ok_and(|found| found.status.success()), "no {program:?} here: run `cargo xtask tools`");
        Self(Process::start(command))
    }

    /// Waits until `read` finds something in standard error.
    #[track_caller]
    pub fn wait_for_stderr<R>(&self, read: impl Fn(&str) -> Option<R>) -> R {
        let found = self.0.stderr.wait_for(|output| match read(&output.text) {
            Some(found) => Some(Some(found)),
            None => output.ended.then_some(None),
        });
        found.flatten().unwrap_or_else(|| panic!("not found in {}", self.0.stderr_text()))
    }

    /// Sends SIGHUP, which reloads its configuration.
    #[track_caller]
    pub fn reload(&self) {
        let signalled = Command::new("sh").arg("-c").arg(format!("kill -HUP {}", self.0.child.id())).status();
        assert!(signalled.is_ok_and(|status| status.success()), "the signal is sent");
    }
}
