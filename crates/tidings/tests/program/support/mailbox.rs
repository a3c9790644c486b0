//! A real mail server that is not ours, as a child process, and the mails that it took.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::watch::MonitoredEndpoint;

/// A mail as the server took it.
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

    /// All of it, with the soft ends of its lines taken out.
    pub fn text(&self) -> String {
        self.0["mail"].as_str().unwrap().replace("=\r\n", "")
    }

    /// What a strict server has against it.
    pub fn complaints(&self) -> &Value {
        &self.0["complaints"]
    }
}

/// The server. It ends with this value.
pub struct Mailbox {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    child: Child,
    printed: Arc<MonitoredEndpoint<Vec<Value>>>,
}

impl Mailbox {
    /// Starts it, without TLS and for everybody.
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
        let printed: Arc<MonitoredEndpoint<Vec<Value>>> = Arc::default();
        let (lines, log) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&printed));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let said = serde_json::from_str(&line).unwrap();
                log.change(|log| log.push(said));
            }
        });
        let mut mailbox = Self { port: 0, child, printed };
        let port = mailbox.wait(1)[0]["port"].as_u64();
        mailbox.port = port.and_then(|port| port.try_into().ok()).expect("it says its port first");
        mailbox
    }

    #[track_caller]
    fn wait(&self, count: usize) -> Vec<Value> {
        let printed = self.printed.wait_for(|printed| (printed.len() >= count).then(|| printed.clone()));
        printed.unwrap_or_else(|| panic!("the mail server did not say so much: {count}"))
    }

    /// Waits until so many mails came, and answers all that came.
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
