//! Whether a request that a cookie authenticates was made by a page of this service.
//!
//! Browsers attach the cookie whichever page makes the request. `SameSite=Lax` keeps it from most requests of other sites,
//! but not from those of other hosts of the same site, so that every write is checked, too.

use http::{HeaderMap, HeaderName, Method, header};
use url::{Host, Url};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where a request was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// A page of this service, or the user (address bar, bookmark).
    Same,
    /// A page of another origin.
    Other,
    /// The request does not show it: no browser of these days made it.
    Unknown,
}

/// Whether the method changes nothing, so that it needs no check.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Where the request was made from: by `Sec-Fetch-Site`, which no page can set, else by `Origin`, compared with the public
/// URL and with the host that the request was sent to.
pub fn site(headers: &HeaderMap, public_url: Option<&str>) -> Site {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if let Some(site) = sites.next() {
        let is_own = matches!(site.as_bytes(), b"same-origin" | b"none") && sites.next().is_none();
        return if is_own { Site::Same } else { Site::Other };
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Site::Unknown };
    // `null` is the origin of sandboxed documents, which may be of any site.
    let parsed = origin.to_str().ok().and_then(|text| Url::parse(text).ok());
    let (Some(origin), None) = (parsed.filter(Url::has_host), origins.next()) else { return Site::Other };
    let public = public_url.and_then(|url| Url::parse(url).ok());
    if public.is_some_and(|public| public.origin() == origin.origin()) || is_of_host(&origin, headers) {
        return Site::Same;
    }
    Site::Other
}

/// Whether the origin is that of the `Host` header. The scheme of the request is not known here, so that only host and
/// port count.
fn is_of_host(origin: &Url, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.and_then(|host| Url::parse(&format!("{}://{host}", origin.scheme())).ok()) else {
        return false;
    };
    let key = |url: &Url| (url.host().map(|host: Host<&str>| host.to_owned()), url.port_or_known_default());
    key(&host) == key(origin)
}

#[cfg(test)]
mod tests;
