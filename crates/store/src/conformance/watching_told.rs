//! What is told of incidents: their events come in with what follows, may be told late, and are found again.

use tidings_domain::delivery::Status;
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::trigger::Trigger;

use super::samples::{NOW, after_ms, passed};
use super::watching_world::changed;
use super::world::{Tenant, World};
use crate::monitoring::{TransitionOutcome, TransitionRecord};
use crate::queue::{InitialState, NewDelivery, ReleaseBatch};

/// A second telling, in the place of that one.
fn late(world: &World, tenant: Tenant, of: &NewDelivery) -> NewDelivery {
    NewDelivery { sequence: 2, replaces_id: Some(of.id), ..world.delivery_at(tenant, InitialState::Due, after_ms(5)) }
}

pub(super) async fn events_are_accepted_with_it_and_told_late(world: World) {
    let ours = world.ours;
    let endpoint_id = world.watched(ours).await;
    let record = world.opened(ours, Subject::Endpoint(endpoint_id));
    let first = world.delivery(ours, InitialState::Suppressed);
    let opened = world.tells(&record, IncidentTrigger::Opened, NOW, vec![first.clone()]);
    let worsened = world.tells(&record, IncidentTrigger::Worsened, after_ms(1), vec![]);
    let event_id = opened.event.id;
    let events = vec![opened, worsened.clone()];
    let outcome = world.follow(ours, TransitionRecord { events, ..changed(record.clone()) }).await;
    let Ok(TransitionOutcome::Applied(answers)) = outcome else { panic!("{outcome:?}") };
    assert!(answers.iter().map(|one| one.event_id).eq([event_id, worsened.event.id]), "in their order");
    assert!(answers.iter().all(|one| !one.duplicate));
    assert_eq!(answers[0].counts.suppressed, 1);

    // IncidentDelivery again, under another id: only what is said late is new.
    let (again, late) = (world.delivery(ours, InitialState::Due), late(&world, ours, &first));
    let opened = world.tells(&record, IncidentTrigger::Opened, after_ms(5), vec![again.clone(), late.clone()]);
    let telling = TransitionRecord { events: vec![opened], ..TransitionRecord::default() };
    for _ in 0..2 {
        let outcome = world.follow(ours, telling.clone()).await;
        let Ok(TransitionOutcome::Applied(answers)) = outcome else { panic!("{outcome:?}") };
        assert!(answers[0].duplicate && answers[0].event_id == event_id);
        assert!(world.store.delivery(ours.id, again.id).await.unwrap().is_none());
        let found = world.read(ours, late.id).await;
        assert_eq!((found.event.id, found.sequence, found.replaces_id), (event_id, 2, Some(first.id)));
    }
    assert_eq!(world.status(ours, first.id).await, Status::Suppressed);
}

pub(super) async fn what_was_told_is_found(world: World) {
    let ours = world.ours;
    let (record, other) = (world.failing(ours).await, world.failing(ours).await);
    assert!(world.store.incident_deliveries(ours.id, record.incident.id).await.unwrap().is_empty());
    let first = world.delivery(ours, InitialState::Suppressed);
    let step = NewDelivery { rule_id: None, ..world.delivery_at(ours, InitialState::Due, after_ms(2)) };
    let late = late(&world, ours, &first);
    let escalated = IncidentTrigger::Escalated { after_seconds: 900 };
    let events = vec![
        world.tells(&record, IncidentTrigger::Opened, NOW, vec![first.clone()]),
        world.tells(&record, escalated, after_ms(2), vec![step.clone()]),
        world.tells(&other, IncidentTrigger::Opened, NOW, vec![world.delivery(ours, InitialState::Due)]),
    ];
    let again = world.tells(&record, IncidentTrigger::Opened, after_ms(5), vec![late.clone()]);
    world.follow(ours, TransitionRecord { events, ..TransitionRecord::default() }).await.unwrap();
    world.follow(ours, TransitionRecord { events: vec![again], ..TransitionRecord::default() }).await.unwrap();
    // A run that is called like the incident is no event of it.
    let mut run = world.event(ours);
    run.run_id = record.incident.id.to_string();
    world.accept(world.new_event(run, vec![world.delivery(ours, InitialState::Due)])).await;

    let told = world.store.incident_deliveries(ours.id, record.incident.id).await.unwrap();
    assert!(told.iter().map(|one| one.delivery_id).eq([first.id, step.id, late.id]), "oldest first");
    let triggers = [IncidentTrigger::Opened, escalated, IncidentTrigger::Opened].map(Trigger::Incident);
    assert!(told.iter().map(|one| one.trigger).eq(triggers));
    assert_eq!(told[0].event_id, told[2].event_id);
    assert_eq!((told[0].status, told[0].rule_id, told[0].sequence), (Status::Suppressed, Some(ours.rule_id), 1));
    assert_eq!(
        (told[0].evaluation.as_ref(), told[2].evaluation.as_ref()),
        (Some(&first.evaluation), Some(&passed(after_ms(5))))
    );
    assert_eq!((told[1].status, told[1].rule_id, told[1].channel_id), (Status::Pending, None, ours.channel_id));
    assert_eq!((told[2].sequence, told[2].replaces_id), (2, Some(first.id)));
}

pub(super) async fn what_was_told_says_until_when_it_is_held_and_what_carries_it(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let held = world.delivery(ours, InitialState::Held);
    let opened = world.tells(&record, IncidentTrigger::Opened, NOW, vec![held.clone()]);
    world.follow(ours, TransitionRecord { events: vec![opened], ..TransitionRecord::default() }).await.unwrap();
    let told = || async { world.store.incident_deliveries(ours.id, record.incident.id).await.unwrap().pop().unwrap() };
    let waiting = told().await;
    assert_eq!((waiting.held_until, waiting.digest_id), (held.evaluation.held().map(|(_, until)| until), None));
    let digest = world.digest(vec![held.id]);
    let digest_id = digest.new_event.deliveries[0].id;
    world.let_go(ReleaseBatch { digest: Some(digest), ..world.release(after_ms(6_000)) }).await;
    let carried = told().await;
    assert_eq!((carried.status, carried.held_until, carried.digest_id), (Status::Held, None, Some(digest_id)));
}
