//! HTTP probes: one round trip, plus one for each redirect that is followed.

pub(crate) mod connection;
mod cookies;
pub(crate) mod hop_tls;
pub(crate) mod pool;
pub(crate) mod redirect;
pub(crate) mod request;

use std::sync::Arc;

use http::response;
use tidings_channels::egress::decode::{BodyDecoder, Wanted};
use tidings_channels::egress::{DialOptions, Stream};
use tidings_channels::http_channel::Secrets;
use tidings_domain::check::{Answer, BodyNeeds, Failure, FailureClass, SEARCHED_BYTES_MAX};
use tidings_domain::endpoint::{HttpProbe, REDIRECTS_MAX, is_secret_header, is_token};
use tidings_domain::secret::Secret;
use tokio::time::Instant;

use crate::connector::Connector;
use crate::failure::{failure, invalid_endpoint};
use crate::timing::TimingRecorder;
use crate::tls::Purpose;
use connection::{BodyReader, DISCARDED_BYTES_MAX, ExchangeError, HttpConnection, RoundTrip};
use cookies::CookieJar;
use hop_tls::HopTls;
use pool::ConnectionPool;
use request::{Hop, RequestTemplate, authorization_header};

/// How an HTTP probe is made, apart from its requests.
pub(crate) struct HttpExchange<'a> {
    /// What is wanted of the body.
    pub needs: &'a BodyNeeds,
    pub dial: DialOptions,
    pub tls: &'a HopTls,
    pub deadline: Instant,
}

/// Makes HTTP probes.
pub(crate) struct HttpProber {
    connector: Arc<Connector>,
    pool: Arc<ConnectionPool>,
}

impl HttpProber {
    pub fn new(connector: Arc<Connector>, pool: Arc<ConnectionPool>) -> Self {
        Self { connector, pool }
    }

    /// Makes one probe. The caller enforces the timeout; the deadline only divides the time between addresses.
    pub async fn probe(
        &self,
        probe: &HttpProbe,
        exchange: HttpExchange<'_>,
        mut hop: Hop,
        mut template: RequestTemplate,
        recorder: &mut TimingRecorder,
    ) -> Result<Answer, Failure> {
        if let Some(auth) = &probe.auth {
            template.authorize(authorization_header(auth).map_err(|why| invalid_endpoint(&why))?);
        }
        let (mut redirects, mut cookies) = (0, CookieJar::default());
        loop {
            let round_trip = self.round_trip(probe, &exchange, &hop, &template, &cookies, recorder).await?;
            let next = match round_trip.location() {
                Some(location) if probe.follow_redirects => redirect::next_hop(&hop, location),
                _ => return Ok(to_answer(round_trip, &masked(probe))),
            };
            let next = next.map_err(|why| failure(FailureClass::Redirect, format!("{} {why}", hop.target.name)))?;
            if redirects == REDIRECTS_MAX {
                let message =
                    format!("more than {REDIRECTS_MAX} redirects; the last one leads to {}", next.target.name);
                return Err(failure(FailureClass::Redirect, message));
            }
            redirects += 1;
            recorder.redirected();
            cookies.store(&hop.url, &round_trip.head.headers, recorder.started_at);
            template.apply_redirect(round_trip.status(), next.origin == hop.origin);
            hop = next;
        }
    }

    /// Sends one request, over a pooled connection if there is one and it may be used.
    async fn round_trip(
        &self,
        probe: &HttpProbe,
        exchange: &HttpExchange<'_>,
        hop: &Hop,
        template: &RequestTemplate,
        cookies: &CookieJar,
        recorder: &mut TimingRecorder,
    ) -> Result<RoundTrip, Failure> {
        let reader = |head: &response::Parts| body_reader(probe, exchange, head);
        let request = || template.build(hop, cookies.header(&hop.url));
        recorder.target(&hop.target);
        let pool_key = exchange.tls.pool_key(hop);
        let pooled = if exchange.dial.fresh {
            // What a fresh connection is to confirm or to replace.
            self.pool.remove(&pool_key);
            None
        } else {
            self.pool.take(&pool_key, recorder.started_at)
        };
        if let Some(pooled) = pooled {
            let checkpoint = recorder.checkpoint();
            recorder.reused();
            pooled.certificate.iter().for_each(|certificate| recorder.certificate((**certificate).clone()));
            // A server may close an idle connection just as the request is sent. That says nothing about its health, so
            // the request is repeated, once, over a new connection.
            match connection::exchange(pooled, &hop.target, request(), reader, recorder).await {
                Err(ExchangeError { without_response: true, .. }) => recorder.roll_back(checkpoint),
                Ok(round_trip) if round_trip.is_idle_close() => recorder.roll_back(checkpoint),
                Err(error) => return Err(error.failure),
                Ok(round_trip) => return Ok(self.return_connection(exchange, hop, round_trip)),
            }
        }
        // Boxed, as it is rarely needed and its future is large.
        let connection = Box::pin(self.connect(exchange, hop, recorder)).await?;
        let result = connection::exchange(connection, &hop.target, request(), reader, recorder).await;
        result.map(|round_trip| self.return_connection(exchange, hop, round_trip)).map_err(|error| error.failure)
    }

    /// Keeps the connection of a good response for the next probe. After any other the next one dials and resolves anew:
    /// the name may have moved away from a server that fails.
    fn return_connection(&self, exchange: &HttpExchange<'_>, hop: &Hop, mut round_trip: RoundTrip) -> RoundTrip {
        let connection = round_trip.connection.take();
        if let Some(connection) = connection.filter(|_| round_trip.head.status.is_success()) {
            self.pool.put(&exchange.tls.pool_key(hop), connection);
        }
        round_trip
    }

    async fn connect(
        &self,
        exchange: &HttpExchange<'_>,
        hop: &Hop,
        recorder: &mut TimingRecorder,
    ) -> Result<HttpConnection, Failure> {
        let target = &hop.target;
        let tcp = self.connector.connect(target, exchange.dial, exchange.deadline, recorder).await?;
        let opened_at = Instant::now();
        if !hop.is_tls {
            return Ok(HttpConnection { stream: Stream::Plain(tcp), opened_at, certificate: None });
        }
        let (stream, certificate) =
            self.connector.handshake(tcp, target, exchange.tls.profile(hop), Purpose::Http, recorder).await?;
        let certificate = certificate.map(Arc::new);
        Ok(HttpConnection { stream: Stream::Tls(Box::new(stream)), opened_at, certificate })
    }
}

/// What becomes of a body: that of a redirect that is followed is not read, because its connection is not kept.
fn body_reader(probe: &HttpProbe, exchange: &HttpExchange<'_>, head: &response::Parts) -> BodyReader {
    let BodyNeeds { kept_max, texts } = exchange.needs;
    if probe.follow_redirects && redirect::is_redirect(head.status.as_u16()) {
        BodyReader::Discard(0)
    } else if *kept_max == 0 {
        BodyReader::Discard(DISCARDED_BYTES_MAX)
    } else {
        let searched_max = if texts.is_empty() { *kept_max } else { SEARCHED_BYTES_MAX };
        let wanted = Wanted { kept_max: *kept_max, searched_max, texts: texts.clone() };
        BodyReader::Decode(Box::new(BodyDecoder::new(&head.headers, wanted, masked(probe))))
    }
}

/// Words of a request body that are masked in a response.
const BODY_WORDS_MAX: usize = 50;

/// The secrets that are masked in a response, in case the server echoes them: credentials, tokens in the URL, headers
/// that usually carry a secret, and what looks like a token in other headers and in the body. Other words of these are
/// left as they are, as assertions may compare them.
fn masked(probe: &HttpProbe) -> Secrets {
    let encoded = probe.auth.as_ref().map(request::credentials);
    let mut texts: Vec<&str> = encoded.iter().map(Secret::expose).collect();
    texts.extend(probe.auth.as_ref().map(|auth| auth.secret().expose()));
    texts.extend(probe.url.secrets());
    let is_secret = |(name, value): &&(String, Secret)| is_secret_header(name) || is_token(value.expose());
    texts.extend(probe.headers.iter().filter(is_secret).map(|(_, value)| value.expose()));
    let body = probe.body.as_ref().map_or("", Secret::expose);
    let words = body.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'));
    texts.extend(words.filter(|word| is_token(word)).take(BODY_WORDS_MAX));
    Secrets::new(texts)
}

/// The response as an observation.
fn to_answer(round_trip: RoundTrip, secrets: &Secrets) -> Answer {
    let RoundTrip { head, body, .. } = round_trip;
    let headers = head.headers.iter().map(|(name, value)| {
        let mut bytes = header_text(value.as_bytes()).into_bytes();
        secrets.scrub(&mut bytes);
        (name.as_str().to_owned(), String::from_utf8_lossy(&bytes).into_owned())
    });
    Answer::Http { status: head.status.as_u16(), headers: headers.collect(), body }
}

/// A header's value: UTF-8, or else Latin-1, which HTTP meant formerly (RFC 9110, 5.5).
fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}
