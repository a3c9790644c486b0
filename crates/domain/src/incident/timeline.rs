//! The timeline of an incident. It outlives checks and deliveries, so every entry contains all that is shown of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Cause;
use crate::check::{Check, CheckStatus};
use crate::id::ChannelId;
use crate::time::Timestamp;

/// One entry of an incident's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    pub at: Timestamp,
    #[serde(flatten)]
    pub kind: TimelineKind,
}

/// What a timeline entry reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum TimelineKind {
    Opened {
        cause: Cause,
        detail: Option<String>,
    },
    /// A conclusive check while the incident was open.
    Check {
        status: CheckStatus,
        reason: Option<String>,
        status_code: Option<u16>,
        response_time_ms: Option<u32>,
    },
    /// The endpoint went from degraded to down.
    Worsened {
        detail: Option<String>,
    },
    Acknowledged {
        /// The display name of the member or API key.
        by: String,
        note: Option<String>,
    },
    /// An escalation step notified this channel.
    Escalated {
        /// The step's `afterSeconds`.
        after_seconds: u32,
        channel_id: ChannelId,
    },
    Reminded {
        /// From 1.
        number: u32,
    },
    Flapping {
        /// Openings and resolutions within the window.
        changes: u32,
    },
    Stable,
    Resolved {
        /// How the incident was resolved, if not by healthy checks.
        detail: Option<String>,
    },
}

impl TimelineKind {
    /// The wire name: API and store.
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
    /// The entry for a check.
    pub fn from_check(check: &Check) -> Self {
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
    fn timeline_entries_round_trip_with_their_kind() {
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
    fn check_entry_contains_all_that_is_shown() {
        let definition = Definition::new(Probe::Http(HttpProbe::new("https://example.com/")));
        let entry = TimelineEntry::from_check(&judge(&definition, &answer(502, "")));
        assert_eq!(
            serde_json::to_value(&entry).unwrap(),
            json!({"at": "2026-05-02T04:00:00.000Z", "kind": "check", "status": "down", "statusCode": 502,
                   "reason": "HTTP 502 — expected 200", "responseTimeMs": 1234})
        );
        let failure = Failure { class: FailureClass::Timeout, message: "no answer within 10 s".into() };
        let entry =
            TimelineEntry::from_check(&judge(&definition, &Observation { outcome: Err(failure), ..answer(200, "") }));
        assert!(matches!(entry.kind, TimelineKind::Check { response_time_ms: None, status_code: None, .. }));
    }
}
