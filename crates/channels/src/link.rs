//! Links of messages. Their texts come from elsewhere, and a vendor that finds one malformed refuses the whole message.

use tidings_domain::text::truncate_chars;
use url::{Host, Url};

/// How much of a text that is no link is shown, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// A message's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// `http` or `https`, as the URL standard serialises it: ASCII, without spaces.
    Web(String),
    /// Any other text: shown only.
    Text(String),
}

impl Link {
    /// Reads a cleaned text. A URL longer than `bytes_max` is a text. `None` if there is none.
    pub(crate) fn parse(text: &str, bytes_max: usize) -> Option<Self> {
        match Url::parse(text) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https") && url.has_host() && url.as_str().len() <= bytes_max =>
            {
                Some(Self::Web(url.into()))
            }
            _ if text.is_empty() => None,
            _ => Some(Self::Text(truncate_chars(text, TEXT_CHARS_MAX))),
        }
    }

    /// The same for a vendor that only takes hosts with a dot: others, such as `http://grafana/`, become texts.
    pub(crate) fn with_dotted_host(self) -> Self {
        match self {
            Self::Web(url) if !has_dotted_host(&url) => Self::Text(truncate_chars(&url, TEXT_CHARS_MAX)),
            link => link,
        }
    }

    /// The URL, if it is a web link.
    pub(crate) fn web(&self) -> Option<&str> {
        match self {
            Self::Web(url) => Some(url),
            Self::Text(_) => None,
        }
    }

    /// What is shown only, if it is no web link.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Web(_) => None,
            Self::Text(text) => Some(text),
        }
    }
}

/// Whether the URL's host is an IPv4 address or a name of at least two labels.
pub(crate) fn has_dotted_host(url: &str) -> bool {
    match Url::parse(url) {
        Ok(url) => match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name.contains('.') && name.split('.').all(|label| !label.is_empty())
            }
            Some(Host::Ipv4(_)) => true,
            Some(Host::Ipv6(_)) | None => false,
        },
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_serialises_web_links_and_keeps_others_as_text() {
        let parsed = |text: &str| Link::parse(text, 60);
        for (text, url) in [
            ("https://app.example.com/f1?a=1&b=2#x", "https://app.example.com/f1?a=1&b=2#x"),
            ("HTTP://App.Example.com", "http://app.example.com/"),
            ("https://app.example.com/a b\"<|ü", "https://app.example.com/a%20b%22%3C|%C3%BC"),
            ("https://bücher.example", "https://xn--bcher-kva.example/"),
        ] {
            assert_eq!(parsed(text), Some(Link::Web(url.into())), "{text}");
        }
        for text in ["javascript:alert(1)", "data:text/html,x", "/relative", "https://a b/", "https://"] {
            assert_eq!(parsed(text), Some(Link::Text(text.into())), "{text}");
        }
        assert!(
            matches!(parsed(&format!("https://a.example/{}", "é".repeat(900))), Some(Link::Text(cut)) if cut.len() < 700)
        );
        assert_eq!(parsed(""), None);
    }

    #[test]
    fn hosts_without_a_dot_are_not_dotted() {
        for url in
            ["http://grafana/d/1", "http://localhost:3000/", "http://localhost./", "http://[::1]/", "http://a..b/"]
        {
            assert!(!has_dotted_host(url), "{url}");
            assert_eq!(Link::Web(url.into()).with_dotted_host(), Link::Text(url.into()));
        }
        for url in ["https://example.com/", "https://example.com./", "http://10.0.0.1:9090/"] {
            assert!(has_dotted_host(url), "{url}");
        }
    }
}
