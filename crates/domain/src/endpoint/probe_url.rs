//! The URL of an HTTP probe, of which parts may be secret.
//!
//! Secret are the user information, query values whose name is that of a secret ([`is_secret_name`]), and query values,
//! parameters without a value and path segments that are tokens themselves ([`is_token`]).

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::limits::URL_BYTES_MAX;
use crate::secret::{MASK, Secret};

/// The fewest characters of a token.
const TOKEN_CHARS_MIN: usize = 20;

/// A URL. It is printed and serialised with its secret parts masked, and compared with them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProbeUrl(Secret);

/// A part of a URL. All parts joined are the URL.
struct Part<'a> {
    text: &'a str,
    /// Where it is, if it is secret.
    place: Option<Place<'a>>,
}

/// Where a secret part is. The stored URL has a value for a masked part only at the same place.
#[derive(PartialEq, Eq)]
enum Place<'a> {
    UserInfo,
    /// The number of the segment.
    Path(usize),
    /// The name, and how many parameters of this name are before it.
    Query(&'a str, usize),
}

impl ProbeUrl {
    /// The text may have any form: validation comes later.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Secret::new(text))
    }

    /// The whole URL, to send requests to.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The URL with `•••` for each secret part.
    pub fn masked(&self) -> String {
        parts(self.expose()).iter().map(|part| if part.place.is_some() { MASK } else { part.text }).collect()
    }

    /// The secret parts, as they stand in the URL.
    pub fn secrets(&self) -> Vec<&str> {
        parts(self.expose()).into_iter().filter(|part| part.place.is_some()).map(|part| part.text).collect()
    }

    /// The URL with each masked part replaced by that of the stored URL at the same place; `None` if there is none.
    pub fn unmasked(&self, stored: &Self) -> Option<Self> {
        let known = parts(stored.expose());
        let value = |part: &Part<'_>| match &part.place {
            Some(place) if part.text == MASK => {
                known.iter().find(|known| known.place.as_ref() == Some(place)).map(|known| known.text.to_owned())
            }
            _ => Some(part.text.to_owned()),
        };
        let whole: Option<String> = parts(self.expose()).iter().map(value).collect();
        whole.filter(|whole| !whole.contains(MASK)).map(Self::new)
    }

    /// Whether a part is masked: it is as it was shown, not as it was entered.
    pub fn is_masked(&self) -> bool {
        self.expose().contains(MASK)
    }

    /// The URL with empty texts in place of masks, where the secrets are lost.
    pub(super) fn without_masks(&self) -> Self {
        Self::new(self.expose().replace(MASK, ""))
    }

    /// Whether scheme, host and port are equal. An invalid URL has no origin and equals none.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        let origin = |url: &Self| Url::parse(url.expose()).ok().map(|url| url.origin());
        origin(self).is_some_and(|one| one.is_tuple() && Some(one) == origin(other))
    }
}

impl From<&str> for ProbeUrl {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for ProbeUrl {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for ProbeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl Serialize for ProbeUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

impl<'de> Deserialize<'de> for ProbeUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Secret::deserialize(deserializer).map(Self)
    }
}

impl PartialSchema for ProbeUrl {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(URL_BYTES_MAX));
        text.description(Some(
            "A URL with http:// or https://, at most 2,048 bytes. Tokens in it are secret: stored encrypted, and shown as \
             `•••`, which keeps the stored value in an edit.",
        ))
        .examples(["https://api.example.com/health"])
        .into()
    }
}

impl ToSchema for ProbeUrl {}

/// Splits a text that is a URL, or was to be one.
fn parts(url: &str) -> Vec<Part<'_>> {
    let mut found = Vec::new();
    let open = |text| Part { text, place: None };
    let (before_fragment, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let (address, query) = before_fragment.split_at(before_fragment.find('?').unwrap_or(before_fragment.len()));
    let (scheme, rest) = address.split_at(address.find("://").map_or(0, |at| at + 3));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = authority.split_at(authority.rfind('@').unwrap_or(0));
    found.push(open(scheme));
    found.push(Part { text: user, place: (!user.is_empty()).then_some(Place::UserInfo) });
    found.push(open(host));
    for (index, segment) in path.split_inclusive('/').enumerate() {
        let (name, slash) = segment.split_at(segment.len() - usize::from(segment.ends_with('/')));
        found.push(Part { text: name, place: (name == MASK || is_token(name)).then_some(Place::Path(index)) });
        found.push(open(slash));
    }
    let mut names: Vec<&str> = Vec::new();
    for pair in query.split_inclusive(['?', '&']) {
        let (pair, separator) = pair.split_at(pair.len() - usize::from(pair.ends_with(['?', '&'])));
        // Without `=` the parameter may itself be the token.
        let (name, value) = pair.split_at(pair.find('=').map_or(0, |at| at + 1));
        let name_text = name.strip_suffix('=').unwrap_or(name);
        let is_secret = !value.is_empty() && (value == MASK || is_secret_name(name_text) || is_token(value));
        let place = Place::Query(name_text, names.iter().filter(|known| **known == name_text).count());
        names.push(name_text);
        found.extend([open(name), Part { text: value, place: is_secret.then_some(place) }, open(separator)]);
    }
    found.push(open(fragment));
    found
}

/// Whether the text is a token, not a word: at least 20 letters, digits, `-` and `_`, with both letters and digits.
pub fn is_token(text: &str) -> bool {
    let is_of_tokens = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() >= TOKEN_CHARS_MIN
        && text.bytes().all(is_of_tokens)
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether a query parameter of this name usually carries a secret.
fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 11] = [
        "token",
        "secret",
        "passw",
        "passphrase",
        "pwd",
        "signature",
        "credential",
        "session",
        "jwt",
        "cookie",
        "authori",
    ];
    const NAMES: [&str; 13] =
        ["auth", "code", "hmac", "key", "keys", "otp", "pass", "pin", "pw", "sid", "sig", "ticket", "user_key"];
    let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
        || NAMES.contains(&name.as_str())
        || name.ends_with("key")
        || name.split(['-', '_', '.']).any(|word| matches!(word, "auth" | "key" | "sig" | "pin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_url_hides_tokens_only() {
        for (url, masked) in [
            ("https://api.example.com/health", "https://api.example.com/health"),
            ("https://shop.example.com/api?x=1&page=two", "https://shop.example.com/api?x=1&page=two"),
            ("https://a.example/h?token=t0p&x=1&apiKey=k#top", "https://a.example/h?token=•••&x=1&apiKey=•••#top"),
            (
                "https://a.example/h?X-Amz-Signature=abc&api%5Fkey=k",
                "https://a.example/h?X-Amz-Signature=•••&api%5Fkey=•••",
            ),
            ("https://a.example/h?token=&author=me", "https://a.example/h?token=&author=me"),
            ("https://u:p@a.example:8443/", "https://•••@a.example:8443/"),
            (
                "https://hc.example/ping/5d8b1c2e-7f3a-4b6d-9e0f-1a2b3c4d5e6f/start?a1b2c3d4e5f6g7h8i9j0",
                "https://hc.example/ping/•••/start?•••",
            ),
            ("nonsense", "nonsense"),
            ("", ""),
        ] {
            let url = ProbeUrl::new(url);
            assert_eq!(url.masked(), masked);
            assert_eq!(format!("{url:?}"), format!("{masked:?}"));
            assert_eq!(ProbeUrl::new(masked).masked(), masked, "a masked URL is masked as it is");
            assert_eq!(ProbeUrl::new(masked).unmasked(&url), Some(url), "{masked}");
        }
    }

    #[test]
    fn unmasked_url_takes_each_part_from_its_place() {
        let stored = ProbeUrl::new("https://a.example/old?token=one&token=two&key=three");
        let unmasked = |url: &str| ProbeUrl::new(url).unmasked(&stored).map(|url| url.expose().to_owned());
        assert_eq!(
            unmasked("https://a.example/new?x=1&token=•••").as_deref(),
            Some("https://a.example/new?x=1&token=one")
        );
        assert_eq!(
            unmasked("https://a.example/?key=•••&token=new&token=•••").as_deref(),
            Some("https://a.example/?key=three&token=new&token=two")
        );
        for without in ["https://a.example/?pin=•••", "https://a.example/•••", "https://a.example/x•••y?key=•••"]
        {
            assert_eq!(unmasked(without), None, "{without}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parts_joined_are_the_url(url in "[a-z:/?#&=@•%.0-9-]{0,60}") {
            let joined: String = parts(&url).iter().map(|part| part.text).collect();
            proptest::prop_assert_eq!(joined, url);
        }
    }
}
