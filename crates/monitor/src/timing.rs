//! Records the progress of a probe. It outlives the probe's future, so that a probe that the timeout cuts off still
//! reports the phases that were completed and the phase it was in.

use std::time::Duration;

use tidings_domain::check::{Answer, Certificate, Failure, FailureClass, Observation, Timings};
use tidings_domain::text::format_duration;
use tidings_domain::time::Timestamp;
use tokio::time::Instant;

use crate::failure::{connect_timeout, failure, resolve_timeout};
use crate::target::ProbeTarget;

/// A part of a probe that is timed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Dns,
    Connect,
    Tls,
    /// From the request to the response head, or to an ICMP reply.
    FirstByte,
    /// The response body, which has no timing of its own.
    Body,
}

/// Timings in the order of [`Phase`], without the body.
type PhaseTimings = [Option<Duration>; 4];

/// What [`TimingRecorder::roll_back`] returns to.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    timings: PhaseTimings,
    certificate: Option<Certificate>,
    has_reused: bool,
}

/// Timings, certificate and current phase of one probe.
#[derive(Debug)]
pub(crate) struct TimingRecorder {
    /// The probe's timeout, formatted for messages.
    pub timeout_text: String,
    /// Wall-clock time at which the probe started.
    pub started_at: Timestamp,
    target: Option<ProbeTarget>,
    phase: Phase,
    phase_started: Instant,
    redirects: usize,
    timings: PhaseTimings,
    certificate: Option<Certificate>,
    has_reused: bool,
}

impl TimingRecorder {
    pub fn new(timeout: Duration, started_at: Timestamp) -> Self {
        Self {
            timeout_text: format_duration(timeout.as_millis() as u64).replace(".0 s", " s"),
            started_at,
            target: None,
            phase: Phase::Dns,
            phase_started: Instant::now(),
            redirects: 0,
            timings: [None; 4],
            certificate: None,
            has_reused: false,
        }
    }

    /// Records that a request goes over a connection of an earlier probe.
    pub fn reused(&mut self) {
        self.has_reused = true;
    }

    /// Whether any request of the probe went over a connection of an earlier one.
    pub fn has_reused(&self) -> bool {
        self.has_reused
    }

    /// Sets the host that the following phases talk to.
    pub fn target(&mut self, target: &ProbeTarget) {
        self.target = Some(target.clone());
    }

    pub fn redirected(&mut self) {
        self.redirects += 1;
    }

    /// Starts a phase.
    pub fn start(&mut self, phase: Phase) {
        (self.phase, self.phase_started) = (phase, Instant::now());
    }

    /// Finishes the phase that was started last. Timings add up over redirects.
    pub fn finish(&mut self) {
        let index = match self.phase {
            Phase::Dns => 0,
            Phase::Connect => 1,
            Phase::Tls => 2,
            Phase::FirstByte => 3,
            Phase::Body => return,
        };
        *self.timings[index].get_or_insert_default() += self.phase_started.elapsed();
    }

    /// Records a certificate of a successful handshake. Over several redirects the one that expires first is kept.
    pub fn certificate(&mut self, certificate: Certificate) {
        if self.certificate.as_ref().is_none_or(|kept| certificate.not_after < kept.not_after) {
            self.certificate = Some(certificate);
        }
    }

    /// Records the certificate of a failed handshake. It replaces any other, because it explains the failure.
    pub fn untrusted(&mut self, certificate: Certificate) {
        self.certificate = Some(certificate);
    }

    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { timings: self.timings, certificate: self.certificate.clone(), has_reused: self.has_reused }
    }

    /// Discards what was recorded since the checkpoint.
    pub fn roll_back(&mut self, to: Checkpoint) {
        Checkpoint { timings: self.timings, certificate: self.certificate, has_reused: self.has_reused } = to;
    }

    /// The failure of a probe whose timeout expired in the current phase.
    pub fn timeout_failure(&self) -> Failure {
        let within = &self.timeout_text;
        let Some(target) = &self.target else {
            return failure(FailureClass::Timeout, format!("no answer within {within}"));
        };
        let name = &target.name;
        let message = match self.phase {
            Phase::Dns => return resolve_timeout(target, within),
            Phase::Connect => return connect_timeout(target, within),
            Phase::Tls => format!("the TLS handshake with {name} did not finish within {within}"),
            Phase::FirstByte => format!("no answer from {name} within {within}"),
            Phase::Body => format!("the answer from {name} was incomplete after {within}"),
        };
        failure(FailureClass::Timeout, message)
    }

    /// The observation of a probe that took `took` in total.
    pub fn into_observation(self, took: Duration, mut outcome: Result<Answer, Failure>) -> Observation {
        if let Err(failure) = &mut outcome
            && self.redirects > 0
            && failure.class != FailureClass::Redirect
        {
            failure.message.insert_str(0, "after a redirect: ");
        }
        let [dns_ms, connect_ms, tls_ms, first_byte_ms] = self.timings.map(|timing| timing.map(ms));
        Observation {
            started_at: self.started_at,
            timings: Timings { dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms: ms(took) },
            certificate: self.certificate,
            outcome,
        }
    }
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
