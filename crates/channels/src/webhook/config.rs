//! What a webhook's `config` may hold.

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
        about: "Where the request goes: https, without a user name or password.",
        required: true,
        secret: true,
        example: "https://example.com/hooks/tidings",
    },
    Field { key: "method", about: "POST, PUT or PATCH.", required: false, secret: false, example: METHOD_DEFAULT },
    Field {
        key: headers::KEY,
        about: "Headers of your own as an object of names and values, at most 20; the values are kept secret.",
        required: false,
        secret: true,
        example: r#"{"Authorization": "Bearer 0123456789"}"#,
    },
    Field {
        key: "bodyTemplate",
        about: "A Jinja template that makes the body from the plain body's fields and title, summary and severity.",
        required: false,
        secret: false,
        example: r#"{"text": {{ title | tojson }}, "level": {{ severity | tojson }}}"#,
    },
];

/// The method of this name, if it may be used.
pub(super) fn method(name: &str) -> Option<Method> {
    [Method::POST, Method::PUT, Method::PATCH].into_iter().find(|method| method.as_str() == name)
}

/// Whether what is kept goes to the origin (scheme, host and port) of this URL.
fn is_of_origin(kept: &ChannelConfig, url: &Url) -> bool {
    let before = kept.secrets.get("url").and_then(|before| Url::parse(before.expose()).ok());
    before.is_some_and(|before| before.origin() == url.origin())
}

pub(super) fn check(
    input: &Map<String, Value>,
    current: Option<&ChannelConfig>,
    environment: &ChannelContext,
) -> Result<ChannelConfig, Violations> {
    let mut form = ConfigReader::new(FIELDS, input, current);
    let mut stored = ChannelConfig::default();
    let mut moved = false;
    match form.secret_url("url", environment) {
        Some((secret, url)) => {
            moved = current.is_some_and(|current| !is_of_origin(current, &url));
            stored.settings.insert("url".into(), preview_url(&url, usize::MAX).into());
            stored.secrets.insert("url".into(), secret);
        }
        None => form.require("url", "must be there: where the request goes"),
    }
    let name = form.text("method").unwrap_or_else(|| METHOD_DEFAULT.into()).to_ascii_uppercase();
    if method(&name).is_none() {
        form.refuse("method", "must be POST, PUT or PATCH");
    }
    stored.settings.insert("method".into(), name.into());
    let template = form.text("bodyTemplate");
    let has_template = template.is_some();
    let mut content_type = None;
    match headers::check(form.raw(headers::KEY), current, moved, has_template, environment) {
        Ok(own) => {
            content_type =
                own.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, v)| v.clone());
            headers::store(&own, &mut stored);
        }
        Err(violations) => form.error_under(headers::KEY, violations),
    }
    if let Some(source) = template {
        let is_json = content_type.is_none_or(|value| value.to_ascii_lowercase().contains("json"));
        if let Err(message) = Template::new(&source).and_then(|template| template.try_samples(is_json)) {
            form.refuse("bodyTemplate", message);
        }
        stored.settings.insert("bodyTemplate".into(), source.into());
    }
    signing::carry_over(&mut stored, current);
    form.finish(stored)
}
