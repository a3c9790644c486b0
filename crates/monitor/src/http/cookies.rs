//! The cookies of one check: what a server sets on a redirect is sent with the requests that follow, as sign-in pages and
//! consent pages expect (RFC 6265). They are forgotten when the check ends.

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use tidings_domain::time::Timestamp;
use url::{Host, Url};

/// Cookies of one check, at most.
const COOKIES_MAX: usize = 50;
/// The longest name and value together, in bytes.
const COOKIE_BYTES_MAX: usize = 4_096;
/// The longest `Cookie` header, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1_024;

/// The cookies that were set so far.
#[derive(Debug, Default)]
pub(crate) struct CookieJar(Vec<Cookie>);

#[derive(Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    /// A host name in lower case, or an address.
    domain: String,
    /// Whether it is sent to subdomains of `domain`.
    has_subdomains: bool,
    path: String,
    is_secure: bool,
}

impl CookieJar {
    /// Takes the cookies of a response from this URL.
    pub fn store(&mut self, url: &Url, headers: &HeaderMap, now: Timestamp) {
        for header in headers.get_all(SET_COOKIE) {
            let Some((cookie, is_over)) = parse(url, &String::from_utf8_lossy(header.as_bytes()), now) else {
                continue;
            };
            self.0.retain(|it| (&it.name, &it.domain, &it.path) != (&cookie.name, &cookie.domain, &cookie.path));
            if !is_over && self.0.len() < COOKIES_MAX {
                self.0.push(cookie);
            }
        }
    }

    /// The `Cookie` header of a request to this URL.
    pub fn header(&self, url: &Url) -> Option<HeaderValue> {
        let host = url.host_str()?;
        let mut fitting: Vec<_> = self.0.iter().filter(|cookie| cookie.is_for(url, host)).collect();
        // Those of longer paths come first (RFC 6265, 5.4). The sort is stable.
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let mut text = String::new();
        for Cookie { name, value, .. } in fitting {
            if text.len() + name.len() + value.len() > HEADER_BYTES_MAX {
                break;
            }
            let separator = if text.is_empty() { "" } else { "; " };
            text.push_str(&format!("{separator}{name}={value}"));
        }
        if text.is_empty() { None } else { HeaderValue::from_bytes(text.as_bytes()).ok() }
    }
}

impl Cookie {
    fn is_for(&self, url: &Url, host: &str) -> bool {
        let is_host = host == self.domain || self.has_subdomains && is_subdomain(host, &self.domain);
        is_host && path_matches(url.path(), &self.path) && (!self.is_secure || url.scheme() == "https")
    }
}

fn is_subdomain(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// Whether the path is the cookie's, or lies below it (RFC 6265, 5.1.4).
fn path_matches(path: &str, of_cookie: &str) -> bool {
    path.strip_prefix(of_cookie)
        .is_some_and(|rest| rest.is_empty() || of_cookie.ends_with('/') || rest.starts_with('/'))
}

/// A cookie, and whether it is over already, which deletes it; `None` if it is malformed or not for this server to set.
fn parse(url: &Url, header: &str, now: Timestamp) -> Option<(Cookie, bool)> {
    let mut parts = header.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || name.len() + value.len() > COOKIE_BYTES_MAX || header.contains(char::is_control) {
        return None;
    }
    let host = url.host_str()?;
    let mut cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        domain: host.to_owned(),
        has_subdomains: false,
        path: default_path(url.path()).to_owned(),
        is_secure: false,
    };
    let (mut max_age, mut expires) = (None, None);
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "domain" => {
                let domain = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase();
                let is_name = matches!(url.host(), Some(Host::Domain(_)));
                if domain.is_empty() || domain == host {
                    cookie.has_subdomains = is_name && !domain.is_empty();
                } else if is_name && is_subdomain(host, &domain) && domain.contains('.') {
                    (cookie.domain, cookie.has_subdomains) = (domain, true);
                } else {
                    // For another host, or for a whole top-level domain.
                    return None;
                }
            }
            "path" if value.starts_with('/') => cookie.path = value.to_owned(),
            "secure" => cookie.is_secure = true,
            "max-age" => max_age = value.parse::<i64>().ok().or(max_age),
            "expires" => expires = date(value).or(expires),
            _ => {}
        }
    }
    if cookie.is_secure && url.scheme() != "https" {
        return None;
    }
    let is_over = max_age.map_or_else(|| expires.is_some_and(|at| at <= now), |seconds| seconds <= 0);
    Some((cookie, is_over))
}

/// The directory of the path (RFC 6265, 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

/// A date as servers write it: `Thu, 01 Jan 1970 00:00:00 GMT`, with dashes, with two digits for the year, or as
/// `Thu Jan  1 00:00:00 1970`.
fn date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let text = text.to_ascii_lowercase();
    let (mut time, mut month, mut numbers) = (None, None, Vec::new());
    for token in text.split([' ', ',', '-']).filter(|token| !token.is_empty()) {
        if token.contains(':') {
            time = Some(token);
        } else if let Ok(number) = token.parse::<u16>() {
            numbers.push(number);
        } else {
            month = month.or_else(|| MONTHS.iter().position(|name| token.starts_with(name)));
        }
    }
    let [day, year] = numbers[..] else { return None };
    let year = year
        + if year < 70 {
            2_000
        } else if year < 100 {
            1_900
        } else {
            0
        };
    Timestamp::parse(&format!("{year:04}-{:02}-{day:02}T{}Z", month? + 1, time?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_412_345);

    /// The `Cookie` header at `to` after the response from `from` has set these.
    fn sent(from: &str, set: &[&str], to: &str) -> String {
        let mut headers = HeaderMap::new();
        for cookie in set {
            headers.append(SET_COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        }
        let mut jar = CookieJar::default();
        jar.store(&Url::parse(from).unwrap(), &headers, NOW);
        let header = jar.header(&Url::parse(to).unwrap());
        header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    }

    #[test]
    fn cookies_are_sent_where_domain_path_and_scheme_allow() {
        let at = "https://shop.example.com/a/b";
        for (set, to, expected) in [
            (&["s=1"][..], "https://shop.example.com/a/c", "s=1"),
            (&["s=1"], "https://shop.example.com:8443/a", "s=1"),
            (&["s=1"], "https://shop.example.com/b", ""),
            (&["s=1"], "https://shop.example.com/ab", ""),
            (&["s=1; Path=/"], "https://shop.example.com/b", "s=1"),
            (&["s=1; path=/b/"], "https://shop.example.com/b/c", "s=1"),
            (&["s=1; Path=b"], "https://shop.example.com/b", ""),
            (&["s=1; Path=/"], "https://example.com/", ""),
            (&["s=1; Path=/"], "https://www.shop.example.com/", ""),
            (&["s=1; Path=/; Domain=example.com"], "https://login.example.com/", "s=1"),
            (&["s=1; Path=/; Domain=.Example.com"], "https://example.com/", "s=1"),
            (&["s=1; Path=/; Domain=shop.example.com"], "https://x.shop.example.com/", "s=1"),
            (&["s=1; Path=/; Domain=example.com"], "https://badexample.com/", ""),
            (&["s=1; Path=/; Domain=com"], "https://example.com/", ""),
            (&["s=1; Path=/; Domain=other.com"], "https://other.com/", ""),
            (&["s=1; Path=/; Domain=x.shop.example.com"], "https://x.shop.example.com/", ""),
            (&["s=1; Path=/; Secure"], "https://shop.example.com/", "s=1"),
            (&["s=1; Path=/; Secure"], "http://shop.example.com/", ""),
            (&["a=1; Path=/", "b=2", "c=3; Path=/"], "https://shop.example.com/a/x", "b=2; a=1; c=3"),
            (&["a=1", "a=2"], at, "a=2"),
            (&["a=1", "a=; Max-Age=0"], at, ""),
            (&["a=1", "a=; Expires=Thu, 01-Jan-1970 00:00:00 GMT"], at, ""),
            (&["a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60"], at, "a=1"),
            (&["a=1; expires=Wed, 21 Oct 2099 07:28:00 GMT; HttpOnly; SameSite=Lax"], at, "a=1"),
            (&["a=b=c"], at, "a=b=c"),
            (&["a=\"b c\""], at, "a=\"b c\""),
            (&["a=ü"], at, "a=ü"),
            (&["=1", "novalue", ""], at, ""),
        ] {
            assert_eq!(sent(at, set, to), expected, "{set:?} to {to}");
        }
        assert_eq!(sent("http://a.example/", &["s=1; Secure"], "https://a.example/"), "", "not to be set without TLS");
        assert_eq!(sent("http://127.0.0.1/", &["s=1; Domain=127.0.0.1"], "http://127.0.0.1/"), "s=1");
        assert_eq!(sent("http://127.0.0.1/", &["s=1; Domain=0.0.1"], "http://1.0.0.1/"), "");
    }

    #[test]
    fn jar_is_bounded() {
        let many: Vec<_> = (0..60).map(|number| format!("c{number}={}", "x".repeat(1_000))).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let header = sent("https://a.example/", &many, "https://a.example/");
        assert!(header.len() <= HEADER_BYTES_MAX + 100 && header.contains("c5="), "{}", header.len());
        let long = format!("a={}", "x".repeat(COOKIE_BYTES_MAX));
        assert_eq!(sent("https://a.example/", &[&long], "https://a.example/"), "");
    }

    #[test]
    fn dates_are_read_in_every_common_form() {
        let epoch = Timestamp::from_unix_ms(784_111_777_000);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(date(text), Some(epoch), "{text}");
        }
        for text in ["", "0", "never", "06 Nov", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
