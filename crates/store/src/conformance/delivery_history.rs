//! Delivery history: order, pagination, filters and text search.

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, EventKind};
use tidings_domain::id::{DeliveryId, Id as _};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, attempt, attempted, lease};
use crate::history::{DeliveryFilter, DeliveryRecord};
use crate::queue::{Attempt, InitialState, NewDelivery, NextState, Resend};

fn all() -> DeliveryFilter {
    DeliveryFilter { limit: 100, ..DeliveryFilter::default() }
}

fn ids(records: &[&DeliveryRecord]) -> Vec<DeliveryId> {
    records.iter().map(|record| record.id).collect()
}

/// Its position in the history, oldest first: by event, then by delivery; a deferred one by its own time.
fn position(record: &DeliveryRecord) -> (i64, i64) {
    let own = record.id.sort_key();
    (if record.sequence > 1 { own } else { record.event.id.sort_key() }, own)
}

impl Fixture {
    /// Inserts deliveries of all kinds, two for each event, through two channels, some of them deferred, and a test. Their
    /// ids are not in the order of their events. Returns them newest first, as [`Store::delivery`](crate::Store::delivery) reads them.
    async fn insert_deliveries_of_all_kinds(&self) -> Vec<DeliveryRecord> {
        let tenants = [self.ours, self.another_channel().await];
        let mut found = Vec::new();
        for number in 0..48u64 {
            let mut event = self.event_at(self.ours, after_ms(number * 5 % 16));
            event.resource_type = ResourceType::OF_RUNS[number as usize % 2 * 2];
            event.resource_id = format!("r{}", number % 3);
            event.trigger = Trigger::OF_RUNS[number as usize / 4 % 2];
            event.kind = EventKind::for_run(event.resource_type, event.trigger);
            let start = if number % 4 == 3 { InitialState::Suppressed } else { InitialState::Due };
            let at = after_ms(number * 11 % 16);
            let mut deliveries = tenants.map(|tenant| self.delivery_at(tenant, start, at));
            deliveries[1].sequence = if number % 6 == 1 { 2 } else { 1 };
            found.extend(deliveries.iter().map(|delivery| delivery.id));
            self.accept(self.new_event(event, deliveries.into())).await;
        }
        for event in [self.opened_incident_event(after_ms(4)), self.digest_event(after_ms(6))] {
            let delivery =
                NewDelivery { rule_id: None, ..self.delivery_at(self.ours, InitialState::Held, after_ms(5)) };
            found.push(delivery.id);
            self.accept(self.new_event(event, vec![delivery])).await;
        }
        let claimed = self.claim(tenants[0], after_ms(20), lease(1, 9_000), 6).await;
        for (one, status) in claimed.iter().zip([Status::Sent, Status::Failed, Status::Sent, Status::Failed]) {
            self.store.settle(attempted(one, NextState::Done(status))).await.unwrap();
        }
        let test = self.test(self.ours, Status::Sent, after_ms(7));
        found.push(test.delivery_id);
        self.store.record_test(test).await.unwrap();
        let mut records = Vec::new();
        for id in found {
            records.push(self.read(self.ours, id).await);
        }
        records.sort_by_key(|record| std::cmp::Reverse(position(record)));
        records
    }

    async fn pages(&self, filter: &DeliveryFilter, limit: u32) -> Vec<DeliveryId> {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = self.delivery_ids(self.ours, DeliveryFilter { before, limit, ..filter.clone() }).await;
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { return found };
            before = Some(*last);
            found.extend(page);
        }
    }

    /// All that a search finds, however often it ends early.
    async fn search(&self, filter: &DeliveryFilter) -> Vec<DeliveryId> {
        let (mut found, mut filter) = (Vec::new(), filter.clone());
        loop {
            let page = self.store.deliveries(self.ours.id, filter.clone()).await.unwrap();
            found.extend(page.records.iter().map(|record| record.id));
            if page.searched_until.is_none() {
                return found;
            }
            filter.searched_until = page.searched_until;
        }
    }

    /// Whether the text search finds the one delivery of the tenant.
    async fn finds(&self, tenant: Tenant, text: &str) -> bool {
        !self.delivery_ids(tenant, DeliveryFilter { text: Some(text.into()), ..all() }).await.is_empty()
    }
}

pub(super) async fn deliveries_are_newest_first(fixture: Fixture) {
    let records = fixture.insert_deliveries_of_all_kinds().await;
    assert_eq!(fixture.delivery_ids(fixture.ours, all()).await, ids(&records.iter().collect::<Vec<_>>()));
    assert_eq!(fixture.delivery_ids(fixture.ours, DeliveryFilter::default()).await, [], "a limit of zero");
}

pub(super) async fn deliveries_pages_have_no_gaps(fixture: Fixture) {
    let records = fixture.insert_deliveries_of_all_kinds().await;
    for filter in [all(), DeliveryFilter { status: Some(Status::Pending), ..all() }] {
        let expected: Vec<_> = records.iter().filter(|record| matches(&filter, record)).collect();
        for limit in [1, 5] {
            assert_eq!(fixture.pages(&filter, limit).await, ids(&expected));
        }
    }
}

pub(super) async fn deliveries_pages_of_one_resource_have_no_gaps(fixture: Fixture) {
    let records = fixture.insert_deliveries_of_all_kinds().await;
    for status in [None, Some(Status::Pending)] {
        let filter = DeliveryFilter {
            resource_type: Some(ResourceType::ScheduledQuery),
            resource_id: Some("r1".into()),
            status,
            ..all()
        };
        let expected: Vec<_> = records.iter().filter(|record| matches(&filter, record)).collect();
        assert!(expected.len() > 3);
        for limit in [1, 2, 3, 100] {
            assert_eq!(fixture.pages(&filter, limit).await, ids(&expected));
        }
    }
}

/// Enough events that some are indexed, and some are not.
const INDEXED_EVENTS: u64 = 1_600;

pub(super) async fn deliveries_are_the_same_after_indexing(fixture: Fixture) {
    let ours = fixture.ours;
    let mut events = Vec::new();
    for number in 0..INDEXED_EVENTS {
        let mut event = fixture.event_at(ours, after_ms(number % 16));
        event.resource_id = format!("r{}", number % 300);
        let start = if number % 50 == 3 { InitialState::Suppressed } else { InitialState::Due };
        let delivery = fixture.delivery_at(ours, start, after_ms(number % 16));
        events.push(fixture.new_event(event, vec![delivery]));
    }
    fixture.store.accept(events).await.unwrap();
    fixture.insert_deliveries_of_all_kinds().await;
    let all = DeliveryFilter { limit: 5_000, ..all() };
    let filters = [
        DeliveryFilter { status: Some(Status::Suppressed), ..all.clone() },
        DeliveryFilter { status: Some(Status::Failed), ..all.clone() },
        DeliveryFilter { status: Some(Status::Sent), ..all.clone() },
        DeliveryFilter { reason: Some("severity_filter".into()), ..all.clone() },
        DeliveryFilter { kind: Some(EventKind::Digest), ..all.clone() },
        DeliveryFilter { resource_id: Some("r1".into()), status: Some(Status::Pending), ..all.clone() },
        DeliveryFilter { runs_only: true, channel_id: Some(ours.channel_id), ..all.clone() },
        DeliveryFilter { resource_type: Some(ResourceType::Alert), ..all.clone() },
    ];
    let later = after_ms(60_000);
    for round in 0..3u64 {
        let records = fixture.store.deliveries(ours.id, all.clone()).await.unwrap().records;
        assert!(records.len() as u64 > INDEXED_EVENTS);
        for filter in &filters {
            let expected: Vec<_> = records.iter().filter(|record| matches(filter, record)).collect();
            assert_eq!(fixture.search(filter).await, ids(&expected), "{filter:?}");
        }
        while fixture.store.index_history(later).await.unwrap().has_more {}
        let claimed = fixture.claim(ours, after_ms(20), lease(1, 9_000), 30).await;
        for (number, one) in claimed.iter().enumerate() {
            let next = if number % 3 == 0 { Status::Failed } else { Status::Sent };
            fixture.store.settle(attempted(one, NextState::Done(next))).await.unwrap();
        }
        // What is settled, and maybe indexed as such, is made due again.
        for (one, number) in claimed.iter().zip(0..round) {
            let resend = Resend {
                workspace_id: ours.id,
                delivery_id: one.id,
                rule_generation: number as u32,
                now: after_ms(20),
            };
            fixture.store.resend(resend, None).await.unwrap();
        }
    }
}

/// A reference implementation of the filter, without `text`, which has cases of its own.
fn matches(filter: &DeliveryFilter, record: &DeliveryRecord) -> bool {
    let event = &record.event;
    let time = if record.sequence > 1 { record.id.made_at() } else { event.received_at };
    (!filter.runs_only || event.kind.is_run())
        && filter.event_id.is_none_or(|wanted| event.id == wanted)
        && filter.rule_id.is_none_or(|rule| record.rule_id == Some(rule))
        && filter.channel_id.is_none_or(|channel| record.channel_id == channel)
        && filter.resource_type.is_none_or(|kind| event.resource_type == kind)
        && filter.resource_id.as_ref().is_none_or(|wanted| event.resource_id == *wanted)
        && filter.status.is_none_or(|status| record.status == status)
        && filter.reason.is_none_or_same(record.reason.as_ref())
        && filter.kind.is_none_or(|kind| event.kind == kind)
        && filter.run_id.as_ref().is_none_or(|wanted| event.run_id == *wanted)
        && filter.digest_id.is_none_or(|digest| record.digest_id == Some(digest))
        && filter.since.is_none_or(|since| time >= since)
        && filter.until.is_none_or(|until| time < until)
}

/// An absent condition matches everything.
trait Condition<T> {
    fn is_none_or_same(&self, found: Option<&T>) -> bool;
}

impl<T: PartialEq> Condition<T> for Option<T> {
    fn is_none_or_same(&self, found: Option<&T>) -> bool {
        self.is_none() || self.as_ref() == found
    }
}

pub(super) async fn deliveries_every_filter_applies(fixture: Fixture) {
    let records = fixture.insert_deliveries_of_all_kinds().await;
    let other = records.iter().map(|record| record.channel_id).find(|id| *id != fixture.ours.channel_id);
    let mut filters = vec![
        DeliveryFilter { runs_only: true, ..all() },
        DeliveryFilter { event_id: Some(records[9].event.id), ..all() },
        DeliveryFilter { rule_id: Some(fixture.ours.rule_id), ..all() },
        DeliveryFilter { channel_id: other, ..all() },
        DeliveryFilter { resource_type: Some(ResourceType::UseCase), ..all() },
        DeliveryFilter { resource_id: Some("r2".into()), ..all() },
        DeliveryFilter { reason: Some("severity_filter".into()), ..all() },
        DeliveryFilter { reason: Some("rule_paused".into()), ..all() },
        DeliveryFilter { reason: Some("quiet_hours".into()), ..all() },
        DeliveryFilter { run_id: Some(records[9].event.run_id.clone()), ..all() },
        DeliveryFilter { run_id: Some("unknown".into()), ..all() },
        DeliveryFilter { digest_id: Some(records[9].id), ..all() },
        DeliveryFilter { since: Some(after_ms(5)), ..all() },
        DeliveryFilter { until: Some(after_ms(5)), ..all() },
        DeliveryFilter { since: Some(after_ms(3)), until: Some(after_ms(9)), ..all() },
        DeliveryFilter { channel_id: other, status: Some(Status::Pending), since: Some(after_ms(2)), ..all() },
    ];
    filters.extend(Status::ALL.map(|status| DeliveryFilter { status: Some(status), ..all() }));
    filters.extend(EventKind::ALL.map(|kind| DeliveryFilter { kind: Some(kind), ..all() }));
    for filter in filters {
        let expected: Vec<_> = records.iter().filter(|record| matches(&filter, record)).collect();
        assert_eq!(fixture.delivery_ids(fixture.ours, filter.clone()).await, ids(&expected), "{filter:?}");
    }
}

pub(super) async fn deliveries_attempts_are_loaded_on_request(fixture: Fixture) {
    let id = fixture.accept_settled(fixture.ours, Status::Failed, NOW).await;
    for with_attempts in [false, true] {
        let filter = DeliveryFilter { with_attempts, ..all() };
        let found = fixture.store.deliveries(fixture.ours.id, filter).await.unwrap().records.remove(0);
        assert_eq!((found.id, found.attempt_count), (id, 1));
        let expected = if with_attempts { vec![attempt(1, false)] } else { vec![] };
        assert_eq!(found.attempts, expected);
    }
}

pub(super) async fn text_search_is_literal(fixture: Fixture) {
    let mut event = fixture.event(fixture.ours);
    event.resource_id = r"100%_done\now 'quoted' [x]*".into();
    fixture.accept(fixture.new_event(event, vec![fixture.delivery(fixture.ours, InitialState::Due)])).await;
    let there = ["%", "_", r"\", "0%_d", r"e\n", "'", "[x]*", ""];
    let not_there = ["%%", "__", r"\\", "1%0", "d_ne", "%done", r"\%", r"100\%", "[ax]", "?"];
    for text in there {
        assert!(fixture.finds(fixture.ours, text).await, "{text}");
    }
    for text in not_there {
        assert!(!fixture.finds(fixture.ours, text).await, "{text}");
    }
}

pub(super) async fn text_search_ignores_case(fixture: Fixture) {
    let mut event = fixture.event(fixture.ours);
    event.resource_id = "Tägliche Überweisung ΑΘΗΝΑ".into();
    fixture.accept(fixture.new_event(event, vec![fixture.delivery(fixture.ours, InitialState::Due)])).await;
    for text in ["tägliche", "TÄGLICHE", "überweisung", "ÜBERW", "αθηνα"] {
        assert!(fixture.finds(fixture.ours, text).await, "{text}");
    }
    assert!(!fixture.finds(fixture.ours, "uberweisung").await, "accents count");
}

pub(super) async fn text_search_covers_four_fields(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    let mut settlement = attempted(&claimed, NextState::Done(Status::Failed));
    let failed = Attempt { error: Some("connection refused".into()), ..attempt(1, false) };
    settlement.attempt = Some(failed);
    fixture.store.settle(settlement).await.unwrap();
    fixture.accept_settled(fixture.theirs, Status::Sent, NOW).await;
    for text in ["daily-rev", &claimed.event.run_id, "rollup", "REFUSED"] {
        assert!(fixture.finds(fixture.ours, text).await, "{text}");
    }
    for text in ["orders", "refusedrollup", "scheduled", "http_status"] {
        assert!(!fixture.finds(fixture.ours, text).await, "{text}");
    }
    assert!(!fixture.finds(fixture.theirs, "refused").await, "their delivery has no error");
}

pub(super) async fn text_search_covers_incident_names(fixture: Fixture) {
    let mut event = fixture.opened_incident_event(NOW);
    let Content::Incident(snapshot) = &mut event.content else { panic!("it is an event of an incident") };
    (snapshot.name, snapshot.detail) = ("Production API".into(), Some("HTTP 502".into()));
    fixture.accept(fixture.new_event(event, vec![fixture.delivery(fixture.ours, InitialState::Due)])).await;
    for (text, is_there) in [("production api", true), ("disk:/var", true), ("inc_", true), ("502", false)] {
        assert_eq!(fixture.finds(fixture.ours, text).await, is_there, "{text}");
    }
}
