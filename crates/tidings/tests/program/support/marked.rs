//! Marked secrets: made so that they can be searched for, in whatever form they might hide, in all that the program wrote,
//! answered and kept.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64_NO_PAD;
use serde_json::json;

use super::server::Finished;
use super::{Receiver, Reply, Request, Setup};

/// A secret of its own for each place. Its first four letters may be shown as a preview.
pub fn secret(place: &str) -> String {
    let letters: String = place.bytes().rev().map(char::from).filter(char::is_ascii_lowercase).collect();
    format!("mark{letters}x7q{}k9zw{}", letters.len() * 7_919, letters.repeat(2))
}

/// A receiver that says back all that it was told, in its head and in its body.
pub fn parrot(status: u16) -> Receiver {
    Receiver::start(move |request: &Request, _| {
        let headers: Vec<_> = request.headers().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = format!("{}\n{}\n{}", request.line(), headers.join("\n"), json!({"line": request.line()}));
        let target = request.line().split(' ').nth(1).unwrap_or_default();
        let head =
            format!("HTTP/1.1 {status} So\r\nlocation: {target}\r\nx-said: {target}\r\ncontent-length: {}", body.len());
        Reply::Bytes(format!("{head}\r\n\r\n{body}").into_bytes())
    })
}

/// The forms in which a text might hide: as it is, in hex, and in base64 wherever it begins.
fn forms(secret: &str) -> Vec<String> {
    let text = secret.strip_prefix("mark").unwrap_or(secret);
    let mut forms = vec![text.to_owned(), hex::encode(text)];
    for shift in 0..3 {
        let shifted = BASE64_NO_PAD.encode([&vec![b'.'; shift], text.as_bytes()].concat());
        // The first and the last letters are shared with what stands around it.
        forms.push(shifted[4..shifted.len() - 4].to_owned());
    }
    forms
}

/// How often a secret stands in these bytes, in whatever form.
pub fn count(secret: &str, bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    forms(secret).iter().map(|form| text.matches(form.as_str()).count()).sum()
}

/// The files of the data directory, as they are now.
pub fn files(setup: &Setup) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(setup.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

/// Sees that a secret stands nowhere in the clear: not in what ended processes wrote, not in these files, and in what the
/// API answered only so many times.
#[track_caller]
pub fn assert_hidden(secret: &str, finished: &[Finished], kept: &[(String, Vec<u8>)], heard: &[u8], times: usize) {
    for Finished { stdout, stderr, .. } in finished {
        assert_eq!(count(secret, stdout.as_bytes()), 0, "{secret} on standard output: {stdout}");
        let line = stderr.lines().find(|line| count(secret, line.as_bytes()) > 0);
        assert_eq!(line, None, "{secret} in the log");
    }
    assert_eq!(count(secret, heard), times, "{secret} in the API's answers");
    for (name, bytes) in kept {
        assert_eq!(count(secret, bytes), 0, "{secret} in {name}");
    }
}
