//! Sample values that need no store (instants, leases, evaluations, attempts, settlements) and assertions.

use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::Event;
use tidings_domain::gate::{Effect, Gate, GateEvaluation, Refusal};
use tidings_domain::time::Timestamp;

use crate::queue::{Attempt, Claimed, FollowUps, Lease, NextState, Settlement};

/// The instant at which all cases start.
pub(super) const NOW: Timestamp = Timestamp::from_unix_ms(1_780_000_000_000);

/// This long after [`NOW`].
pub(super) const fn after_ms(ms: u64) -> Timestamp {
    NOW.plus_ms(ms)
}

/// A lease of this owner until `until_ms` after [`NOW`].
pub(super) const fn lease(owner: i64, until_ms: u64) -> Lease {
    Lease { owner, until: after_ms(until_ms) }
}

/// Asserts that an operation was refused with this error.
macro_rules! assert_refused {
    ($outcome:expr, $error:ident) => {
        match $outcome {
            Err($crate::StoreError::$error) => {}
            other => panic!("expected {}, not {other:?}", stringify!($error)),
        }
    };
}
pub(super) use assert_refused;

/// An evaluation that passed every gate.
pub(super) fn passed(at: Timestamp) -> GateEvaluation {
    GateEvaluation {
        evaluated_at: at,
        passed: Gate::ORDER.iter().fold(0, |bits, gate| bits | gate.bit()),
        stopped: None,
    }
}

/// An evaluation that this gate stopped.
pub(super) fn stopped(gate: Gate, at: Timestamp) -> GateEvaluation {
    let stop = Refusal { effect: Effect::Suppress, detail: "because of \"this\"".into(), until: None, mute_id: None };
    GateEvaluation { evaluated_at: at, passed: 1 << Gate::RulePaused as u8, stopped: Some((gate, stop)) }
}

/// An evaluation that quiet hours hold until this instant.
pub(super) fn held(at: Timestamp, until: Timestamp) -> GateEvaluation {
    let stop = Refusal { effect: Effect::Hold, detail: "Held".into(), until: Some(until), mute_id: None };
    GateEvaluation { stopped: Some((Gate::QuietHours, stop)), ..stopped(Gate::QuietHours, at) }
}

/// A successful or failed attempt.
pub(super) fn attempt(number: u32, ok: bool) -> Attempt {
    Attempt {
        number,
        trigger: AttemptTrigger::Scheduled,
        started_at: NOW.plus_ms(5),
        duration_ms: 41,
        http_status: Some(if ok { 204 } else { 502 }),
        error_class: (!ok).then(|| "http_status".into()),
        error: (!ok).then(|| "HTTP 502 — expected 2xx".into()),
        response_headers: (number != 3).then(|| "server: nginx\nset-cookie: •••".into()),
        response_body: Some("<h1>Bad \"Gateway\"</h1>".into()),
        channel_revision: (number != 3).then_some(7),
        note: number.is_multiple_of(2).then(|| "the body template failed".into()),
    }
}

/// A settlement with an attempt.
pub(super) fn attempted(claimed: &Claimed, next: NextState) -> Settlement {
    let ok = next == NextState::Done(Status::Sent);
    let attempt = Attempt { trigger: claimed.attempt_trigger, ..attempt(claimed.attempt_count + 1, ok) };
    Settlement { attempt: Some(attempt), ..unattempted(claimed, next) }
}

/// A settlement without an attempt.
pub(super) fn unattempted(claimed: &Claimed, next: NextState) -> Settlement {
    Settlement {
        workspace_id: claimed.event.workspace_id,
        delivery_id: claimed.id,
        owner: claimed.lease.owner,
        attempt_count: claimed.attempt_count,
        now: after_ms(50),
        attempt: None,
        next,
        attempt_state: None,
        not_before: None,
        follow_ups: FollowUps::None,
    }
}

/// Asserts that two events are equal in all fields.
pub(super) fn assert_same_event(one: &Event, other: &Event) {
    // As text, because the output is raw JSON, which has no equality.
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}
