//! Programs that are not ours and run beside the one under test. `cargo xtask tools` installs them; without them a test
//! fails, and is never passed over.

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

    /// Waits until there is something to see in what it wrote to standard error.
    #[track_caller]
    pub fn wait_for_stderr<R>(&self, read: impl Fn(&str) -> Option<R>) -> R {
        let seen = self.0.stderr.wait_for(|output| match read(&output.text) {
            Some(seen) => Some(Some(seen)),
            None => output.ended.then_some(None),
        });
        seen.flatten().unwrap_or_else(|| panic!("not to be seen in {}", self.0.stderr_text()))
    }

    /// Has it read its configuration again.
    #[track_caller]
    pub fn reload(&self) {
        let told = Command::new("sh").arg("-c").arg(format!("kill -HUP {}", self.0.child.id())).status();
        assert!(told.is_ok_and(|status| status.success()), "the signal is sent");
    }
}
