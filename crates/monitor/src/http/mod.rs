//! HTTP probes: one round trip, plus one for each redirect that is followed.

pub(crate) mod connection;
pub(crate) mod pool;
pub(crate) mod redirect;
pub(crate) mod request;

use std::sync::Arc;

use tidings_channels::egress::Stream;
use tidings_channels::http_channel::Secrets;
use tidings_domain::check::{Answer, Failure, FailureClass};
use tidings_domain::endpoint::{Auth, HttpProbe, REDIRECTS_MAX};
use tidings_domain::secret::Secret;
use tokio::time::Instant;

use crate::connector::Connector;
use crate::failure::{failure, invalid_endpoint};
use crate::timing::TimingRecorder;
use crate::tls::Purpose;
use connection::{BODY_BYTES_MAX, ExchangeError, HttpConnection, RoundTrip};
use pool::ConnectionPool;
use request::{Hop, RequestTemplate, authorization_header};

/// How much of a redirect's body is read. Reading it to its end lets the connection be used again.
const REDIRECT_BYTES_MAX: usize = 64 * 1_024;

/// Makes HTTP probes.
pub(crate) struct HttpProber {
    connector: Arc<Connector>,
    pool: Arc<ConnectionPool>,
}

impl HttpProber {
    pub fn new(connector: Arc<Connector>, pool: Arc<ConnectionPool>) -> Self {
        Self { connector, pool }
    }

    /// Makes one probe. The caller enforces the timeout; `deadline` only divides the time between addresses.
    pub async fn probe(
        &self,
        probe: &HttpProbe,
        secret: Option<&Secret>,
        mut hop: Hop,
        mut template: RequestTemplate,
        deadline: Instant,
        recorder: &mut TimingRecorder,
    ) -> Result<Answer, Failure> {
        if let Some(auth) = &probe.auth {
            template.authorize(authorization_header(auth, secret).map_err(|why| invalid_endpoint(&why))?);
        }
        let mut redirects = 0;
        loop {
            let round_trip = self.round_trip(&hop, &template, probe.follow_redirects, deadline, recorder).await?;
            let next = match round_trip.location() {
                Some(location) if probe.follow_redirects => redirect::next_hop(&hop, location),
                _ => return Ok(to_answer(round_trip, probe.auth.as_ref(), secret)),
            };
            let next = next.map_err(|why| failure(FailureClass::Redirect, format!("{} {why}", hop.target.name)))?;
            if redirects == REDIRECTS_MAX {
                let message =
                    format!("more than {REDIRECTS_MAX} redirects; the last one leads to {}", next.target.name);
                return Err(failure(FailureClass::Redirect, message));
            }
            redirects += 1;
            recorder.redirected();
            template.apply_redirect(round_trip.status(), next.origin == hop.origin);
            hop = next;
        }
    }

    /// Sends one request, over a pooled connection if there is one.
    async fn round_trip(
        &self,
        hop: &Hop,
        template: &RequestTemplate,
        follow: bool,
        deadline: Instant,
        recorder: &mut TimingRecorder,
    ) -> Result<RoundTrip, Failure> {
        let body_max = |status: u16| match follow && redirect::is_redirect(status) {
            true => REDIRECT_BYTES_MAX,
            false => BODY_BYTES_MAX,
        };
        recorder.target(&hop.target);
        if let Some(pooled) = self.pool.take(&hop.origin, recorder.started_at) {
            let checkpoint = recorder.checkpoint();
            pooled.certificate.iter().for_each(|certificate| recorder.certificate((**certificate).clone()));
            // A server may close an idle connection just as the request is sent. That says nothing about its health, so
            // the request is repeated, once, over a new connection.
            match connection::exchange(pooled, &hop.target, template.build(hop), body_max, recorder).await {
                Err(ExchangeError { without_response: true, .. }) => recorder.roll_back(checkpoint),
                Ok(round_trip) if round_trip.is_idle_close() => recorder.roll_back(checkpoint),
                Err(error) => return Err(error.failure),
                Ok(round_trip) => return Ok(self.return_connection(hop, round_trip)),
            }
        }
        // Boxed, as it is rarely needed and its future is large.
        let connection = Box::pin(self.connect(hop, deadline, recorder)).await?;
        let result = connection::exchange(connection, &hop.target, template.build(hop), body_max, recorder).await;
        result.map(|round_trip| self.return_connection(hop, round_trip)).map_err(|error| error.failure)
    }

    fn return_connection(&self, hop: &Hop, mut round_trip: RoundTrip) -> RoundTrip {
        if let Some(connection) = round_trip.connection.take() {
            self.pool.put(&hop.origin, connection);
        }
        round_trip
    }

    async fn connect(
        &self,
        hop: &Hop,
        deadline: Instant,
        recorder: &mut TimingRecorder,
    ) -> Result<HttpConnection, Failure> {
        let target = &hop.target;
        let tcp = self.connector.connect(target, deadline, recorder).await?;
        let opened_at = Instant::now();
        if !hop.is_tls {
            return Ok(HttpConnection { stream: Stream::Plain(tcp), opened_at, certificate: None });
        }
        let (stream, certificate) = self.connector.handshake(tcp, target, Purpose::Http, recorder).await?;
        let certificate = certificate.map(Arc::new);
        Ok(HttpConnection { stream: Stream::Tls(Box::new(stream)), opened_at, certificate })
    }
}

/// The response as an observation. The secret is masked in it, in case the server echoes it.
fn to_answer(round_trip: RoundTrip, auth: Option<&Auth>, secret: Option<&Secret>) -> Answer {
    let RoundTrip { head, mut body, is_complete, .. } = round_trip;
    let texts = head.headers.iter().filter_map(|(name, value)| {
        std::str::from_utf8(value.as_bytes()).ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
    });
    let mut headers: Vec<_> = texts.collect();
    if let (Some(auth), Some(secret)) = (auth, secret) {
        let encoded = request::credentials(auth, secret);
        let secrets = Secrets::new([encoded.expose(), secret.expose()]);
        secrets.scrub(&mut body);
        for (_, value) in &mut headers {
            let mut bytes = std::mem::take(value).into_bytes();
            secrets.scrub(&mut bytes);
            *value = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    Answer::Http { status: head.status.as_u16(), headers, body, is_complete }
}
