//! A webhook's `config`.

use http::Method;
use serde_json::{Map, Value};
use tidings_domain::violation::Violations;
use url::Url;

use super::template::Template;
use super::{headers, signing};
use crate::config::{ChannelConfig, ChannelContext, Field};
use crate::config_reader::{ConfigReader, preview_url};

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
];

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
    let mut origin_changed = false;
    match reader.secret_url("url", context) {
        Some((secret, url)) => {
            origin_changed = current.is_some_and(|current| !is_of_origin(current, &url));
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
