//! The session cookie: reading it from requests and writing it into responses.

use http::{HeaderMap, HeaderValue, header};

/// Its name under https. The prefix makes browsers refuse one that a page of another host, or one without https, sets.
pub const SECURE_NAME: &str = "__Host-tidings";
/// Its name where the service is reached by plain http, for which browsers refuse the prefix.
pub const PLAIN_NAME: &str = "tidings";

/// The cookie's value. `None` without one, and with several of the name: another host or an attacker set one of them.
///
/// Under https the plain name does not count, because any page that is loaded without https could have set it.
pub fn session_secret(headers: &HeaderMap, is_https: bool) -> Option<&str> {
    let name = if is_https { SECURE_NAME } else { PLAIN_NAME };
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// The `Set-Cookie` that keeps the secret of a session for so long. `None` if the secret has characters that cookies
/// cannot have.
pub fn set_session(secret: &str, max_age_seconds: u64, is_https: bool) -> Option<HeaderValue> {
    let (name, secure) = if is_https { (SECURE_NAME, "; Secure") } else { (PLAIN_NAME, "") };
    let text = format!("{name}={secret}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The `Set-Cookie` that removes it.
pub fn clear_session(is_https: bool) -> HeaderValue {
    HeaderValue::from_static(if is_https {
        "__Host-tidings=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
    } else {
        "tidings=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str], is_https: bool) -> Option<String> {
        let cookies = values.iter().map(|value| (header::COOKIE, HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in cookies {
            headers.append(name, value);
        }
        session_secret(&headers, is_https).map(str::to_owned)
    }

    #[test]
    fn cookie_is_found_among_others_by_the_name_of_its_scheme() {
        assert_eq!(read(&["a=b; tidings=secret; c=d"], false).as_deref(), Some("secret"));
        assert_eq!(read(&["a=b", "__Host-tidings=secret"], true).as_deref(), Some("secret"));
        assert_eq!(read(&["tidings=planted; __Host-tidings=secret"], true).as_deref(), Some("secret"));
        assert_eq!(read(&["tidings=planted"], true), None);
        assert_eq!(read(&["__Host-tidings=secret"], false), None);
    }

    #[test]
    fn cookie_that_is_ambiguous_or_empty_does_not_count() {
        assert_eq!(read(&["tidings=a; tidings=b"], false), None);
        assert_eq!(read(&["tidings=a", "tidings=a"], false), None);
        for value in ["", "tidings", "tidings=", "xtidings=a", "tidings x=a", ";;;"] {
            assert_eq!(read(&[value], false), None, "{value}");
        }
    }

    #[test]
    fn cookie_has_every_attribute_of_its_scheme() {
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        assert_eq!(
            text(set_session("secret", 60, true).unwrap()),
            "__Host-tidings=secret; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            text(set_session("secret", 60, false).unwrap()),
            "tidings=secret; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
        );
        assert!(set_session("a\nb", 60, true).is_none());
        assert_eq!(text(clear_session(true)), "__Host-tidings=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    }
}
