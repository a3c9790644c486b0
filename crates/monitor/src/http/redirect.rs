//! Redirects: which responses are one, and where they lead.

use http::HeaderValue;

use super::request::Hop;

/// The longest URL that is followed, in bytes. URLs of sign-in redirects are long.
const URL_BYTES_MAX: usize = 8 * 1_024;

/// Whether a response with this status and a `Location` is a redirect.
pub(crate) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The URL of `Location`, relative to the current one. The error continues a sentence that starts with the server's
/// name.
pub(crate) fn next_hop(from: &Hop, location: &HeaderValue) -> Result<Hop, String> {
    let location = String::from_utf8_lossy(location.as_bytes());
    if location.len() > URL_BYTES_MAX {
        return Err(format!("redirects to a URL of more than {URL_BYTES_MAX} bytes"));
    }
    let mut url = from.url.join(&location).map_err(|_| "redirects to an invalid URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("redirects to a URL that is neither http nor https".into());
    }
    url.set_fragment(None);
    // A server must not choose credentials for us. The calls fail only for URLs without a host, which are rejected
    // below.
    let _ = (url.set_username(""), url.set_password(None));
    Hop::from_url(url).map_err(|why| format!("redirects to a URL that cannot be requested: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(location: &str) -> Result<String, String> {
        let from = Hop::from_endpoint_url("https://a.example:8443/x/y?q=1").unwrap();
        next_hop(&from, &HeaderValue::from_bytes(location.as_bytes()).unwrap()).map(|hop| hop.url.to_string())
    }

    #[test]
    fn next_hop_resolves_locations_as_browsers_do() {
        for (location, url) in [
            ("/z", "https://a.example:8443/z"),
            ("z", "https://a.example:8443/x/z"),
            ("?p=2", "https://a.example:8443/x/y?p=2"),
            ("//b.example/", "https://b.example/"),
            ("http://b.example", "http://b.example/"),
            ("https://user:secret@b.example/#part", "https://b.example/"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("/ä", "https://a.example:8443/%C3%A4"),
            ("", "https://a.example:8443/x/y?q=1"),
        ] {
            assert_eq!(resolved(location).as_deref(), Ok(url));
        }
    }

    #[test]
    fn next_hop_unusable_location_fails() {
        for location in
            ["ftp://b.example/", "file:///etc/passwd", "javascript:alert(1)", "http://", "http://b:0/", "http://[::1"]
        {
            assert!(resolved(location).is_err(), "{location}");
        }
        assert!(resolved(&"x".repeat(URL_BYTES_MAX + 1)).is_err());
    }
}
