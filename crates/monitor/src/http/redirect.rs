//! Where an answer leads to, if it leads elsewhere.

use http::HeaderValue;

use super::request::Hop;

/// The longest URL that is followed, in bytes: those that sign-in pages make are long.
const URL_BYTES_MAX: usize = 8 * 1_024;

/// Whether an answer with this status asks to go elsewhere, if it says where to.
pub(crate) fn is_one(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The place that `Location` names. The error completes the sentence that begins with who said so.
pub(crate) fn target(from: &Hop, location: &HeaderValue) -> Result<Hop, String> {
    let location = String::from_utf8_lossy(location.as_bytes());
    if location.len() > URL_BYTES_MAX {
        return Err(format!("redirects to a URL of more than {URL_BYTES_MAX} bytes"));
    }
    let mut url = from.url.join(&location).map_err(|_| "redirects to what is no URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("redirects to what is neither http nor https".into());
    }
    url.set_fragment(None);
    // Credentials are the endpoint's own and nobody else's to give; the calls fail only where there is no host.
    let _ = (url.set_username(""), url.set_password(None));
    Hop::to(url).map_err(|why| format!("redirects to where nothing can be asked: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(location: &str) -> Result<String, String> {
        let from = Hop::first("https://a.example:8443/x/y?q=1").unwrap();
        target(&from, &HeaderValue::from_bytes(location.as_bytes()).unwrap()).map(|hop| hop.url.to_string())
    }

    #[test]
    fn locations_are_read_as_browsers_read_them() {
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
            assert_eq!(to(location).as_deref(), Ok(url));
        }
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        for location in
            ["ftp://b.example/", "file:///etc/passwd", "javascript:alert(1)", "http://", "http://b:0/", "http://[::1"]
        {
            assert!(to(location).is_err(), "{location}");
        }
        assert!(to(&"x".repeat(URL_BYTES_MAX + 1)).is_err());
    }
}
