//! Resolves, asks the guard, connects and does the TLS handshake, recording the timing of each.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use socket2::{SockRef, TcpKeepalive};
use tidings_channels::egress::{DialError, DialOptions, Dialer, Guard, LookupLimits, Resolve, TlsProfile, VettedAddrs};
use tidings_domain::check::{Certificate, Failure, FailureClass};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::failure::{dial_failure, failure};
use crate::http::pool::ConnectionPool;
use crate::limiter::PROBES_MAX;
use crate::target::ProbeTarget;
use crate::timing::{Phase, TimingRecorder};
use crate::tls::{Purpose, TlsProber};

/// TCP keep-alive (idle time, interval, probes): a peer that vanished is noticed while its pooled connection is idle
/// rather than by the next probe.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 2);

/// As many lookups as there are probes, so that no name waits for another: the limiter bounds the probes.
pub(crate) const LOOKUP_LIMITS: LookupLimits = LookupLimits { total: PROBES_MAX, per_workspace: PROBES_MAX };

/// Opens connections for probes.
pub(crate) struct Connector {
    dialer: Dialer,
    tls: TlsProber,
    pool: Arc<ConnectionPool>,
}

impl Connector {
    pub fn new(guard: Guard, resolver: Arc<dyn Resolve>, roots: RootCertStore, pool: Arc<ConnectionPool>) -> Self {
        Self { dialer: Dialer::new(guard, resolver, LOOKUP_LIMITS), tls: TlsProber::new(roots), pool }
    }

    pub fn guard(&self) -> &Guard {
        self.dialer.guard()
    }

    /// The target's addresses that the guard allows.
    pub async fn resolve(
        &self,
        target: &ProbeTarget,
        dial: DialOptions,
        deadline: Instant,
        recorder: &mut TimingRecorder,
    ) -> Result<VettedAddrs, Failure> {
        recorder.target(target);
        recorder.start(Phase::Dns);
        let vetted = self.dialer.vetted(&target.host.to_string(), target.port, dial, deadline).await;
        // Address literals have no DNS timing, and a lookup that was cut off did not finish.
        if matches!(target.host, url::Host::Domain(_)) && !matches!(vetted, Err(DialError::LookupTimeout)) {
            recorder.finish();
        }
        vetted.map_err(|error| dial_failure(target, &error, &recorder.timeout_text))
    }

    /// Opens a TCP connection.
    pub async fn connect(
        &self,
        target: &ProbeTarget,
        dial: DialOptions,
        deadline: Instant,
        recorder: &mut TimingRecorder,
    ) -> Result<TcpStream, Failure> {
        let addresses = self.resolve(target, dial, deadline, recorder).await?;
        recorder.start(Phase::Connect);
        match self.dialer.connect(&addresses, deadline).await {
            Ok(stream) => {
                recorder.finish();
                let (after, interval, retries) = KEEPALIVE;
                let keepalive = TcpKeepalive::new().with_time(after).with_interval(interval).with_retries(retries);
                // Best effort: without keep-alive the next probe notices a dead connection.
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                Ok(stream)
            }
            Err(error) => {
                // Idle connections hold file descriptors that the following probes need more.
                if error.is_out_of_files() {
                    self.pool.clear();
                }
                Err(dial_failure(target, &error, &recorder.timeout_text))
            }
        }
    }

    /// Does a TLS handshake on the connection and returns the certificate with it.
    pub async fn handshake(
        &self,
        tcp: TcpStream,
        target: &ProbeTarget,
        profile: &TlsProfile,
        purpose: Purpose,
        recorder: &mut TimingRecorder,
    ) -> Result<(TlsStream<TcpStream>, Option<Certificate>), Failure> {
        recorder.start(Phase::Tls);
        let probed = self.tls.handshake(tcp, target, profile, purpose).await;
        let certificate = probed.certificate;
        match probed.result {
            Ok(stream) => {
                recorder.finish();
                certificate.iter().for_each(|certificate| recorder.certificate(certificate.clone()));
                Ok((stream, certificate))
            }
            Err(message) => {
                certificate.into_iter().for_each(|certificate| recorder.untrusted(certificate));
                Err(failure(FailureClass::Tls, message))
            }
        }
    }
}
