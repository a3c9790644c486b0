//! What an incident brings about: the trigger of its events, which makes each of them one of a kind (the run id is the
//! incident's), their names and how bad they are.

use std::fmt;

use crate::severity::Severity;

/// The trigger of an incident's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IncidentTrigger {
    /// It was opened.
    Opened,
    /// It went from degraded to down.
    Worsened,
    /// Nobody took it on until this step of its escalation. The step is known by its `afterSeconds`, which no other
    /// has: so it stays the same when others are put before it.
    Escalated {
        /// The step's `afterSeconds`.
        after_seconds: u32,
    },
    /// It was said again, for the first time or so many times.
    Reminder {
        /// From 1.
        number: u32,
    },
    /// With it, the endpoint went up and down too often.
    Flapping,
    /// The endpoint has calmed down; it was the last before that.
    Stable,
    /// It is over.
    Resolved,
}

impl IncidentTrigger {
    /// The name of the event on the wire, in the store and in metrics.
    pub const fn event_name(self) -> &'static str {
        match self {
            Self::Opened => "incident_opened",
            Self::Worsened | Self::Escalated { .. } => "incident_escalated",
            Self::Reminder { .. } => "incident_reminder",
            Self::Flapping => "incident_flapping",
            Self::Stable => "incident_stable",
            Self::Resolved => "incident_resolved",
        }
    }

    /// How bad the event is, if the incident is now as bad as this (see [`super::Incident::severity`]).
    pub const fn severity(self, of_incident: Severity) -> Severity {
        match self {
            Self::Opened | Self::Escalated { .. } | Self::Reminder { .. } | Self::Flapping => of_incident,
            Self::Worsened => Severity::Critical,
            Self::Resolved | Self::Stable => Severity::Success,
        }
    }

    /// The trigger that this word names: exactly what [`fmt::Display`] writes.
    pub fn parse(word: &str) -> Option<Self> {
        let (name, number) = match word.split_once(':') {
            Some((name, number)) => (name, Some(number.parse::<u32>().ok()?)),
            None => (word, None),
        };
        let trigger = match (name, number) {
            ("opened", None) => Self::Opened,
            ("worsened", None) => Self::Worsened,
            ("escalated", Some(after_seconds)) => Self::Escalated { after_seconds },
            ("reminder", Some(number)) => Self::Reminder { number },
            ("flapping", None) => Self::Flapping,
            ("stable", None) => Self::Stable,
            ("resolved", None) => Self::Resolved,
            _ => return None,
        };
        (trigger.to_string() == word).then_some(trigger)
    }
}

/// The word for it: `opened`, `escalated:900`, `reminder:2`, …
impl fmt::Display for IncidentTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("opened"),
            Self::Worsened => f.write_str("worsened"),
            Self::Escalated { after_seconds } => write!(f, "escalated:{after_seconds}"),
            Self::Reminder { number } => write!(f, "reminder:{number}"),
            Self::Flapping => f.write_str("flapping"),
            Self::Stable => f.write_str("stable"),
            Self::Resolved => f.write_str("resolved"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IncidentTrigger::*;
    use Severity::{Critical, Success, Warning};

    #[test]
    fn each_has_its_word_its_event_and_its_severity() {
        for (trigger, word, event, of_warning, of_critical) in [
            (Opened, "opened", "incident_opened", Warning, Critical),
            (Worsened, "worsened", "incident_escalated", Critical, Critical),
            (Escalated { after_seconds: 900 }, "escalated:900", "incident_escalated", Warning, Critical),
            (Reminder { number: 2 }, "reminder:2", "incident_reminder", Warning, Critical),
            (Flapping, "flapping", "incident_flapping", Warning, Critical),
            (Stable, "stable", "incident_stable", Success, Success),
            (Resolved, "resolved", "incident_resolved", Success, Success),
        ] {
            assert_eq!((trigger.to_string().as_str(), trigger.event_name()), (word, event));
            assert_eq!(IncidentTrigger::parse(word), Some(trigger));
            assert_eq!((trigger.severity(Warning), trigger.severity(Critical)), (of_warning, of_critical), "{word}");
        }
    }

    #[test]
    fn another_spelling_is_another_word() {
        for wrong in
            ["", "Opened", "opened:", "opened:1", "escalated", "escalated:", "escalated:09", "reminder:+1", "x"]
        {
            assert_eq!(IncidentTrigger::parse(wrong), None, "{wrong}");
        }
    }
}
