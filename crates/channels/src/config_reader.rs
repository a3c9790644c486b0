//! Reading a `config` object over what is kept: the rules that every channel type shares.
//!
//! A missing field keeps its value, `null` clears it, and a secret also keeps its value where it comes back empty or
//! as the masked preview that the API showed.

use serde_json::{Map, Value};
use tidings_domain::secret::Secret;
use tidings_domain::violation::{Violation, Violations, pointer};
use url::Url;

use crate::config::{ChannelConfig, ChannelContext, Field};
use crate::egress::target::{URL_BYTES_MAX, check_url};

/// What stands for a secret that is shown not at all.
pub const MASK: &str = "•••";

/// What is said of a secret that an edit would send to another destination than the one it was given for.
pub const GIVE_AGAIN: &str = "give it again: the destination changed";

/// A `config` object as it is read, field by field, with what is found wrong on the way.
pub struct ConfigReader<'a> {
    input: &'a Map<String, Value>,
    current: Option<&'a ChannelConfig>,
    violations: Violations,
}

impl<'a> ConfigReader<'a> {
    /// Begins to read; keys that are no field are violations already.
    pub fn new(fields: &[Field], input: &'a Map<String, Value>, current: Option<&'a ChannelConfig>) -> Self {
        let mut form = Self { input, current, violations: Violations::new() };
        for key in input.keys().filter(|key| fields.iter().all(|field| field.key != key.as_str())) {
            let known: Vec<_> = fields.iter().map(|field| field.key).collect();
            form.refuse(key, format!("is not a known field; the fields are {}", known.join(", ")));
        }
        form
    }

    /// Notes what is wrong with the field.
    pub fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.violations.push(Violation::new(pointer(key), message));
    }

    /// The field as it came in: `None` if it is missing.
    pub fn raw(&self, key: &str) -> Option<&'a Value> {
        self.input.get(key)
    }

    /// What is kept, on an edit.
    pub fn current(&self) -> Option<&'a ChannelConfig> {
        self.current
    }

    /// A text that is no secret: empty is as `null`.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.input.get(key) {
            None => self.current?.settings.get(key)?.as_str().map(str::to_owned),
            Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
            Some(_) => {
                self.refuse(key, "must be a string");
                None
            }
        }
    }

    /// A secret text: missing, empty or masked as it was shown keeps what is kept; `null` clears it.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        let kept = || self.current.and_then(|current| current.secrets.get(key)).cloned();
        let shown = || self.current.and_then(|current| current.settings.get(key)).and_then(Value::as_str);
        match self.input.get(key) {
            None => kept(),
            Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() || Some(text.as_str()) == shown() => kept(),
            Some(Value::String(text)) => Some(Secret::new(text.clone())),
            Some(_) => {
                self.refuse(key, "must be a string");
                None
            }
        }
    }

    /// A secret URL that may be a target, with what is to be kept of it: its normal spelling.
    pub fn secret_url(&mut self, key: &str, environment: &ChannelContext) -> Option<(Secret, Url)> {
        let secret = self.secret(key)?;
        match read_url(secret.expose(), environment) {
            Ok(url) => Some((Secret::new(url.as_str()), url)),
            Err(message) => {
                self.refuse(key, message);
                None
            }
        }
    }

    /// Notes that the field must be there, unless something was found wrong with it already.
    pub fn require(&mut self, key: &str, message: &str) {
        let pointer = pointer(key);
        if !self.violations.iter().any(|violation| violation.pointer == pointer) {
            self.refuse(key, message);
        }
    }

    /// Notes what is wrong inside the field.
    pub fn error_under(&mut self, key: &str, violations: Violations) {
        let prefix = pointer(key);
        self.violations.extend(violations.into_iter().map(|violation| violation.under(&prefix)));
    }

    /// Ends reading: what is to be kept, or all that was wrong.
    pub fn finish(self, stored: ChannelConfig) -> Result<ChannelConfig, Violations> {
        if self.violations.is_empty() { Ok(stored) } else { Err(self.violations) }
    }

    /// Whether something was found wrong.
    pub fn is_refused(&self) -> bool {
        !self.violations.is_empty()
    }
}

/// A URL that may be a target; the error says what is wrong without quoting it.
pub fn read_url(text: &str, environment: &ChannelContext) -> Result<Url, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("must be at most {URL_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters".into());
    }
    let mut url =
        Url::parse(text).map_err(|error| format!("must be a URL such as https://example.com/hook: {error}"))?;
    // A fragment never goes over the wire.
    url.set_fragment(None);
    check_url(&url, environment.egress.guard())?;
    Ok(url)
}

/// A text of this many characters looks like a token, whatever it is made of.
const TOKEN_CHARS_MIN: usize = 16;
/// So does one of this many, if it holds a digit and a letter.
const MIXED_TOKEN_CHARS_MIN: usize = 8;

/// Whether a segment of a path looks like a token: it is long, or digits stand among letters in a way in which they do
/// not in words and versions such as `v1`. What is shown of a URL and what is masked in answers both go by this.
pub fn is_token(segment: &str) -> bool {
    let chars = segment.chars().count();
    let any = |of: fn(&u8) -> bool| segment.as_bytes().iter().any(of);
    let (digit, lower, upper) = (any(u8::is_ascii_digit), any(u8::is_ascii_lowercase), any(u8::is_ascii_uppercase));
    chars >= TOKEN_CHARS_MIN
        || (digit && lower && upper)
        || (digit && (lower || upper) && chars >= MIXED_TOKEN_CHARS_MIN)
}

/// The URL as it may be shown: host and path stay, the values of its query and what looks like a token are masked.
/// Path segments from `open_segments` on are masked whatever they look like.
pub fn preview_url(url: &Url, open_segments: usize) -> String {
    let mut shown = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown.push_str(&format!(":{port}"));
    }
    for (index, segment) in url.path_segments().into_iter().flatten().enumerate() {
        shown.push('/');
        match segment {
            "" => {}
            _ if is_token(segment) => shown.push_str(&masked(segment)),
            _ if index >= open_segments => shown.push_str(MASK),
            _ => shown.push_str(segment),
        }
    }
    for (index, pair) in url.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, value)) => shown.push_str(&format!("{name}={}", masked(value))),
            // A bare word may be the token itself.
            None => shown.push_str(&masked(pair)),
        }
    }
    shown
}

/// `abcd…` of what is long enough to stay secret without its beginning, else only that something is there.
pub fn masked(secret: &str) -> String {
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
    fn previews_keep_what_helps_and_mask_what_opens() {
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
    fn tokens_are_told_from_words() {
        for word in ["", "hooks", "hook", "in", "v1", "v1.0", "v2beta1", "api", "T0", "incoming", "sendMessage", "2026"]
        {
            assert!(!is_token(word), "{word}");
        }
        for token in ["aB3", "k9XwQ", "a1b2c3d4", "A1B2C3D4", "T00000000", "abcdefghijklmnop", "1234567890123456"] {
            assert!(is_token(token), "{token}");
        }
        assert_eq!(shown("https://example.com/hooks/v1/aB3xyz", usize::MAX), "https://example.com/hooks/v1/•••");
    }
}
