//! What a probe has seen so far. It outlives the probe's own future, so that what the deadline cuts off still tells
//! how far it came.

use std::time::Duration;

use tidings_domain::check::{Answer, Certificate, Failure, FailureClass, Observation, Timings};
use tidings_domain::text::format_duration;
use tidings_domain::time::Timestamp;
use tokio::time::Instant;

use crate::failure::{failure, unconnected_in_time, unresolved_in_time};
use crate::target::Target;

/// What a probe is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The name service.
    Name,
    /// The TCP connection.
    Connection,
    /// The TLS handshake.
    Tls,
    /// The beginning of an answer.
    Answer,
    /// The rest of it.
    Body,
}

/// What had been seen by then.
#[derive(Debug)]
pub(crate) struct Mark {
    parts: [Option<Duration>; 4],
    certificate: Option<Certificate>,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Trace {
    /// How long the probe may take, in words.
    pub within: String,
    /// The time of day when it began.
    pub started_at: Timestamp,
    target: Option<Target>,
    stage: Stage,
    redirects: usize,
    parts: [Option<Duration>; 4],
    certificate: Option<Certificate>,
}

impl Trace {
    /// Of a probe that begins now.
    pub fn new(timeout: Duration, started_at: Timestamp) -> Self {
        Self {
            within: format_duration(timeout.as_millis() as u64).replace(".0 s", " s"),
            started_at,
            target: None,
            stage: Stage::Name,
            redirects: 0,
            parts: [None; 4],
            certificate: None,
        }
    }

    /// It goes there now.
    pub fn heads_for(&mut self, target: &Target) {
        self.target = Some(target.clone());
    }

    /// It was sent elsewhere.
    pub fn redirected(&mut self) {
        self.redirects += 1;
    }

    /// It now waits for this.
    pub fn waits_for(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// What it waited for since then has come. After redirects the parts are sums.
    pub fn got(&mut self, since: Instant) {
        let place = match self.stage {
            Stage::Name => 0,
            Stage::Connection => 1,
            Stage::Tls => 2,
            Stage::Answer => 3,
            Stage::Body => return,
        };
        *self.parts[place].get_or_insert_default() += since.elapsed();
    }

    /// It was shown this certificate. Of several the one that ends first is of interest.
    pub fn saw(&mut self, certificate: Certificate) {
        if self.certificate.as_ref().is_none_or(|seen| certificate.not_after < seen.not_after) {
            self.certificate = Some(certificate);
        }
    }

    /// It was shown this certificate, and TLS failed: whatever was seen before it, this is the one of interest.
    pub fn distrusts(&mut self, certificate: Certificate) {
        self.certificate = Some(certificate);
    }

    /// What was seen so far.
    pub fn mark(&self) -> Mark {
        Mark { parts: self.parts, certificate: self.certificate.clone() }
    }

    /// What was seen since then counts for nothing.
    pub fn back_to(&mut self, mark: Mark) {
        Mark { parts: self.parts, certificate: self.certificate } = mark;
    }

    /// The time is over.
    pub fn late(&self) -> Failure {
        let within = &self.within;
        let Some(target) = &self.target else {
            return failure(FailureClass::Timeout, format!("no answer within {within}"));
        };
        let name = &target.name;
        let words = match self.stage {
            Stage::Name => return unresolved_in_time(target, within),
            Stage::Connection => return unconnected_in_time(target, within),
            Stage::Tls => format!("no TLS with {name} within {within}"),
            Stage::Answer => format!("no answer from {name} within {within}"),
            Stage::Body => format!("the answer from {name} was not whole within {within}"),
        };
        failure(FailureClass::Timeout, words)
    }

    /// What became of it all, `took` after it began.
    pub fn observation(self, took: Duration, mut outcome: Result<Answer, Failure>) -> Observation {
        if let Err(failure) = &mut outcome
            && self.redirects > 0
            && failure.class != FailureClass::Redirect
        {
            failure.message.insert_str(0, "after a redirect: ");
        }
        let [dns_ms, connect_ms, tls_ms, first_byte_ms] = self.parts.map(|part| part.map(ms));
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
