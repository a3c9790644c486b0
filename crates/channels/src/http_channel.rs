//! A channel that speaks HTTP: two pure functions, and the transport that is the same for all.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use tidings_domain::delivery::Outcome;
use tidings_domain::secret::Secret;
use tidings_domain::text::truncate_bytes;
use tidings_domain::time::Timestamp;
use tokio::time::Instant;
use url::Url;

use crate::config_reader::{MASK, is_token};
use crate::egress::{Egress, EgressError, EgressTarget, HttpAnswer, Reuse};
use crate::report::EXCERPT_BYTES_MAX;
use crate::{AttemptResult, ErrorClass, Notifier, OutboundMessage};

/// A channel as two pure functions around one HTTP exchange.
pub trait HttpChannel: Send + Sync {
    /// Where its requests go.
    fn target(&self) -> &EgressTarget;

    /// The request that says this; path and `Host` are the target's. The error is the attempt's report.
    fn request(&self, letter: &OutboundMessage<'_>) -> Result<Request<Full<Bytes>>, AttemptResult>;

    /// What the answer means. Starts from [`judge`] where the vendor has no words of its own.
    fn classify_response(&self, answer: &HttpAnswer, now: Timestamp) -> AttemptResult {
        classify_response(answer, now)
    }

    /// What is sent once the request was taken, for the looks of what was said before. It is asked for once, and the
    /// delivery does not depend on it.
    fn follow_up_request(&self, _letter: &OutboundMessage<'_>) -> Option<(&EgressTarget, Request<Full<Bytes>>)> {
        None
    }

    /// What must not stand in a report, should the receiver say it back.
    fn secrets(&self) -> &Secrets;
}

/// An [`HttpChannel`] and the way out.
pub struct HttpNotifier<C> {
    /// The channel.
    pub channel: C,
    /// The way out.
    pub egress: Arc<Egress>,
}

#[async_trait]
impl<C: HttpChannel> Notifier for HttpNotifier<C> {
    async fn deliver(&self, letter: &OutboundMessage<'_>) -> AttemptResult {
        let deadline = Instant::now() + letter.timeout;
        let mut reuse = Reuse::Kept;
        let report = loop {
            let request = match self.channel.request(letter) {
                Ok(request) => request,
                Err(report) => break report,
            };
            match self.egress.send(self.channel.target(), request, reuse, deadline).await {
                // The peer closed a kept connection: that says nothing about this delivery.
                Err(error) if error.stale && reuse == Reuse::Kept => reuse = Reuse::Fresh,
                Err(error) => break AttemptResult::from(error),
                Ok(mut answer) => {
                    self.channel.secrets().scrub(&mut answer.body);
                    break self.channel.classify_response(&answer, letter.now);
                }
            }
        };
        if let Some((target, request)) = self.channel.follow_up_request(letter).filter(|_| report.is_delivered())
            && let Err(error) = self.egress.send(target, request, Reuse::Kept, deadline).await
        {
            tracing::debug!(delivery = %letter.delivery_id, error = error.message, "what was said before stays as it was");
        }
        report
    }
}

impl From<EgressError> for AttemptResult {
    fn from(error: EgressError) -> Self {
        Self::retry(error.class, error.message)
    }
}

/// What an answer means where the vendor has no words of its own: 2xx is delivered, everything else is tried again.
pub fn classify_response(answer: &HttpAnswer, now: Timestamp) -> AttemptResult {
    let status = answer.status;
    if status.is_success() {
        return AttemptResult::delivered(Some(status.as_u16()), excerpt(&answer.body));
    }
    let mut report = if status.is_redirection() {
        AttemptResult::retry(ErrorClass::Redirect, redirect_words(answer))
    } else {
        AttemptResult::retry(ErrorClass::Status, describe_status(status))
    };
    report.http_status = Some(status.as_u16());
    report.response_body = excerpt(&answer.body);
    report.outcome = Outcome::Retry { after_ms: retry_after_ms(answer, now) };
    report
}

/// `HTTP 502 Bad Gateway`.
pub fn describe_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

fn redirect_words(answer: &HttpAnswer) -> String {
    let words = describe_status(answer.status);
    let location = answer.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
    match location.map(Url::parse) {
        Some(Ok(url)) => match url.host_str() {
            Some(host) => format!("{words}: it redirects to {host}; redirects are not followed"),
            None => format!("{words}: redirects are not followed"),
        },
        Some(Err(_)) => format!("{words}: it redirects to another path; redirects are not followed"),
        None => format!("{words}: redirects are not followed"),
    }
}

/// How long the receiver asks to be left alone: `Retry-After` of 429 and 503, in seconds or as a date (RFC 9110).
pub fn retry_after_ms(answer: &HttpAnswer, now: Timestamp) -> Option<u64> {
    if !matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    retry_after(&answer.headers, now)
}

/// What the header `Retry-After` says, in milliseconds from now.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value).ok()?;
    Some(Timestamp::from_unix_ms(at.as_millisecond()).since_ms(now))
}

/// The beginning of a body as text that can be stored: none if it is empty.
pub fn excerpt(body: &[u8]) -> Option<String> {
    let beginning = &body[..body.len().min(EXCERPT_BYTES_MAX)];
    if beginning.is_empty() {
        return None;
    }
    // No store keeps NUL in a text, and what replaces bytes may be longer than they were.
    let text = String::from_utf8_lossy(beginning).replace('\0', "\u{fffd}");
    Some(if body.len() > text.len() || text.len() > EXCERPT_BYTES_MAX {
        truncate_bytes(&format!("{text}…"), EXCERPT_BYTES_MAX)
    } else {
        text
    })
}

/// Texts that must not be said back.
#[derive(Default)]
pub struct Secrets(Vec<Secret>);

/// Shorter texts that do not look like tokens are no secrets worth the name, and would tear holes into harmless words.
const SECRET_BYTES_MIN: usize = 8;

impl Secrets {
    /// These texts, as far as they are long enough to be told apart from harmless words.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let is_worth_it = |text: &&str| text.len() >= SECRET_BYTES_MIN || is_token(text);
        let mut secrets: Vec<_> = texts.into_iter().filter(is_worth_it).map(Secret::new).collect();
        // The longest first, so that what holds another is masked whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Self(secrets)
    }

    /// What is secret of a URL: itself, its query's values and the segments of its path that look like tokens.
    pub fn of_url(url: &Url) -> Vec<String> {
        let mut texts = vec![url.as_str().to_owned()];
        texts.extend(url.path_segments().into_iter().flatten().filter(|part| is_token(part)).map(str::to_owned));
        if let Some(query) = url.query() {
            texts.push(format!("{}?{query}", url.path()));
            texts.extend(query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).to_owned()));
            texts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        }
        texts
    }

    /// Masks them in a body, before anything of it is kept.
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
    fn what_a_preview_masks_is_masked_in_answers_too() {
        let url = Url::parse("https://example.com/hooks/v1/aB3xyz/a1b2c3d4/in?key=fghijklm").unwrap();
        assert_eq!(preview_url(&url, usize::MAX), "https://example.com/hooks/v1/•••/•••/in?key=•••");
        let texts = Secrets::of_url(&url);
        let mut body = b"no hooks in v1 for aB3xyz, a1b2c3d4, fghijklm".to_vec();
        Secrets::new(texts.iter().map(String::as_str)).scrub(&mut body);
        assert_eq!(String::from_utf8(body).unwrap(), "no hooks in v1 for •••, •••, •••");
    }
}
