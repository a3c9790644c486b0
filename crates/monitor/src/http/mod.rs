//! An HTTP probe: one exchange, and those that redirects ask for.

pub(crate) mod body;
pub(crate) mod pool;
pub(crate) mod redirect;
pub(crate) mod request;
pub(crate) mod wire;

use std::sync::Arc;

use tidings_channels::egress::Stream;
use tidings_channels::http_channel::Secrets;
use tidings_domain::check::{Answer, Failure, FailureClass};
use tidings_domain::endpoint::{Auth, HttpProbe, REDIRECTS_MAX};
use tidings_domain::secret::Secret;
use tokio::time::Instant;

use crate::failure::failure;
use crate::prober::unfit;
use crate::reach::Reach;
use crate::tls::Purpose;
use crate::trace::Trace;
use body::BODY_BYTES_MAX;
use pool::Pool;
use request::{Draft, Hop, authorization};
use wire::{Broken, Exchanged, Wire};

/// How much of a redirect's body is read so that its connection can be used again.
const REDIRECT_BYTES_MAX: usize = 64 * 1_024;

/// Probes over HTTP.
pub(crate) struct Http {
    reach: Arc<Reach>,
    pool: Arc<Pool>,
}

impl Http {
    pub fn new(reach: Arc<Reach>, pool: Arc<Pool>) -> Self {
        Self { reach, pool }
    }

    /// One probe. The deadline cuts it from outside; `deadline` only divides the time between addresses.
    pub async fn probe(
        &self,
        probe: &HttpProbe,
        secret: Option<&Secret>,
        mut hop: Hop,
        mut draft: Draft,
        deadline: Instant,
        trace: &mut Trace,
    ) -> Result<Answer, Failure> {
        if let Some(auth) = &probe.auth {
            draft.authorize(authorization(auth, secret).map_err(|why| unfit(&why))?);
        }
        let mut redirects = 0;
        loop {
            let exchanged = self.exchange(&hop, &draft, probe.follow_redirects, deadline, trace).await?;
            let next = match exchanged.location() {
                Some(location) if probe.follow_redirects => redirect::target(&hop, location),
                _ => return Ok(answer(exchanged, probe.auth.as_ref(), secret)),
            };
            let next = next.map_err(|why| failure(FailureClass::Redirect, format!("{} {why}", hop.target.name)))?;
            if redirects == REDIRECTS_MAX {
                let words = format!("more than {REDIRECTS_MAX} redirects; the last one leads to {}", next.target.name);
                return Err(failure(FailureClass::Redirect, words));
            }
            redirects += 1;
            trace.redirected();
            draft.redirect(exchanged.status(), next.origin == hop.origin);
            hop = next;
        }
    }

    /// One exchange, over a connection that was kept if there is one. Where that turns out to be closed, a fresh one
    /// decides.
    async fn exchange(
        &self,
        hop: &Hop,
        draft: &Draft,
        follow: bool,
        deadline: Instant,
        trace: &mut Trace,
    ) -> Result<Exchanged, Failure> {
        let body_max =
            |status: u16| if follow && redirect::is_one(status) { REDIRECT_BYTES_MAX } else { BODY_BYTES_MAX };
        trace.heads_for(&hop.target);
        if let Some(kept) = self.pool.take(&hop.origin, trace.started_at) {
            let before = trace.mark();
            kept.certificate.iter().for_each(|certificate| trace.saw((**certificate).clone()));
            match wire::exchange(kept, &hop.target, draft.request(hop), body_max, trace).await {
                Err(Broken { unanswered: true, .. }) => trace.back_to(before),
                Ok(exchanged) if exchanged.is_farewell() => trace.back_to(before),
                Err(broken) => return Err(broken.failure),
                Ok(exchanged) => return Ok(self.keep(hop, exchanged)),
            }
        }
        let wire = Box::pin(self.open(hop, deadline, trace)).await?;
        let exchanged = wire::exchange(wire, &hop.target, draft.request(hop), body_max, trace).await;
        exchanged.map(|exchanged| self.keep(hop, exchanged)).map_err(|broken| broken.failure)
    }

    fn keep(&self, hop: &Hop, mut exchanged: Exchanged) -> Exchanged {
        if let Some(wire) = exchanged.wire.take() {
            self.pool.keep(&hop.origin, wire);
        }
        exchanged
    }

    async fn open(&self, hop: &Hop, deadline: Instant, trace: &mut Trace) -> Result<Wire, Failure> {
        let target = &hop.target;
        let tcp = self.reach.tcp(target, deadline, trace).await?;
        let made = Instant::now();
        if !hop.is_tls {
            return Ok(Wire { stream: Stream::Plain(tcp), made, certificate: None });
        }
        let (stream, certificate) = self.reach.tls(tcp, target, Purpose::Http, trace).await?;
        Ok(Wire { stream: Stream::Tls(Box::new(stream)), made, certificate: certificate.map(Arc::new) })
    }
}

/// What is reported: without the secret, should the other end say it back.
fn answer(exchanged: Exchanged, auth: Option<&Auth>, secret: Option<&Secret>) -> Answer {
    let Exchanged { head, mut body, is_whole, .. } = exchanged;
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
    Answer::Http { status: head.status.as_u16(), headers, body, is_whole }
}
