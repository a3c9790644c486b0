//! Marked secrets, which are searched for in all output, responses and files of the program, encoded forms included.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64_NO_PAD;
use serde_json::json;

use super::server::Finished;
use super::{Receiver, Reply, Request, Setup};

/// A distinct secret for each place. Its first four letters may appear as a preview.
pub fn secret(place: &str) -> String {
    let letters: String = place.bytes().rev().map(char::from).filter(char::is_ascii_lowercase).collect();
    format!("mark{letters}x7q{}k9zw{}", letters.len() * 7_919, letters.repeat(2))
}

/// A receiver that echoes the whole request in the headers and the body of its response.
pub fn echo(status: u16) -> Receiver {
    Receiver::start(move |request: &Request, _| {
        let headers: Vec<_> = request.headers().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = format!("{}\n{}\n{}", request.line(), headers.join("\n"), json!({"line": request.line()}));
        let target = request.line().split(' ').nth(1).unwrap_or_default();
        let head =
            format!("HTTP/1.1 {status} So\r\nlocation: {target}\r\nx-echo: {target}\r\ncontent-length: {}", body.len());
        Reply::Bytes(format!("{head}\r\n\r\n{body}").into_bytes())
    })
}

/// The encodings to search for: plain, hex, and base64 at each of the three alignments.
fn forms(secret: &str) -> Vec<String> {
    let text = secret.strip_prefix("mark").unwrap_or(secret);
    let mut forms = vec![text.to_owned(), hex::encode(text)];
    for shift in 0..3 {
        let shifted = BASE64_NO_PAD.encode([&vec![b'.'; shift], text.as_bytes()].concat());
        // The first and last characters also encode adjacent bytes.
        forms.push(shifted[4..shifted.len() - 4].to_owned());
    }
    forms
}

/// The number of occurrences of a secret in any encoding.
pub fn count(secret: &str, bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    forms(secret).iter().map(|form| text.matches(form.as_str()).count()).sum()
}

/// The files of the data directory.
pub fn files(setup: &Setup) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(setup.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

/// Asserts that a secret is not in the output of ended processes, not in these files, and exactly `times` in the responses of
/// the API.
#[track_caller]
pub fn assert_hidden(secret: &str, finished: &[Finished], kept: &[(String, Vec<u8>)], received: &[u8], times: usize) {
    for Finished { stdout, stderr, .. } in finished {
        assert_eq!(count(secret, stdout.as_bytes()), 0, "{secret} on standard output: {stdout}");
        let line = stderr.lines().find(|line| count(secret, line.as_bytes()) > 0);
        assert_eq!(line, None, "{secret} in the log");
    }
    assert_eq!(count(secret, received), times, "{secret} in the API's answers");
    for (name, bytes) in kept {
        assert_eq!(count(secret, bytes), 0, "{secret} in {name}");
    }
}
