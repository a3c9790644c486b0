//! A mail server (aiosmtpd) as a child process, and the mails that it received.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::observed::Observed;

/// A received mail.
#[derive(Debug, Clone)]
pub struct Mail(Value);

impl Mail {
    /// The value of a header, its lines joined.
    #[track_caller]
    pub fn header(&self, name: &str) -> String {
        let text = self.0["mail"].as_str().unwrap().replace("\r\n ", " ");
        let prefix = format!("{}: ", name.to_lowercase());
        let line =
            text.lines().take_while(|line| !line.is_empty()).find(|line| line.to_lowercase().starts_with(&prefix));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))[prefix.len()..].to_owned()
    }

    /// The whole mail, without the soft line breaks of quoted-printable.
    pub fn text(&self) -> String {
        self.0["mail"].as_str().unwrap().replace("=\r\n", "")
    }

    /// Violations that a strict server reports.
    pub fn complaints(&self) -> &Value {
        &self.0["complaints"]
    }
}

/// The server. It is killed when this is dropped.
pub struct Mailbox {
    /// On 127.0.0.1.
    pub port: u16,
    child: Child,
    printed: Arc<Observed<Vec<Value>>>,
}

impl Mailbox {
    /// Starts it, without TLS and authentication.
    #[track_caller]
    pub fn start() -> Self {
        let python = std::env::var_os("TIDINGS_TEST_PYTHON").expect(
            "TIDINGS_TEST_PYTHON must name a Python that has aiosmtpd; run `cargo xtask test`, which sees to that",
        );
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../channels/tests/smtp_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python of TIDINGS_TEST_PYTHON starts");
        let printed: Arc<Observed<Vec<Value>>> = Arc::default();
        let (lines, log) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&printed));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap();
                log.change(|log| log.push(event));
            }
        });
        let mut mailbox = Self { port: 0, child, printed };
        let port = mailbox.wait(1)[0]["port"].as_u64();
        mailbox.port = port.and_then(|port| port.try_into().ok()).expect("it prints its port first");
        mailbox
    }

    #[track_caller]
    fn wait(&self, count: usize) -> Vec<Value> {
        let printed = self.printed.wait_for(|printed| (printed.len() >= count).then(|| printed.clone()));
        printed.unwrap_or_else(|| panic!("the mail server did not print {count} lines"))
    }

    /// Waits for `count` mails, and returns all so far.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Mail> {
        self.wait(count + 1)[1..].iter().cloned().map(Mail).collect()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
