//! A webhook's `config`.

use http::Method;
use serde_json::{Map, Value};
use tidings_domain::tls::TlsSettings;
use tidings_domain::violation::Violations;
use url::Url;

use super::template::Template;
use super::{headers, signing};
use crate::config::{ChannelConfig, ChannelContext, Field};
use crate::config_reader::{ConfigReader, preview_url};
use crate::egress::TlsProfile;
use crate::egress::tls::read_settings;

pub(super) const METHOD_DEFAULT: &str = "POST";

pub(super) static FIELDS: &[Field] = &[
    Field {
        key: "url",
        about: "Where the request goes: an https URL without user name or password.",
        required: true,
        secret: true,
        example: "https://example.com/hooks/tidings",
    },
    Field { key: "method", about: "POST, PUT or PATCH.", required: false, secret: false, example: METHOD_DEFAULT },
    Field {
        key: headers::KEY,
        about: "Additional headers, an object of names and values, at most 20; the values are secret.",
        required: false,
        secret: true,
        example: r#"{"Authorization": "Bearer 0123456789"}"#,
    },
    Field {
        key: "bodyTemplate",
        about: "A Jinja template for the body; it sees the default body's fields and title, summary and severity.",
        required: false,
        secret: false,
        example: r#"{"text": {{ title | tojson }}, "level": {{ severity | tojson }}}"#,
    },
    Field {
        key: TLS,
        about: "For a receiver with a certificate of your own: caCertificate, certificates in PEM that are trusted instead of \
                the system's authorities; serverName, the name that its certificate is for.",
        required: false,
        secret: false,
        example: r#"{"serverName": "hooks.internal.example"}"#,
    },
];

/// The key of the TLS settings.
const TLS: &str = "tls";

/// The method of this name, if it is allowed.
pub(super) fn method(name: &str) -> Option<Method> {
    [Method::POST, Method::PUT, Method::PATCH].into_iter().find(|method| method.as_str() == name)
}

/// Whether the stored webhook has the origin (scheme, host and port) of this URL.
fn is_of_origin(stored: &ChannelConfig, url: &Url) -> bool {
    let before = stored.secrets.get("url").and_then(|before| Url::parse(before.expose()).ok());
    before.is_some_and(|before| before.origin() == url.origin())
}

pub(super) fn check(
    input: &Map<String, Value>,
    current: Option<&ChannelConfig>,
    context: &ChannelContext,
) -> Result<ChannelConfig, Violations> {
    let mut reader = ConfigReader::new(FIELDS, input, current);
    let mut stored = ChannelConfig::default();
    let (mut origin_changed, mut is_https) = (false, true);
    match reader.secret_url("url", context) {
        Some((secret, url)) => {
            origin_changed = current.is_some_and(|current| !is_of_origin(current, &url));
            is_https = url.scheme() == "https";
            stored.settings.insert("url".into(), preview_url(&url, usize::MAX).into());
            stored.secrets.insert("url".into(), secret);
        }
        None => reader.require("url", "is required: where the request goes"),
    }
    let name = reader.text("method").unwrap_or_else(|| METHOD_DEFAULT.into()).to_ascii_uppercase();
    if method(&name).is_none() {
        reader.error("method", "must be POST, PUT or PATCH");
    }
    stored.settings.insert("method".into(), name.into());
    check_tls(&mut reader, &mut stored, is_https);
    let template = reader.text("bodyTemplate");
    let has_template = template.is_some();
    let mut content_type = None;
    match headers::check(reader.raw(headers::KEY), current, origin_changed, has_template, context) {
        Ok(custom) => {
            content_type =
                custom.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, v)| v.clone());
            headers::store(&custom, &mut stored);
        }
        Err(violations) => reader.error_under(headers::KEY, violations),
    }
    if let Some(source) = template {
        // Without a content type of its own the body is sent as JSON, so it must be JSON.
        let is_json = content_type.is_none_or(|value| value.to_ascii_lowercase().contains("json"));
        if let Err(message) = Template::new(&source).and_then(|template| template.try_samples(is_json)) {
            reader.error("bodyTemplate", message);
        }
        stored.settings.insert("bodyTemplate".into(), source.into());
    }
    signing::copy_signing_secrets(&mut stored, current);
    reader.finish(stored)
}

/// Validates the TLS settings. Merged over the stored ones: a missing key keeps its value, `null` clears it or all of them.
fn check_tls(reader: &mut ConfigReader<'_>, stored: &mut ChannelConfig, is_https: bool) {
    let before = reader.current().and_then(|current| current.settings.get(TLS));
    let merged = match (before, reader.raw(TLS)) {
        (Some(Value::Object(before)), Some(Value::Object(given))) => {
            let merged = before.iter().chain(given).map(|(key, value)| (key.clone(), value.clone()));
            Value::Object(merged.collect())
        }
        (before, given) => match given.or(before) {
            Some(value) => value.clone(),
            None => return,
        },
    };
    match read_settings(&merged, false) {
        Ok(profile) if profile == TlsProfile::default() => {}
        Ok(_) if !is_https => reader.error(TLS, "is only for https URLs; use null"),
        Ok(profile) => {
            let settings = profile.settings();
            let mut shown = Map::new();
            shown.extend(settings.ca_certificate.map(|pem| ("caCertificate".to_owned(), pem.into())));
            shown.extend(settings.server_name.map(|name| ("serverName".to_owned(), name.into())));
            stored.settings.insert(TLS.into(), shown.into());
        }
        Err(violations) => reader.error_under(TLS, violations),
    }
}

/// The stored TLS settings.
pub(super) fn tls(stored: &ChannelConfig) -> Result<TlsProfile, String> {
    let settings = match stored.settings.get(TLS) {
        Some(value) => serde_json::from_value(value.clone()).map_err(|_| "the webhook's tls settings are malformed")?,
        None => TlsSettings::default(),
    };
    TlsProfile::new(&settings).map_err(|violations| {
        let why: Vec<_> = violations.iter().map(ToString::to_string).collect();
        format!("the webhook's tls settings cannot be used: {}", why.join("; "))
    })
}
