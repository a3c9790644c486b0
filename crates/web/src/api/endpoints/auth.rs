//! How an endpoint shows who we are: `auth`, and the secret that is never shown again.
//!
//! A secret that is kept goes nowhere else than where it was given for: whoever moves an endpoint to another origin says
//! its password or token anew.

use tidings_domain::endpoint::Auth;
use tidings_domain::secret::Secret;
use tidings_domain::text::has_control;
use tidings_domain::violation::{Violation, Violations};

use crate::fields::{Fields, one_of};

/// Longest password or token, in bytes.
const SECRET_BYTES_MAX: usize = 4_096;

/// How the endpoint showed who we are until now.
pub(super) struct Kept {
    pub(super) auth: Option<Auth>,
    pub(super) secret: Option<Secret>,
    /// Whether it leads to another origin than it did.
    pub(super) is_moved: bool,
}

/// Where the secret of this `auth` stands in it.
const fn secret_key(auth: &Auth) -> &'static str {
    match auth {
        Auth::Basic { .. } => "password",
        Auth::Bearer => "token",
    }
}

const ANEW: &str = "must be given anew, as the endpoint leads to another origin (scheme, host or port)";

/// Reads it, over what it was.
pub(super) fn auth(fields: &mut Fields, kept: Kept, found: &mut Violations) -> (Option<Auth>, Option<Secret>) {
    if fields.take_null("auth") {
        return (None, None);
    }
    if !fields.has("auth") {
        fields.know("auth");
        if let (Some(auth), true) = (&kept.auth, kept.is_moved && kept.secret.is_some()) {
            found.push(Violation::new(format!("/auth/{}", secret_key(auth)), ANEW));
        }
        return (kept.auth, kept.secret);
    }
    match fields.nested("auth", |fields| auth_object(fields, &kept)) {
        Some((auth, secret)) => (Some(auth), Some(secret)),
        None => (None, None),
    }
}

fn auth_object(fields: &mut Fields, kept: &Kept) -> Option<(Auth, Secret)> {
    let kind_before = kept.auth.as_ref().map(|auth| match auth {
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
        let username = fields.text("username").or_else(|| match &kept.auth {
            Some(Auth::Basic { username }) => Some(username.clone()),
            _ => None,
        });
        fields.required("username", username).map(|username| Auth::Basic { username })
    };
    let key = if kind == "bearer" { "token" } else { "password" };
    let secret =
        fields.text_where(key, |text| secret_fault(kind, text)).filter(|text| !text.is_empty()).map(Secret::new);
    let secret = match (secret, &kept.secret) {
        (None, Some(_)) if kind_before == Some(kind) && kept.is_moved => {
            fields.refuse_once(key, ANEW);
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
