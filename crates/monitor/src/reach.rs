//! The way to the other end: resolve, ask the guard, connect, shake hands; each part timed.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use socket2::{SockRef, TcpKeepalive};
use tidings_channels::egress::{DialError, Dialer, Guard, Resolve, VettedAddrs};
use tidings_domain::check::{Certificate, Failure, FailureClass};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::failure::{failure, unreached};
use crate::http::pool::Pool;
use crate::target::Target;
use crate::tls::{Purpose, Tls};
use crate::trace::{Stage, Trace};

/// A peer that is gone without a word is noticed while its connection lies idle, not by the next probe: after so long
/// it is asked, so often, so many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 2);

/// Guard, resolver and TLS.
pub(crate) struct Reach {
    dialer: Dialer,
    tls: Tls,
    pool: Arc<Pool>,
}

impl Reach {
    pub fn new(guard: Guard, resolver: Arc<dyn Resolve>, roots: RootCertStore, pool: Arc<Pool>) -> Self {
        Self { dialer: Dialer::new(guard, resolver), tls: Tls::new(roots), pool }
    }

    pub fn guard(&self) -> &Guard {
        self.dialer.guard()
    }

    /// The addresses that may be watched.
    pub async fn admitted(
        &self,
        target: &Target,
        deadline: Instant,
        trace: &mut Trace,
    ) -> Result<VettedAddrs, Failure> {
        trace.heads_for(target);
        trace.waits_for(Stage::Name);
        let since = Instant::now();
        let admitted = self.dialer.admitted(&target.host.to_string(), target.port, deadline).await;
        if matches!(target.host, url::Host::Domain(_)) && !matches!(admitted, Err(DialError::UnresolvedInTime)) {
            trace.got(since);
        }
        admitted.map_err(|why| unreached(target, &why, &trace.within))
    }

    /// A connection. Where there are no more files to open, those of idle connections are given up for the next.
    pub async fn tcp(&self, target: &Target, deadline: Instant, trace: &mut Trace) -> Result<TcpStream, Failure> {
        let admitted = self.admitted(target, deadline, trace).await?;
        trace.waits_for(Stage::Connection);
        let since = Instant::now();
        match self.dialer.connect(&admitted, deadline).await {
            Ok(stream) => {
                trace.got(since);
                let (after, interval, retries) = KEEPALIVE;
                let keepalive = TcpKeepalive::new().with_time(after).with_interval(interval).with_retries(retries);
                // Without it the next probe notices.
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                Ok(stream)
            }
            Err(why) => {
                if why.is_out_of_files() {
                    self.pool.clear();
                }
                Err(unreached(target, &why, &trace.within))
            }
        }
    }

    /// TLS over a connection, and the certificate.
    pub async fn tls(
        &self,
        tcp: TcpStream,
        target: &Target,
        purpose: Purpose,
        trace: &mut Trace,
    ) -> Result<(TlsStream<TcpStream>, Option<Certificate>), Failure> {
        let name = target.server_name().map_err(|why| failure(FailureClass::Tls, format!("{}: {why}", target.name)))?;
        trace.waits_for(Stage::Tls);
        let since = Instant::now();
        let shaken = self.tls.shake(tcp, name, &target.name, purpose).await;
        let certificate = shaken.seen.map(|seen| seen.certificate);
        match shaken.outcome {
            Ok(stream) => {
                trace.got(since);
                certificate.iter().for_each(|certificate| trace.saw(certificate.clone()));
                Ok((stream, certificate))
            }
            Err(words) => {
                certificate.into_iter().for_each(|certificate| trace.distrusts(certificate));
                Err(failure(FailureClass::Tls, words))
            }
        }
    }
}
