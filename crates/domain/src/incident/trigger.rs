//! The triggers of an incident's events. Together with the incident's id, the trigger identifies the event, so each
//! trigger occurs once per incident.

use std::borrow::Cow;
use std::fmt;

use crate::event::EventKind;
use crate::severity::Severity;

/// The trigger of an incident's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IncidentTrigger {
    Opened,
    /// The endpoint went from degraded to down.
    Worsened,
    /// An escalation step became due. Steps are identified by `afterSeconds` and not by position, so that edits of the
    /// escalation do not change the identity of a step.
    Escalated {
        /// The step's `afterSeconds`.
        after_seconds: u32,
    },
    Reminder {
        /// From 1.
        number: u32,
    },
    /// The endpoint started flapping with this incident.
    Flapping,
    /// The endpoint stopped flapping; this was its last incident before.
    Stable,
    Resolved,
}

impl IncidentTrigger {
    /// The event's severity, given the current one of the incident ([`super::Incident::severity`]).
    pub const fn severity(self, of_incident: Severity) -> Severity {
        match self {
            Self::Opened | Self::Worsened | Self::Escalated { .. } | Self::Reminder { .. } | Self::Flapping => {
                of_incident
            }
            Self::Resolved | Self::Stable => Severity::Success,
        }
    }

    /// The wire name: API, webhook bodies and store. `opened`, `escalated:900`, `reminder:2`, …
    pub fn wire_name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Opened => "opened",
            Self::Worsened => "worsened",
            Self::Escalated { after_seconds } => return Cow::Owned(format!("escalated:{after_seconds}")),
            Self::Reminder { number } => return Cow::Owned(format!("reminder:{number}")),
            Self::Flapping => "flapping",
            Self::Stable => "stable",
            Self::Resolved => "resolved",
        })
    }

    /// The kind of its event.
    pub const fn event_kind(self) -> EventKind {
        match self {
            Self::Opened => EventKind::IncidentOpened,
            Self::Worsened | Self::Escalated { .. } => EventKind::IncidentEscalated,
            Self::Reminder { .. } => EventKind::IncidentReminder,
            Self::Flapping => EventKind::IncidentFlapping,
            Self::Stable => EventKind::IncidentStable,
            Self::Resolved => EventKind::IncidentResolved,
        }
    }

    /// Parses a wire name; accepts exactly what [`Self::word`] writes.
    pub fn parse(name: &str) -> Option<Self> {
        let (stem, number) = match name.split_once(':') {
            Some((stem, number)) => (stem, Some(number.parse::<u32>().ok()?)),
            None => (name, None),
        };
        let trigger = match (stem, number) {
            ("opened", None) => Self::Opened,
            ("worsened", None) => Self::Worsened,
            ("escalated", Some(after_seconds)) => Self::Escalated { after_seconds },
            ("reminder", Some(number)) => Self::Reminder { number },
            ("flapping", None) => Self::Flapping,
            ("stable", None) => Self::Stable,
            ("resolved", None) => Self::Resolved,
            _ => return None,
        };
        // Refuses other spellings of the number, such as `reminder:02`.
        (trigger.wire_name() == name).then_some(trigger)
    }
}

impl fmt::Display for IncidentTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wire_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IncidentTrigger::*;
    use Severity::{Critical, Success, Warning};

    #[test]
    fn incident_triggers_have_stable_names_events_and_severities() {
        for (trigger, name, event, of_warning, of_critical) in [
            (Opened, "opened", "incident_opened", Warning, Critical),
            (Worsened, "worsened", "incident_escalated", Warning, Critical),
            (Escalated { after_seconds: 900 }, "escalated:900", "incident_escalated", Warning, Critical),
            (Reminder { number: 2 }, "reminder:2", "incident_reminder", Warning, Critical),
            (Flapping, "flapping", "incident_flapping", Warning, Critical),
            (Stable, "stable", "incident_stable", Success, Success),
            (Resolved, "resolved", "incident_resolved", Success, Success),
        ] {
            assert_eq!((trigger.to_string().as_str(), trigger.event_kind().as_str()), (name, event));
            assert_eq!(IncidentTrigger::parse(name), Some(trigger));
            assert_eq!((trigger.severity(Warning), trigger.severity(Critical)), (of_warning, of_critical), "{name}");
        }
    }

    #[test]
    fn incident_trigger_parse_rejects_other_spellings() {
        for wrong in
            ["", "Opened", "opened:", "opened:1", "escalated", "escalated:", "escalated:09", "reminder:+1", "x"]
        {
            assert_eq!(IncidentTrigger::parse(wrong), None, "{wrong}");
        }
    }
}
