//! What an incident brings about: the trigger of its events, which makes each of them one of a kind (the run id is the
//! incident's), their names and how bad they are.

use std::borrow::Cow;
use std::fmt;

use crate::event::EventKind;
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
    /// How bad the event is, if the incident is now as bad as this (see [`super::Incident::severity`]).
    pub const fn severity(self, of_incident: Severity) -> Severity {
        match self {
            Self::Opened | Self::Escalated { .. } | Self::Reminder { .. } | Self::Flapping => of_incident,
            Self::Worsened => Severity::Critical,
            Self::Resolved | Self::Stable => Severity::Success,
        }
    }

    /// The word for it in the API, in bodies and in the store: `opened`, `escalated:900`, `reminder:2`, …
    pub fn word(self) -> Cow<'static, str> {
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

    /// The kind of the event that tells of it.
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

    /// The trigger that this word names: exactly what [`Self::word`] writes.
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
        (trigger.word() == word).then_some(trigger)
    }
}

impl fmt::Display for IncidentTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word())
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
            assert_eq!((trigger.to_string().as_str(), trigger.event_kind().as_str()), (word, event));
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
