//! `auth` of an HTTP endpoint and its secret, which no response contains.
//!
//! A stored secret is sent only to the origin for which it was set. Without that rule, a caller who cannot read the secret
//! could obtain it by an edit of the URL; so an edit that changes the origin must set the password or token again.

use tidings_domain::endpoint::Auth;
use tidings_domain::secret::Secret;
use tidings_domain::text::has_control;
use tidings_domain::violation::{Violation, Violations};

use crate::fields::{Fields, one_of};

/// Bytes of a password or token.
const SECRET_BYTES_MAX: usize = 4_096;

/// The present `auth` of the endpoint.
pub(super) struct StoredAuth {
    pub(super) auth: Option<Auth>,
    pub(super) secret: Option<Secret>,
    /// Whether this request changes the origin of the URL.
    pub(super) origin_changed: bool,
}

/// The field that holds the secret.
const fn secret_key(auth: &Auth) -> &'static str {
    match auth {
        Auth::Basic { .. } => "password",
        Auth::Bearer => "token",
    }
}

const REQUIRED_AGAIN: &str = "must be set again, because the origin of the URL (scheme, host or port) changes";

/// Reads `auth`, merged over the present one.
pub(super) fn auth(fields: &mut Fields, stored: StoredAuth, found: &mut Violations) -> (Option<Auth>, Option<Secret>) {
    if fields.take_null("auth") {
        return (None, None);
    }
    if !fields.has("auth") {
        fields.know("auth");
        if let (Some(auth), true) = (&stored.auth, stored.origin_changed && stored.secret.is_some()) {
            found.push(Violation::new(format!("/auth/{}", secret_key(auth)), REQUIRED_AGAIN));
        }
        return (stored.auth, stored.secret);
    }
    match fields.nested("auth", |fields| auth_object(fields, &stored)) {
        Some((auth, secret)) => (Some(auth), Some(secret)),
        None => (None, None),
    }
}

fn auth_object(fields: &mut Fields, stored: &StoredAuth) -> Option<(Auth, Secret)> {
    let kind_before = stored.auth.as_ref().map(|auth| match auth {
        Auth::Basic { .. } => "basic",
        Auth::Bearer => "bearer",
    });
    let kinds = ["basic", "bearer"];
    let kind = fields.parsed("type", &one_of(kinds), |word| kinds.into_iter().find(|kind| *kind == word));
    let Some(kind) = fields.required("type", kind.or(kind_before)) else {
        ["username", "password", "token"].into_iter().for_each(|key| _ = fields.take(key));
        return None;
    };
    let auth = if kind == "bearer" {
        Some(Auth::Bearer)
    } else {
        let username = fields.text("username").or_else(|| match &stored.auth {
            Some(Auth::Basic { username }) => Some(username.clone()),
            _ => None,
        });
        fields.required("username", username).map(|username| Auth::Basic { username })
    };
    let key = if kind == "bearer" { "token" } else { "password" };
    let secret =
        fields.string_matching(key, |text| secret_fault(kind, text)).filter(|text| !text.is_empty()).map(Secret::new);
    let secret = match (secret, &stored.secret) {
        (None, Some(_)) if kind_before == Some(kind) && stored.origin_changed => {
            fields.refuse_once(key, REQUIRED_AGAIN);
            None
        }
        (None, Some(before)) if kind_before == Some(kind) => Some(before.clone()),
        (given, _) => fields.required(key, given),
    };
    Some((auth?, secret?))
}

fn secret_fault(kind: &str, text: &str) -> Option<&'static str> {
    if text.len() > SECRET_BYTES_MAX {
        Some("must be at most 4,096 bytes")
    } else if has_control(text) {
        Some("must not hold control characters")
    } else if kind == "bearer" && !text.is_ascii() {
        Some("must be ASCII, as headers are")
    } else {
        None
    }
}
