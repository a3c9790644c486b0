//! The common part of channels that speak HTTP: two pure functions per channel, and the transport.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tidings_domain::delivery::Outcome;
use tidings_domain::secret::Secret;
use tidings_domain::text::truncate_bytes;
use tidings_domain::time::Timestamp;
use tokio::time::Instant;
use url::Url;

use crate::attempt::{EXCERPT_BYTES_MAX, RateSignal};
use crate::config_reader::{MASK, looks_like_token};
use crate::egress::decode::decode_beginning;
use crate::egress::{DialOptions, Egress, EgressError, EgressTarget, HttpResponse};
use crate::rendered::{Rendered, RenderedRequest, shown_headers};
use crate::response_headers::kept_headers;
use crate::retry_after::retry_after_ms;
use crate::{AttemptResult, ErrorClass, Notifier, OutboundMessage};

/// How much of an encoded response is decoded, in bytes of text.
const DECODED_BYTES_MAX: usize = 16 * 1_024;

/// A channel as two pure functions around one HTTP exchange.
pub trait HttpChannel: Send + Sync {
    /// Where the channel's requests go.
    fn target(&self) -> &EgressTarget;

    /// The URL of the target as it may be shown.
    fn shown_url(&self) -> &str;

    /// The request for this message; path and `Host` are taken from the target. The error is the attempt's result.
    fn request(&self, message: &OutboundMessage<'_>) -> Result<Request<Full<Bytes>>, Box<AttemptResult>>;

    /// What the response means. By default [`classify_response`], which fits receivers without error codes of their
    /// own.
    fn classify_response(&self, response: &HttpResponse, now: Timestamp) -> AttemptResult {
        classify_response(response, now)
    }

    /// The same message in a simpler form, with a word for it such as `as plain text`, if the receiver refused the first
    /// one for its form: a message must not be lost for one part that the receiver is strict about. It is sent once within
    /// the same attempt, and its response is the attempt's result.
    fn simpler_request(
        &self,
        _message: &OutboundMessage<'_>,
        _response: &HttpResponse,
    ) -> Option<(Request<Full<Bytes>>, &'static str)> {
        None
    }

    /// A second request after a delivery, to update an earlier message. It is sent once, and its failure does not
    /// affect the result.
    fn follow_up_request(&self, _message: &OutboundMessage<'_>) -> Option<(&EgressTarget, Request<Full<Bytes>>)> {
        None
    }

    /// The field of `config` in which the user can make the receiver's certificate trusted, if there is one.
    fn ca_field(&self) -> Option<&'static str> {
        None
    }

    /// Texts to mask in results, in case the receiver echoes them.
    fn secrets(&self) -> &Secrets;
}

/// Something to note about an attempt whatever its outcome, such as a body template that failed. A channel puts it into
/// the extensions of its request.
#[derive(Debug, Clone)]
pub struct AttemptNote(pub String);

/// An [`HttpChannel`] with its transport.
pub struct HttpNotifier<C> {
    /// Builds requests and classifies responses.
    pub channel: C,
    /// Sends the requests.
    pub egress: Arc<Egress>,
}

impl<C: HttpChannel> HttpNotifier<C> {
    /// Decodes the response, masks secrets in it, and classifies it.
    fn classify(&self, response: &mut HttpResponse, message: &OutboundMessage<'_>) -> AttemptResult {
        let secrets = self.channel.secrets();
        response.body = decode_beginning(&response.headers, std::mem::take(&mut response.body), DECODED_BYTES_MAX);
        secrets.scrub(&mut response.body);
        let mut result = self.channel.classify_response(response, message.now);
        result.response_headers = kept_headers(&response.headers, secrets);
        result
    }

    /// Sends the message in a simpler form after a refusal, and notes that.
    async fn send_simpler(
        &self,
        (request, form): (Request<Full<Bytes>>, &'static str),
        refused: AttemptResult,
        message: &OutboundMessage<'_>,
        deadline: Instant,
    ) -> AttemptResult {
        let dial = DialOptions { fresh: true, ..message.dial_options() };
        let mut result = match self.egress.send(self.channel.target(), request, dial, deadline).await {
            Err(error) => AttemptResult::from(error),
            Ok(mut response) => self.classify(&mut response, message),
        };
        let why = refused.error.unwrap_or_default();
        result.note = Some(format!("sent {form}, because the receiver refused the formatted message: {why}"));
        result
    }
}

#[async_trait]
impl<C: HttpChannel> Notifier for HttpNotifier<C> {
    async fn deliver(&self, message: &OutboundMessage<'_>) -> AttemptResult {
        let deadline = Instant::now() + message.timeout;
        let mut dial = message.dial_options();
        let mut note = None;
        let mut result = loop {
            let mut request = match self.channel.request(message) {
                Ok(request) => request,
                Err(result) => break *result,
            };
            note = request.extensions_mut().remove::<AttemptNote>().map(|AttemptNote(note)| note);
            match self.egress.send(self.channel.target(), request, dial, deadline).await {
                // The peer had closed a pooled connection, which is no evidence about this delivery. The request is built
                // anew: sending consumed it, and a fresh connection cannot be stale, so this happens once.
                Err(error) if error.stale && !dial.fresh => dial.fresh = true,
                Err(error) => {
                    break AttemptResult::from(match self.channel.ca_field() {
                        Some(field) => error.naming(field),
                        None => error,
                    });
                }
                Ok(mut response) => {
                    let result = self.classify(&mut response, message);
                    break match self.channel.simpler_request(message, &response) {
                        // Boxed, because it is rarely needed.
                        Some(simpler) => Box::pin(self.send_simpler(simpler, result, message, deadline)).await,
                        None => result,
                    };
                }
            }
        };
        result.note = note.or(result.note);
        // Within the same deadline: the attempt's limit includes the follow-up.
        if let Some((target, request)) = self.channel.follow_up_request(message).filter(|_| result.is_delivered())
            && let Err(error) = self.egress.send(target, request, message.dial_options(), deadline).await
        {
            tracing::debug!(delivery = %message.delivery_id, error = error.message, "failed to update the earlier message");
        }
        result
    }

    fn render(&self, message: &OutboundMessage<'_>) -> Result<Rendered, String> {
        let mut request = self.channel.request(message).map_err(|result| result.error.unwrap_or_default())?;
        let note = request.extensions_mut().remove::<AttemptNote>().map(|AttemptNote(note)| note);
        let (head, body) = request.into_parts();
        // The body is in memory as a whole, so its one frame is ready.
        let bytes = body.collect().now_or_never().and_then(Result::ok).map(|body| body.to_bytes());
        let mut body = bytes.unwrap_or_default().to_vec();
        self.channel.secrets().scrub(&mut body);
        Ok(Rendered::Request(RenderedRequest {
            method: head.method.to_string(),
            url: self.channel.shown_url().to_owned(),
            headers: shown_headers(&head.headers),
            body: String::from_utf8_lossy(&body).into_owned(),
            note,
        }))
    }
}

impl From<EgressError> for AttemptResult {
    fn from(error: EgressError) -> Self {
        Self::retry(error.class, error.message)
    }
}

/// The default meaning of a response: 2xx is delivered, everything else is retried.
pub fn classify_response(response: &HttpResponse, now: Timestamp) -> AttemptResult {
    let status = response.status;
    if status.is_success() {
        return AttemptResult::delivered(Some(status.as_u16()), excerpt(&response.body));
    }
    let mut result = if status.is_redirection() {
        AttemptResult::retry(ErrorClass::Redirect, describe_redirect(response))
    } else {
        AttemptResult::retry(ErrorClass::Status, describe_status(status))
    };
    result.http_status = Some(status.as_u16());
    result.response_body = excerpt(&response.body);
    let after_ms = retry_after_ms(response, now);
    result.outcome = Outcome::Retry { after_ms };
    result.rate = (status == StatusCode::TOO_MANY_REQUESTS).then_some(RateSignal::Refused { after_ms });
    result
}

/// `HTTP 502 Bad Gateway`.
pub fn describe_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

fn describe_redirect(response: &HttpResponse) -> String {
    let status = describe_status(response.status);
    let location = response.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
    match location.map(Url::parse) {
        Some(Ok(url)) => match url.host_str() {
            Some(host) => format!("{status}: it redirects to {host}; redirects are not followed"),
            None => format!("{status}: redirects are not followed"),
        },
        // A relative reference does not parse as a URL.
        Some(Err(_)) => format!("{status}: it redirects to another path; redirects are not followed"),
        None => format!("{status}: redirects are not followed"),
    }
}

/// The beginning of a body as text that can be stored; `None` if it is empty.
pub fn excerpt(body: &[u8]) -> Option<String> {
    let beginning = &body[..body.len().min(EXCERPT_BYTES_MAX)];
    if beginning.is_empty() {
        return None;
    }
    // NUL is replaced, because not every database stores it in text. Replacement characters may lengthen the text.
    let text = String::from_utf8_lossy(beginning).replace('\0', "\u{fffd}");
    Some(if body.len() > text.len() || text.len() > EXCERPT_BYTES_MAX {
        truncate_bytes(&format!("{text}…"), EXCERPT_BYTES_MAX)
    } else {
        text
    })
}

/// Texts to mask in responses.
#[derive(Default)]
pub struct Secrets(Vec<Secret>);

/// Shorter texts are masked only if they look like a token: otherwise ordinary words of the response would be.
const SECRET_BYTES_MIN: usize = 8;

impl Secrets {
    /// Keeps the texts that are long enough, or look like tokens.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let is_maskable = |text: &&str| text.len() >= SECRET_BYTES_MIN || looks_like_token(text);
        let mut secrets: Vec<_> = texts.into_iter().filter(is_maskable).map(Secret::new).collect();
        // Longest first: a secret that contains another must be masked as a whole, not around the shorter one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Self(secrets)
    }

    /// The secret parts of a URL: the URL itself, its query values, raw and decoded, and path segments that look like
    /// tokens.
    pub fn of_url(url: &Url) -> Vec<String> {
        let mut texts = vec![url.as_str().to_owned()];
        texts
            .extend(url.path_segments().into_iter().flatten().filter(|part| looks_like_token(part)).map(str::to_owned));
        if let Some(query) = url.query() {
            texts.push(format!("{}?{query}", url.path()));
            texts.extend(query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).to_owned()));
            texts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        }
        texts
    }

    /// Bytes of the longest text; 0 without any.
    pub fn bytes_max(&self) -> usize {
        self.0.first().map_or(0, |secret| secret.expose().len())
    }

    /// Masks the secrets in a body before any of it is kept.
    pub fn scrub(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(body);
        let mut scrubbed = None;
        for secret in self.0.iter().map(Secret::expose) {
            let text = scrubbed.as_deref().unwrap_or(&*text);
            if text.contains(secret) {
                scrubbed = Some(text.replace(secret, MASK));
            }
        }
        if let Some(scrubbed) = scrubbed {
            *body = scrubbed.into_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_reader::preview_url;

    #[test]
    fn scrub_masks_what_preview_url_masks() {
        let url = Url::parse("https://example.com/hooks/v1/aB3xyz/a1b2c3d4/in?key=fghijklm").unwrap();
        assert_eq!(preview_url(&url, usize::MAX), "https://example.com/hooks/v1/•••/•••/in?key=•••");
        let texts = Secrets::of_url(&url);
        let mut body = b"no hooks in v1 for aB3xyz, a1b2c3d4, fghijklm".to_vec();
        Secrets::new(texts.iter().map(String::as_str)).scrub(&mut body);
        assert_eq!(String::from_utf8(body).unwrap(), "no hooks in v1 for •••, •••, •••");
    }
}
