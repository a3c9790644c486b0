//! The headers of a response that an attempt keeps: few, short, and without secrets.

use http::HeaderMap;
use tidings_domain::text::truncate_bytes;

use crate::config_reader::MASK;
use crate::http_channel::Secrets;

/// How many headers are kept.
pub const HEADERS_MAX: usize = 32;
/// How much of one value is kept.
pub const VALUE_BYTES_MAX: usize = 256;
/// How much of all of them is kept.
pub const HEADERS_BYTES_MAX: usize = 2_048;

/// Headers of the connection and of framing. Nearly every response has them and they say nothing about it, while each
/// kept byte makes the row of a delivery longer when it is settled.
const FRAMING: [&str; 7] =
    ["connection", "content-length", "date", "keep-alive", "trailer", "transfer-encoding", "upgrade"];

/// Parts of the names of headers whose values are credentials.
const SECRET_NAMES: [&str; 9] =
    ["api-key", "apikey", "auth", "cookie", "csrf", "password", "secret", "session", "token"];

/// The headers as lines `name: value`, in the order of the response; `None` without any. Values of headers that carry
/// credentials are masked, and so are the channel's own secrets wherever the receiver echoes them.
pub fn kept_headers(headers: &HeaderMap, secrets: &Secrets) -> Option<String> {
    let mut lines = String::new();
    let kept = headers.iter().filter(|(name, _)| !FRAMING.contains(&name.as_str()));
    for (name, value) in kept.take(HEADERS_MAX) {
        let name = name.as_str();
        let value = if is_secret(name) { MASK.to_owned() } else { shown(value.as_bytes(), secrets) };
        if lines.len() + name.len() + value.len() + ": \n".len() > HEADERS_BYTES_MAX {
            break;
        }
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.extend([name, ": ", &value]);
    }
    (!lines.is_empty()).then_some(lines)
}

/// The names and values of lines made by [`kept_headers`].
pub fn parse_kept_headers(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    // A name has no colon, and a value no line end.
    lines.lines().filter_map(|line| line.split_once(": "))
}

fn is_secret(name: &str) -> bool {
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Masked before it is cut, so that no part of a secret remains.
fn shown(value: &[u8], secrets: &Secrets) -> String {
    let mut bytes = value.to_vec();
    secrets.scrub(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.len() > VALUE_BYTES_MAX { truncate_bytes(text, VALUE_BYTES_MAX) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn kept(headers: &[(&'static str, &str)]) -> String {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        kept_headers(&headers, &Secrets::new(["sk_live_abcdefgh"])).unwrap_or_default()
    }

    #[test]
    fn kept_headers_lacks_framing_and_masks_secrets() {
        let lines = kept(&[
            ("date", "Sat, 02 May 2026 04:00:12 GMT"),
            ("content-length", "2"),
            ("server", "nginx"),
            ("set-cookie", "sid=1"),
            ("x-auth-token", "t"),
            ("location", "https://example.com/sk_live_abcdefgh"),
        ]);
        assert_eq!(lines, "server: nginx\nset-cookie: •••\nx-auth-token: •••\nlocation: https://example.com/•••");
        let parsed: Vec<_> = parse_kept_headers(&lines).collect();
        assert_eq!(parsed[0], ("server", "nginx"));
        assert_eq!(parsed.len(), 4);
        assert_eq!(kept(&[("date", "now")]), "");
    }

    #[test]
    fn kept_headers_are_bounded_in_number_and_bytes() {
        let mut many = HeaderMap::new();
        for number in 0..100 {
            many.insert(HeaderName::try_from(format!("x-{number}")).unwrap(), HeaderValue::from_static("v"));
        }
        let secrets = Secrets::default();
        assert_eq!(kept_headers(&many, &secrets).unwrap().lines().count(), HEADERS_MAX);
        let mut long = HeaderMap::new();
        for number in 0..30 {
            let value = HeaderValue::try_from("é".repeat(4_000)).unwrap();
            long.insert(HeaderName::try_from(format!("x-{number}")).unwrap(), value);
        }
        let lines = kept_headers(&long, &secrets).unwrap();
        assert!(lines.len() <= HEADERS_BYTES_MAX, "{}", lines.len());
        assert!(parse_kept_headers(&lines).all(|(_, value)| value.len() <= VALUE_BYTES_MAX));
    }
}
