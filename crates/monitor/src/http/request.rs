//! The request of an HTTP probe, as a pure function of the endpoint, and how redirects change it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_LOCATION, CONTENT_TYPE, COOKIE, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use tidings_channels::egress::decode::ACCEPTED_CODINGS;
use tidings_domain::endpoint::{Auth, HttpProbe, METHODS, URL_BYTES_MAX};
use tidings_domain::secret::Secret;
use url::{Host, Url};

use crate::target::ProbeTarget;

/// Headers of an endpoint that are ignored: those of message framing and connection handling, which the transport sets,
/// and `Accept-Encoding`, which names what is decoded.
const RESERVED_HEADERS: [HeaderName; 11] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// Headers that must not be sent to another origin.
const ORIGIN_BOUND_HEADERS: [HeaderName; 4] = [AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION];
/// Headers that describe the request body.
const BODY_HEADERS: [HeaderName; 5] =
    [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE];

/// One URL in a chain of redirects.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    pub url: Url,
    pub target: ProbeTarget,
    pub is_tls: bool,
    /// Scheme, host and port: the scope of connections and credentials.
    pub origin: String,
    uri: Uri,
    host: HeaderValue,
}

impl Hop {
    /// The URL of an endpoint, which must not hold credentials.
    pub fn from_endpoint_url(url: &str) -> Result<Self, String> {
        if url.len() > URL_BYTES_MAX {
            return Err(format!("the URL must be at most {URL_BYTES_MAX} bytes"));
        }
        let url = Url::parse(url).map_err(|_| "the URL is invalid")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL must not hold a user name or password".into());
        }
        Self::from_url(url)
    }

    /// Any `http` or `https` URL.
    pub fn from_url(url: Url) -> Result<Self, String> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("the URL must begin with http:// or https://".into()),
        };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("the URL must name a host".into());
        };
        let target = ProbeTarget::new(host.to_owned(), port).map_err(|why| format!("the URL {why}"))?;
        if let (true, Host::Domain(_)) = (is_tls, &target.host) {
            target.server_name().map_err(|why| format!("the URL {why}"))?;
        }
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let path: PathAndQuery = path.parse().map_err(|_| "the URL must have a path that is valid in HTTP")?;
        let host = HeaderValue::from_str(&authority).map_err(|_| "the URL must name a host that is valid in HTTP")?;
        let origin = format!("{}://{}", url.scheme(), target.name);
        Ok(Self { url, target, is_tls, origin, uri: Uri::from(path), host })
    }
}

/// Method, headers and body, independent of the URL.
#[derive(Debug, Clone)]
pub(crate) struct RequestTemplate {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl RequestTemplate {
    /// The endpoint's request, without its credentials.
    pub fn new(probe: &HttpProbe, user_agent: &str) -> Result<Self, String> {
        let method = if METHODS.contains(&&*probe.method) { probe.method.parse().ok() } else { None };
        let method: Method = method.ok_or_else(|| format!("the method must be one of {}", METHODS.join(", ")))?;
        let mut headers = HeaderMap::with_capacity(probe.headers.len() + 4);
        for (name, value) in &probe.headers {
            // Both parsers reject line breaks and NUL, which prevents header injection.
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                return Err("a header's name holds characters that HTTP does not allow".into());
            };
            let mut value = HeaderValue::from_bytes(value.expose().as_bytes())
                .map_err(|_| format!("the header {name} holds characters that HTTP does not allow"))?;
            value.set_sensitive(true);
            if !RESERVED_HEADERS.contains(&name) {
                headers.try_append(name, value).map_err(|_| "there are too many headers")?;
            }
        }
        if !headers.contains_key(USER_AGENT) {
            let agent = HeaderValue::from_str(user_agent).map_err(|_| "the user agent cannot be sent")?;
            headers.insert(USER_AGENT, agent);
        }
        if !headers.contains_key(ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED_CODINGS));
        let body = Bytes::copy_from_slice(probe.body.as_ref().map_or("", Secret::expose).as_bytes());
        Ok(Self { method, headers, body })
    }

    /// Sets the credentials. They replace an `Authorization` header of the endpoint.
    pub fn authorize(&mut self, value: HeaderValue) {
        self.headers.insert(AUTHORIZATION, value);
    }

    /// Builds the request to this URL. `cookies` are those that servers set during the check; they follow the endpoint's
    /// own.
    pub fn build(&self, hop: &Hop, cookies: Option<HeaderValue>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = hop.uri.clone();
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + 2);
        headers.insert(HOST, hop.host.clone());
        if self.body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&self.method) {
            // Some servers require it (411), and hyper writes none for an empty body.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        for (name, value) in &self.headers {
            if *name == HOST {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        if let Some(cookies) = cookies {
            // One header: servers must get all cookies of a request in one (RFC 6265, 5.4).
            let joined = match headers.get(COOKIE) {
                Some(own) => HeaderValue::from_bytes(&[own.as_bytes(), b"; ", cookies.as_bytes()].concat()).ok(),
                None => Some(cookies),
            };
            if let Some(joined) = joined {
                headers.insert(COOKIE, joined);
            }
        }
        request
    }

    /// Changes the request for a redirect with this status, as browsers do (Fetch standard, section 4.4).
    pub fn apply_redirect(&mut self, status: u16, is_same_origin: bool) {
        let becomes_get = match status {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            BODY_HEADERS.iter().for_each(|name| _ = self.headers.remove(name));
        }
        if !is_same_origin {
            ORIGIN_BOUND_HEADERS.iter().for_each(|name| _ = self.headers.remove(name));
        }
    }
}

/// The `Authorization` header. The error does not quote the secret.
pub(crate) fn authorization_header(auth: &Auth) -> Result<HeaderValue, String> {
    let scheme = match auth {
        // An empty password is valid, an empty token is not.
        Auth::Bearer { token } if token.is_empty() => return Err("its token is missing".into()),
        Auth::Basic { .. } => "Basic",
        Auth::Bearer { .. } => "Bearer",
    };
    let text = Secret::new(format!("{scheme} {}", credentials(auth).expose()));
    let mut value =
        HeaderValue::from_str(text.expose()).map_err(|_| "its token holds characters that HTTP does not allow")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The part of the header after the scheme.
pub(crate) fn credentials(auth: &Auth) -> Secret {
    match auth {
        Auth::Basic { username, password } => {
            let pair = Secret::new(format!("{username}:{}", password.expose()));
            Secret::new(BASE64.encode(pair.expose()))
        }
        Auth::Bearer { token } => token.clone(),
    }
}

#[cfg(test)]
mod tests;
