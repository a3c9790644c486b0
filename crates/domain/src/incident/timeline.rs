//! The timeline: what happened in an incident, in order. It outlives checks and deliveries, so that an entry says all
//! that is to be shown of it by itself.

use serde::{Deserialize, Serialize};

use super::Cause;
use crate::check::{Check, CheckStatus};
use crate::id::ChannelId;
use crate::time::Timestamp;

/// One thing that happened in an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: TimelineKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum TimelineKind {
    /// It was opened.
    Opened {
        /// Why.
        cause: Cause,
        /// Why, in words.
        detail: Option<String>,
    },
    /// The endpoint was checked.
    Check {
        /// How it stood.
        status: CheckStatus,
        /// Why, in words.
        reason: Option<String>,
        /// The status code, if it was HTTP.
        status_code: Option<u16>,
        /// How long it took, in milliseconds.
        response_time_ms: Option<u32>,
    },
    /// It went from degraded to down.
    Worsened {
        /// Why, in words.
        detail: Option<String>,
    },
    /// Somebody took it on.
    Acknowledged {
        /// Who: the id of a member or of an API key.
        by: String,
        /// What they had to say.
        note: Option<String>,
    },
    /// Nobody had, and somebody else was told.
    Escalated {
        /// The step's `afterSeconds`.
        after_seconds: u32,
        /// Through this channel.
        channel_id: ChannelId,
    },
    /// It was said again.
    Reminded {
        /// From 1.
        number: u32,
    },
    /// The endpoint went up and down too often.
    Flapping {
        /// Openings and resolutions within the window.
        changes: u32,
    },
    /// The endpoint has calmed down.
    Stable,
    /// It is over.
    Resolved {
        /// How it came to that, in words, if not by healthy checks.
        detail: Option<String>,
    },
}

impl TimelineKind {
    /// The word for it in the API and in the store.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Check { .. } => "check",
            Self::Worsened { .. } => "worsened",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Escalated { .. } => "escalated",
            Self::Reminded { .. } => "reminded",
            Self::Flapping { .. } => "flapping",
            Self::Stable => "stable",
            Self::Resolved { .. } => "resolved",
        }
    }
}

impl TimelineEntry {
    /// The entry of a check.
    pub fn of_check(check: &Check) -> Self {
        let kind = TimelineKind::Check {
            status: check.status,
            reason: check.reason.clone(),
            status_code: check.status_code,
            response_time_ms: check.response_time_ms,
        };
        Self { at: check.checked_at, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::answer;
    use crate::check::{Failure, FailureClass, Observation, judge};
    use crate::endpoint::{Definition, HttpProbe, Probe};
    use crate::id::Id;
    use serde_json::json;

    #[test]
    fn entries_read_back_and_carry_their_word() {
        let at = Timestamp::from_unix_ms(0);
        for kind in [
            TimelineKind::Opened { cause: Cause::EndpointDown, detail: Some("HTTP 502 — expected 200".into()) },
            TimelineKind::Worsened { detail: None },
            TimelineKind::Acknowledged { by: "usr_1".into(), note: None },
            TimelineKind::Escalated { after_seconds: 900, channel_id: ChannelId::from_bytes([4; 16]) },
            TimelineKind::Reminded { number: 1 },
            TimelineKind::Flapping { changes: 7 },
            TimelineKind::Stable,
            TimelineKind::Resolved { detail: None },
        ] {
            let entry = TimelineEntry { at, kind };
            let stored = serde_json::to_value(&entry).unwrap();
            assert_eq!(stored["kind"], entry.kind.as_str());
            assert_eq!(serde_json::from_value::<TimelineEntry>(stored).unwrap(), entry);
        }
    }

    #[test]
    fn a_check_leaves_all_that_is_shown_of_it() {
        let definition = Definition::new(Probe::Http(HttpProbe::new("https://example.com/")));
        let entry = TimelineEntry::of_check(&judge(&definition, &answer(502, "")));
        assert_eq!(
            serde_json::to_value(&entry).unwrap(),
            json!({"at": "2026-05-02T04:00:00.000Z", "kind": "check", "status": "down", "statusCode": 502,
                   "reason": "HTTP 502 — expected 200", "responseTimeMs": 1234})
        );
        let failure = Failure { class: FailureClass::Timeout, message: "no answer within 10 s".into() };
        let entry =
            TimelineEntry::of_check(&judge(&definition, &Observation { outcome: Err(failure), ..answer(200, "") }));
        assert!(matches!(entry.kind, TimelineKind::Check { response_time_ms: None, status_code: None, .. }));
    }
}
