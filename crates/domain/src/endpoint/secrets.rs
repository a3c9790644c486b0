//! The secrets of an endpoint's definition: which there are, how they are stored apart from it, and how an edit keeps them.
//!
//! Their fields have the types [`Secret`] and [`ProbeUrl`], which serialise masked. So the stored definition, every answer
//! and every audit entry hold masks, and [`Definition::secrets`] is sealed beside it.
//!
//! A stored secret is sent only to the origin for which it was set. Without that rule, a caller who cannot read the secret
//! could obtain it by an edit of the URL; so an edit that changes the origin must set every secret again.

use std::collections::BTreeMap;

use super::{Auth, Definition, HttpProbe, Probe, ProbeUrl};
use crate::secret::{MASK, Secret};
use crate::violation::{Violation, Violations, pointer};

const REQUIRED_AGAIN: &str = "must be set again, because the origin of the URL (scheme, host or port) changes";
const NOT_STORED: &str = "must be set: ••• and an empty text keep a stored value, and there is none";

/// Headers whose values are no secrets.
const HARMLESS_HEADERS: [&str; 17] = [
    "accept",
    "accept-charset",
    "accept-language",
    "cache-control",
    "content-language",
    "content-type",
    "dnt",
    "host",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "origin",
    "pragma",
    "range",
    "user-agent",
    "x-forwarded-proto",
    "x-requested-with",
];

/// Whether the value of this header may be shown.
pub(super) fn is_harmless_header(name: &str) -> bool {
    HARMLESS_HEADERS.iter().any(|harmless| name.eq_ignore_ascii_case(harmless))
}

impl Definition {
    /// The secrets by their field's path, such as `auth.password` or `headers.x-api-key`.
    pub fn secrets(&self) -> BTreeMap<String, Secret> {
        let mut secrets = BTreeMap::new();
        let Probe::Http(http) = &self.probe else { return secrets };
        let mut add = |path: String, secret: &Secret| {
            if !secret.is_empty() {
                secrets.insert(path, secret.clone());
            }
        };
        if !http.url.secrets().is_empty() {
            add("url".to_owned(), &Secret::new(http.url.expose()));
        }
        for (name, value) in http.headers.iter().filter(|(name, _)| !is_harmless_header(name)) {
            add(header_path(name), value);
        }
        http.body.iter().for_each(|body| add("body".to_owned(), body));
        http.auth.iter().for_each(|auth| add(format!("auth.{}", auth.secret_key()), auth.secret()));
        secrets
    }

    /// Puts the secrets into a definition that was read from its stored form. A missing one becomes empty, so that no mask
    /// is sent in its place.
    pub fn restore_secrets(&mut self, mut secrets: BTreeMap<String, Secret>) {
        let Probe::Http(http) = &mut self.probe else { return };
        if http.url.is_masked() {
            let stored = secrets.get("url").map(|url| ProbeUrl::new(url.expose()));
            http.url = stored.unwrap_or_else(|| http.url.without_masks());
        }
        for (name, value) in http.headers.iter_mut().filter(|(name, _)| !is_harmless_header(name)) {
            *value = secrets.remove(&header_path(name)).unwrap_or_default();
        }
        http.body = http.body.as_ref().and_then(|_| secrets.remove("body"));
        if let Some(auth) = &mut http.auth {
            let path = format!("auth.{}", auth.secret_key());
            *auth.secret_mut() = secrets.remove(&path).unwrap_or_default();
        }
    }

    /// Completes an edit of `stored`: a secret that is absent, empty or masked keeps its stored value, unless the origin
    /// changes. Returns the violations of secrets that have none.
    pub fn keep_secrets(&mut self, stored: Option<&Self>) -> Violations {
        let mut found = Violations::new();
        if let Probe::Http(http) = &mut self.probe {
            let stored = stored.and_then(|stored| match &stored.probe {
                Probe::Http(http) => Some(http),
                _ => None,
            });
            http.keep_secrets(stored, &mut found);
        }
        found
    }
}

fn header_path(name: &str) -> String {
    format!("headers.{}", name.to_ascii_lowercase())
}

impl HttpProbe {
    fn keep_secrets(&mut self, stored: Option<&Self>, found: &mut Violations) {
        let has_same_origin =
            stored.is_none_or(|stored| self.url.expose().is_empty() || stored.url.is_same_origin(&self.url));
        let mut keep = |secret: &mut Secret, stored: Option<&Secret>, at: String| {
            if !secret.means_stored() {
                return;
            }
            match stored.filter(|stored| !stored.is_empty()) {
                Some(stored) if has_same_origin => secret.clone_from(stored),
                Some(_) => found.push(Violation::new(at, REQUIRED_AGAIN)),
                None if secret.expose() == MASK => found.push(Violation::new(at, NOT_STORED)),
                None => {}
            }
        };
        for (name, value) in self.headers.iter_mut().filter(|(name, _)| !is_harmless_header(name)) {
            let known = |stored: &Self| stored.headers.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
            let known = stored.and_then(|stored| Some(&stored.headers[known(stored)?].1));
            keep(value, known, format!("/headers{}", pointer(name)));
        }
        if let Some(body) = &mut self.body {
            keep(body, stored.and_then(|stored| stored.body.as_ref()), "/body".to_owned());
        }
        self.body.take_if(|body| body.is_empty());
        if let Some(auth) = &mut self.auth {
            let known = stored.and_then(|stored| stored.auth.as_ref());
            let known = known.filter(|known| known.secret_key() == auth.secret_key()).map(Auth::secret);
            let at = format!("/auth/{}", auth.secret_key());
            if auth.secret().means_stored() && known.is_none_or(Secret::is_empty) {
                found.push(Violation::new(at, "is required"));
            } else {
                keep(auth.secret_mut(), known, at);
            }
        }
        if self.url.is_masked() {
            let whole = stored.filter(|_| has_same_origin).and_then(|stored| self.url.unmasked(&stored.url));
            match whole {
                Some(whole) => self.url = whole,
                None => found.push(Violation::new("/url", "must be whole: ••• keeps a token only where one is stored")),
            }
        }
    }
}

impl Auth {
    /// The field with the secret.
    pub const fn secret_key(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "password",
            Self::Bearer { .. } => "token",
        }
    }

    /// The password or token.
    pub const fn secret(&self) -> &Secret {
        match self {
            Self::Basic { password, .. } => password,
            Self::Bearer { token } => token,
        }
    }

    const fn secret_mut(&mut self) -> &mut Secret {
        match self {
            Self::Basic { password, .. } => password,
            Self::Bearer { token } => token,
        }
    }
}

#[cfg(test)]
mod tests;
