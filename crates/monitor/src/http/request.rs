//! The request of a probe, as a pure function of the endpoint, and what becomes of it on the way through redirects.

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
use tidings_domain::endpoint::{Auth, HttpProbe, METHODS, URL_BYTES_MAX};
use tidings_domain::secret::Secret;
use url::{Host, Url};

use crate::target::Target;

/// Headers that say where a message ends and what becomes of its connection, which are the transport's, and the one
/// that asks for bodies that are not unpacked. An endpoint's own are passed over.
const RESERVED: [HeaderName; 11] = [
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
/// Headers that are for one origin only.
const OF_ORIGIN: [HeaderName; 4] = [AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION];
/// Headers that speak of the body.
const OF_BODY: [HeaderName; 5] = [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE];

/// One place that is asked.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    pub url: Url,
    pub target: Target,
    pub is_tls: bool,
    /// Scheme, host and port: what connections and credentials belong to.
    pub origin: String,
    uri: Uri,
    host: HeaderValue,
}

impl Hop {
    /// The endpoint's own URL.
    pub fn first(url: &str) -> Result<Self, String> {
        if url.len() > URL_BYTES_MAX {
            return Err(format!("the URL must be at most {URL_BYTES_MAX} bytes"));
        }
        let url = Url::parse(url).map_err(|_| "the URL cannot be read")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL must not hold a user name or password".into());
        }
        Self::to(url)
    }

    /// Any URL.
    pub fn to(url: Url) -> Result<Self, String> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("the URL must begin with http:// or https://".into()),
        };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("the URL must name a host".into());
        };
        let target = Target::new(host.to_owned(), port).map_err(|why| format!("the URL {why}"))?;
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
        let path: PathAndQuery = path.parse().map_err(|_| "the URL must have a path that HTTP can attempt_state")?;
        let host =
            HeaderValue::from_str(&authority).map_err(|_| "the URL must name a host that HTTP can attempt_state")?;
        let origin = format!("{}://{}", url.scheme(), target.name);
        Ok(Self { url, target, is_tls, origin, uri: Uri::from(path), host })
    }
}

/// What is asked, wherever.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Draft {
    /// The endpoint's request, without its credentials.
    pub fn new(probe: &HttpProbe, user_agent: &str) -> Result<Self, String> {
        let method = if METHODS.contains(&&*probe.method) { probe.method.parse().ok() } else { None };
        let method: Method = method.ok_or_else(|| format!("the method must be one of {}", METHODS.join(", ")))?;
        let mut headers = HeaderMap::with_capacity(probe.headers.len() + 4);
        for (name, value) in &probe.headers {
            // Both refuse line breaks and NUL: one header cannot bring another.
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                return Err("a header's name holds characters that HTTP does not allow".into());
            };
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| format!("the header {name} holds characters that HTTP does not allow"))?;
            if !RESERVED.contains(&name) {
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
        let body = Bytes::from(probe.body.clone().unwrap_or_default());
        Ok(Self { method, headers, body })
    }

    /// Adds credentials; they go before a header of the endpoint's own.
    pub fn authorize(&mut self, value: HeaderValue) {
        self.headers.insert(AUTHORIZATION, value);
    }

    /// The request to this place.
    pub fn request(&self, hop: &Hop) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = hop.uri.clone();
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + 2);
        headers.insert(HOST, hop.host.clone());
        if self.body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&self.method) {
            // Some servers insist on it (411); nothing writes it for a body that is not there.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        for (name, value) in &self.headers {
            if *name == HOST {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        request
    }

    /// What is asked of the place that an answer with this status led to, as browsers do it (Fetch, 4.4).
    pub fn redirect(&mut self, status: u16, is_same_origin: bool) {
        let becomes_get = match status {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            OF_BODY.iter().for_each(|name| _ = self.headers.remove(name));
        }
        if !is_same_origin {
            OF_ORIGIN.iter().for_each(|name| _ = self.headers.remove(name));
        }
    }
}

/// The `Authorization` that shows who we are. The error does not quote the secret.
pub(crate) fn authorization(auth: &Auth, secret: Option<&Secret>) -> Result<HeaderValue, String> {
    let missing = Secret::default();
    let secret = match (auth, secret) {
        (_, Some(secret)) => secret,
        // A user may have no password; a token is there or is none.
        (Auth::Basic { .. }, None) => &missing,
        (Auth::Bearer, None) => return Err("its token is missing".into()),
    };
    let scheme = match auth {
        Auth::Basic { .. } => "Basic",
        Auth::Bearer => "Bearer",
    };
    let text = Secret::new(format!("{scheme} {}", credentials(auth, secret).expose()));
    let mut value = HeaderValue::from_str(text.expose()).map_err(|_| "its token holds what no header can hold")?;
    value.set_sensitive(true);
    Ok(value)
}

/// What stands behind the scheme.
pub(crate) fn credentials(auth: &Auth, secret: &Secret) -> Secret {
    match auth {
        Auth::Basic { username } => {
            let pair = Secret::new(format!("{username}:{}", secret.expose()));
            Secret::new(BASE64.encode(pair.expose()))
        }
        Auth::Bearer => secret.clone(),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
