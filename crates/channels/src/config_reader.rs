//! Reads a `config` object and merges it over the stored configuration, by the rules that all channel types share.
//!
//! A missing field keeps its value and `null` clears it. A secret also keeps its value if it is sent back empty or as
//! the masked preview that the API showed.

use serde_json::{Map, Value};
use tidings_domain::secret::Secret;
use tidings_domain::violation::{Violation, Violations, pointer};
use url::Url;

use crate::config::{ChannelConfig, ChannelContext, Field};
use crate::egress::target::{URL_BYTES_MAX, check_url};

/// Replaces a secret that is too short for a preview.
pub use tidings_domain::secret::MASK;

/// The violation of a stored secret that an edit would send to another destination than the one it was entered for.
pub const REENTER_SECRET: &str = "must be entered again, because the destination changed";

/// Reads a `config` object field by field and collects violations.
pub struct ConfigReader<'a> {
    input: &'a Map<String, Value>,
    current: Option<&'a ChannelConfig>,
    violations: Violations,
}

impl<'a> ConfigReader<'a> {
    /// Reports keys that are not a field.
    pub fn new(fields: &[Field], input: &'a Map<String, Value>, current: Option<&'a ChannelConfig>) -> Self {
        let mut reader = Self { input, current, violations: Violations::new() };
        for key in input.keys().filter(|key| fields.iter().all(|field| field.key != key.as_str())) {
            let known: Vec<_> = fields.iter().map(|field| field.key).collect();
            reader.error(key, format!("is not a known field; the fields are {}", known.join(", ")));
        }
        reader
    }

    /// Adds a violation of this field.
    pub fn error(&mut self, key: &str, message: impl Into<String>) {
        self.violations.push(Violation::new(pointer(key), message));
    }

    /// The field as it was sent; `None` if it is missing.
    pub fn raw(&self, key: &str) -> Option<&'a Value> {
        self.input.get(key)
    }

    /// The stored configuration, on an edit.
    pub fn current(&self) -> Option<&'a ChannelConfig> {
        self.current
    }

    /// A text that is not secret. Empty means `null`.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.input.get(key) {
            None => self.current?.settings.get(key)?.as_str().map(str::to_owned),
            Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
            Some(_) => {
                self.error(key, "must be a string");
                None
            }
        }
    }

    /// A secret text. Missing, empty or masked keeps the stored value; `null` clears it.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        let stored = || self.current.and_then(|current| current.secrets.get(key)).cloned();
        let preview = || self.current.and_then(|current| current.settings.get(key)).and_then(Value::as_str);
        match self.input.get(key) {
            None => stored(),
            Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() || Some(text.as_str()) == preview() => stored(),
            Some(Value::String(text)) => Some(Secret::new(text.clone())),
            Some(_) => {
                self.error(key, "must be a string");
                None
            }
        }
    }

    /// A secret URL that is a valid target, and its normalised spelling as the secret to store.
    pub fn secret_url(&mut self, key: &str, context: &ChannelContext) -> Option<(Secret, Url)> {
        let secret = self.secret(key)?;
        match parse_url(secret.expose(), context) {
            Ok(url) => Some((Secret::new(url.as_str()), url)),
            Err(message) => {
                self.error(key, message);
                None
            }
        }
    }

    /// Adds a violation of a missing field, unless one of the same field was found already.
    pub fn require(&mut self, key: &str, message: &str) {
        let pointer = pointer(key);
        if !self.violations.iter().any(|violation| violation.pointer == pointer) {
            self.error(key, message);
        }
    }

    /// Adds violations from within the field.
    pub fn error_under(&mut self, key: &str, violations: Violations) {
        let prefix = pointer(key);
        self.violations.extend(violations.into_iter().map(|violation| violation.under(&prefix)));
    }

    /// Returns the configuration to store, or all violations.
    pub fn finish(self, stored: ChannelConfig) -> Result<ChannelConfig, Violations> {
        if self.violations.is_empty() { Ok(stored) } else { Err(self.violations) }
    }
}

/// A URL that may be a target. The error says what is wrong without quoting the URL.
pub fn parse_url(text: &str, context: &ChannelContext) -> Result<Url, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("must be at most {URL_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".into());
    }
    let mut url =
        Url::parse(text).map_err(|error| format!("must be a URL such as https://example.com/hook: {error}"))?;
    // A fragment is never sent; without it, equal targets are stored equally.
    url.set_fragment(None);
    check_url(&url, context.egress.guard())?;
    Ok(url)
}

/// A text of at least this many characters is taken for a token, whatever its characters.
const TOKEN_CHARS_MIN: usize = 16;
/// With digits and letters, this many are enough.
const MIXED_TOKEN_CHARS_MIN: usize = 8;

/// Whether a path segment looks like a token: it is long, or mixes digits and letters as words and versions such as
/// `v1` do not. Previews of URLs and the masking of responses share this rule.
pub fn looks_like_token(segment: &str) -> bool {
    let chars = segment.chars().count();
    let any = |of: fn(&u8) -> bool| segment.as_bytes().iter().any(of);
    let (digit, lower, upper) = (any(u8::is_ascii_digit), any(u8::is_ascii_lowercase), any(u8::is_ascii_uppercase));
    chars >= TOKEN_CHARS_MIN
        || (digit && lower && upper)
        || (digit && (lower || upper) && chars >= MIXED_TOKEN_CHARS_MIN)
}

/// The URL as it may be shown: host and path are kept; query values and path segments that look like tokens are masked.
/// Segments from index `open_segments` on are always masked.
pub fn preview_url(url: &Url, open_segments: usize) -> String {
    let mut preview = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        preview.push_str(&format!(":{port}"));
    }
    for (index, segment) in url.path_segments().into_iter().flatten().enumerate() {
        preview.push('/');
        match segment {
            "" => {}
            _ if looks_like_token(segment) => preview.push_str(&mask(segment)),
            _ if index >= open_segments => preview.push_str(MASK),
            _ => preview.push_str(segment),
        }
    }
    for (index, pair) in url.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        preview.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, value)) => preview.push_str(&format!("{name}={}", mask(value))),
            // A parameter without `=` may itself be the token.
            None => preview.push_str(&mask(pair)),
        }
    }
    preview
}

/// `abcd…` for a secret that is long enough to show its beginning, else [`MASK`].
pub fn mask(secret: &str) -> String {
    if secret.chars().count() < TOKEN_CHARS_MIN {
        return MASK.to_owned();
    }
    let beginning: String = secret.chars().take(4).collect();
    format!("{beginning}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str, open_segments: usize) -> String {
        preview_url(&Url::parse(url).unwrap(), open_segments)
    }

    #[test]
    fn preview_url_keeps_host_and_words_and_masks_secrets() {
        for (url, preview) in [
            ("https://example.com", "https://example.com/"),
            ("https://example.com:8443/hooks/mako/", "https://example.com:8443/hooks/mako/"),
            ("https://example.com/h/abcdefghijklmnop", "https://example.com/h/abcd…"),
            ("https://example.com/h?v=1&token=abcdefghijklmnop&x", "https://example.com/h?v=•••&token=abcd…&•••"),
        ] {
            assert_eq!(shown(url, usize::MAX), preview);
        }
        assert_eq!(
            shown("https://hooks.slack.com/services/T0/B0/x", 1),
            "https://hooks.slack.com/services/•••/•••/•••"
        );
    }

    #[test]
    fn looks_like_token_separates_tokens_from_words() {
        for word in ["", "hooks", "hook", "in", "v1", "v1.0", "v2beta1", "api", "T0", "incoming", "sendMessage", "2026"]
        {
            assert!(!looks_like_token(word), "{word}");
        }
        for token in ["aB3", "k9XwQ", "a1b2c3d4", "A1B2C3D4", "T00000000", "abcdefghijklmnop", "1234567890123456"] {
            assert!(looks_like_token(token), "{token}");
        }
        assert_eq!(shown("https://example.com/hooks/v1/aB3xyz", usize::MAX), "https://example.com/hooks/v1/•••");
    }
}
