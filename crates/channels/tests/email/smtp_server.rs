//! A real SMTP server as a child process: `smtp_server.py`, on aiosmtpd. Mails are read as it prints them, so that no
//! test sleeps.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustls::RootCertStore;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// Limit for the server to start or to print; usually far less.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mail as the server received it.
#[derive(Debug, Deserialize)]
pub struct ReceivedMail {
    pub hello: String,
    pub sender: String,
    pub recipients: Vec<String>,
    /// The client's port: equal for all mails of one connection.
    pub peer: u16,
    pub tls: bool,
    pub user: Option<String>,
    /// What a strict server objects to.
    pub complaints: Vec<String>,
    pub mail: String,
}

/// A running server, stopped on drop.
pub struct SmtpServer {
    pub port: u16,
    /// Trusts its certificate.
    pub roots: RootCertStore,
    /// Its certificate in PEM.
    pub certificate: String,
    child: Child,
    printed: UnboundedReceiver<String>,
    _certificate: TempDir,
}

impl SmtpServer {
    /// Starts it: `tls` is `none`, `starttls` or `tls`; `more` are further arguments.
    pub async fn start(tls: &str, more: &[&str]) -> Self {
        let python = std::env::var_os("TIDINGS_TEST_PYTHON").expect(
            "TIDINGS_TEST_PYTHON must name a Python that has aiosmtpd; run `cargo xtask test`, which sees to that",
        );
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();

        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp_server.py"))
            .args(["--tls", tls, "--certificate"])
            .args([certificate, key])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python of TIDINGS_TEST_PYTHON starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, printed) = unbounded_channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut server = Self { port: 0, roots, certificate: made.cert.pem(), child, printed, _certificate: directory };
        let started: serde_json::Value = serde_json::from_str(&server.line().await).unwrap();
        server.port = started["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap();
        server
    }

    async fn line(&mut self) -> String {
        timeout(PATIENCE, self.printed.recv()).await.expect("the server prints in time").expect("the server runs")
    }

    /// The next mail received.
    pub async fn next_mail(&mut self) -> ReceivedMail {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Fails if a mail has arrived that was not read.
    pub fn assert_no_more_mail(&mut self) {
        assert!(self.printed.try_recv().is_err(), "no further mail was expected");
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
