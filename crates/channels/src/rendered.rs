//! A message as a channel would send it, for people to see: secrets are masked.

use http::HeaderMap;

use crate::config_reader::MASK;

/// A rendered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// Of a channel that speaks HTTP.
    Request(RenderedRequest),
    /// Of a channel that sends mail.
    Mail(RenderedMail),
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedRequest {
    pub method: String,
    /// The masked preview of the URL, as the channel's `config` shows it.
    pub url: String,
    /// Names in lower case. Signatures, credentials and custom headers have the value [`MASK`].
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Such as that the body template failed and the standard body is sent.
    pub note: Option<String>,
}

/// A mail, the same for each recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedMail {
    pub from: String,
    pub recipients: Vec<String>,
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The headers with their names. Channels mark secret values as sensitive.
pub(crate) fn shown_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = |value: &http::HeaderValue| match value.is_sensitive() {
        true => MASK.to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), shown(value))).collect()
}
