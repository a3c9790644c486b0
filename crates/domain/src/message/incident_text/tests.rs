//! Titles, summaries and fields of incidents' messages.

use crate::calendar::Zone;
use crate::event::tests::incident_event;
use crate::event::{Content, Event};
use crate::incident::IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
use crate::message::{Field, Message};
use crate::severity::Severity;
use crate::time::Timestamp;

fn of(event: &Event, severity: Severity) -> Message {
    crate::message::of(event, severity, &Zone::UTC)
}

#[test]
fn each_incident_trigger_has_its_title_and_summary() {
    for (trigger, title, summary) in [
        (
            Opened,
            "Production API is down",
            "Production API is down. The first failing check was at 2026-05-02 03:58:00 UTC.",
        ),
        (Worsened, "Production API is down now", "Production API was degraded, and is down now, after 2 min 12 s."),
        (
            Escalated { after_seconds: 60 },
            "Production API is still down: nobody has acknowledged it",
            "Production API has been down for 2 min 12 s, and nobody has acknowledged the incident.",
        ),
        (Reminder { number: 1 }, "Production API is still down", "Production API has been down for 2 min 12 s."),
        (
            Flapping,
            "Production API is flapping",
            "Production API went up and down too often: 7 changes within a short time.",
        ),
        (Stable, "Production API is stable again", "Production API has stopped going up and down."),
        (Resolved, "Production API has recovered", "Production API is healthy again after 2 min 12 s."),
    ] {
        let message = of(&incident_event(trigger), Severity::Critical);
        assert_eq!((message.title.as_str(), message.summary.as_str()), (title, summary));
    }
    let message = of(&incident_event(Resolved), Severity::Success);
    let lines: Vec<_> = message.fields.iter().map(|f| format!("{}: {}", f.label, f.value)).collect();
    assert_eq!(
        lines,
        [
            "Endpoint: Production API",
            "Address: https://api.example.com/health",
            "Started: 2026-05-02 03:58:00 UTC",
            "Resolved: 2026-05-02 04:00:12 UTC",
            "Lasted: 2 min 12 s",
            "Incident: inc_05050505050505050505050505050505",
            "region: eu-west"
        ]
    );
    assert_eq!(message.detail.as_deref(), Some("HTTP 502 — expected 200"));
    assert_eq!(message.tags, ["prod"]);
    assert_eq!(message.detail_label, "What was wrong");
}

#[test]
fn messages_of_one_incident_share_a_thread() {
    let mut states = Vec::new();
    for trigger in
        [Opened, Worsened, Escalated { after_seconds: 60 }, Reminder { number: 1 }, Flapping, Stable, Resolved]
    {
        let thread = of(&incident_event(trigger), Severity::Critical).thread.unwrap();
        assert_eq!((thread.id.as_str(), thread.about.as_str()), (&*incident_event(Opened).run_id, "Production API"));
        states.push(thread.state);
    }
    states.dedup();
    assert_eq!(states.len(), 7, "each state differs: {states:?}");
}

#[test]
fn opening_lasts_only_if_it_was_deferred() {
    let mut event = incident_event(Opened);
    let lasting = |event: &Event| {
        of(event, Severity::Critical).fields.into_iter().find(|field| matches!(&*field.label, "Lasted" | "Ongoing for"))
    };
    let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
    incident.at = incident.failing_since;
    assert_eq!(lasting(&event), None);
    let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
    incident.at = Timestamp::from_unix_ms(incident.failing_since.unix_ms() + 7_200_000);
    assert_eq!(lasting(&event), Some(Field::new("Ongoing for", "2 h 0 min")));
    assert_eq!(lasting(&incident_event(Resolved)), Some(Field::new("Lasted", "2 min 12 s")));
}

#[test]
fn actor_is_a_field_and_blank_name_falls_back_to_the_id() {
    let mut event = incident_event(Resolved);
    let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
    (incident.actor, incident.name) = (Some("Ada".into()), " ".into());
    let message = of(&event, Severity::Success);
    assert!(message.fields.contains(&Field::new("By", "Ada")));
    assert_eq!(message.title, "ep_07070707070707070707070707070707 has recovered");
}

#[test]
fn late_resolution_and_opening_after_unsent_resolution_show_when_it_ended() {
    let mut event = incident_event(Resolved);
    let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
    incident.at = incident.at.plus_ms(3_600_000);
    let summary = "Production API is healthy again after 2 min 12 s. It ended at 2026-05-02 04:00:12 UTC.";
    assert_eq!(of(&event, Severity::Success).summary, summary);
    let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
    (incident.resolution, incident.at) = (Some("endpoint deleted".into()), event.received_at);
    let message = of(&event, Severity::Success);
    let summary = "The incident of Production API ended after 2 min 12 s: endpoint deleted.";
    assert_eq!((message.title.as_str(), message.summary.as_str()), ("Production API is resolved", summary));
    let mut event = incident_event(Opened);
    let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
    incident.previous_resolved_at = Some(incident.at.minus_ms(1_000));
    let field = Field::new("Previous incident ended", "2026-05-02 04:00:11 UTC");
    assert!(of(&event, Severity::Critical).fields.contains(&field));
}
