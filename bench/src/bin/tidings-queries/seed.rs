//! A history of thirty days in two workspaces.

use std::sync::Arc;

use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::{Effect, Gate, GateEvaluation, Refusal};
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id, RuleId, WorkspaceId, id_suffix, uuid_v7};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::Store;
use tidings_store::queue::{Attempt, FollowUps, InitialState, Lease, NewDelivery, NewEvent, NextState, Settlement};
use tidings_store::sqlite::SqliteStore;
use tokio::task::JoinSet;

/// When the history begins, and when it ends.
pub const START: Timestamp = Timestamp::from_unix_ms(1_780_000_000_000);
pub const END: Timestamp = START.plus_ms(DURATION_MS + 60_000);

const DURATION_MS: u64 = 30 * 86_400_000;
/// Events that are written at once.
const BATCH: u32 = 2_048;
pub const CHANNELS: u32 = 40;
const RESOURCES: u32 = 200;
/// One of this many deliveries fails, and one is suppressed.
const FAILED_EACH: u32 = 100;
const SUPPRESSED_EACH: u32 = 201;

/// How many deliveries each workspace gets.
#[derive(Clone, Copy)]
pub struct Seed {
    pub large: u32,
    pub small: u32,
}

/// The workspace with nearly all rows.
pub fn large() -> WorkspaceId {
    WorkspaceId::from_bytes([1; 16])
}

/// The workspace with a hundredth of them.
pub fn small() -> WorkspaceId {
    WorkspaceId::from_bytes([2; 16])
}

/// The channel with this number.
pub fn channel(number: u32) -> ChannelId {
    ChannelId::from_bytes([100 + (number % CHANNELS) as u8; 16])
}

/// The id of the run with this number: as random as a UUID.
pub fn run_id(workspace_id: WorkspaceId, number: u32) -> String {
    let mut state = u64::from(number) << 8 | u64::from(workspace_id.as_bytes()[0]);
    let mut next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    let (high, low) = (next(), next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48,
        low << 16 >> 16
    )
}

impl Seed {
    /// Accepts and settles all deliveries.
    pub async fn run(self, store: &Arc<SqliteStore>) -> anyhow::Result<()> {
        let mut number = 0;
        while number < self.large {
            let end = (number + BATCH).min(self.large);
            let mut batch: Vec<NewEvent> = (number..end).map(|number| self.event(large(), number)).collect();
            let share = |number: u32| (u64::from(number) * u64::from(self.small) / u64::from(self.large)) as u32;
            batch.extend((share(number)..share(end)).map(|number| self.event(small(), number)));
            let settlements: Vec<_> = batch.iter().filter_map(settlement).collect();
            store.accept(batch).await?;
            let mut settling = JoinSet::new();
            for settlement in settlements {
                let store = Arc::clone(store);
                settling.spawn(async move { store.settle(settlement).await });
            }
            while let Some(settled) = settling.join_next().await {
                settled??;
            }
            number = end;
        }
        Ok(())
    }

    /// The event with this number, with its one delivery, which is leased or suppressed.
    fn event(self, workspace_id: WorkspaceId, number: u32) -> NewEvent {
        let total = if workspace_id == large() { self.large } else { self.small };
        let at = START.plus_ms(DURATION_MS * u64::from(number) / u64::from(total));
        let resource = number % RESOURCES;
        let (resource_type, resource_id) = match number {
            0 => (ResourceType::Flow, "flow-once".to_owned()),
            _ if resource.is_multiple_of(10) => (ResourceType::ScheduledQuery, format!("query-{resource}")),
            _ => (ResourceType::Flow, format!("flow-{resource}")),
        };
        let id: EventId = id_at(at, number, workspace_id);
        let mut event = Event::sample(id, workspace_id, resource_type, &resource_id, at);
        let fails = is_failed(number);
        event.kind = EventKind::RunTerminal;
        event.trigger = if fails { Trigger::Failure } else { Trigger::Success };
        event.run_id = run_id(workspace_id, number);
        let run = event.run_mut();
        run.resource_name = Some(format!("Daily revenue rollup {resource}"));
        run.duration_ms = Some(1_842);
        run.row_count = Some(124);
        run.error_message = fails.then(|| format!("relation \"orders_{resource}\" does not exist"));
        run.deep_link = Some(format!("https://app.example.com/runs/{number}"));
        let lease = Lease { owner: 1, until: at.plus_ms(60_000) };
        let stop = Refusal { effect: Effect::Suppress, detail: "below warning".into(), until: None, mute_id: None };
        let is_suppressed = number % SUPPRESSED_EACH == 1;
        let delivery = NewDelivery {
            id: id_at::<DeliveryId>(at, number, workspace_id),
            rule_id: Some(RuleId::from_bytes([200 + (resource % 50) as u8; 16])),
            rule_generation: 1,
            channel_id: channel(resource),
            channel_type: ChannelType::Webhook,
            severity: Severity::Warning,
            initial_state: if is_suppressed { InitialState::Suppressed } else { InitialState::Leased(lease) },
            evaluation: GateEvaluation {
                evaluated_at: at,
                passed: 0,
                stopped: is_suppressed.then_some((Gate::SeverityFilter, stop)),
            },
            rate_limit: None,
            sequence: 1,
            replaces_id: None,
        };
        NewEvent { event: Arc::new(event), fingerprint: Some(1), not_routed: vec![], deliveries: vec![delivery] }
    }
}

/// The id with this number at this instant; those of the workspaces differ.
fn id_at<T: Id>(at: Timestamp, number: u32, workspace_id: WorkspaceId) -> T {
    let number = number << 1 | u32::from(workspace_id == small());
    T::from_uuid(uuid_v7(at.unix_ms().unsigned_abs(), &id_suffix(number, [7; 10])))
}

fn is_failed(number: u32) -> bool {
    // Never through the channel 7.
    number.is_multiple_of(FAILED_EACH) && number % CHANNELS != 7
}

/// The settlement of the delivery, if it is sent.
fn settlement(new_event: &NewEvent) -> Option<Settlement> {
    let NewEvent { event, deliveries, .. } = new_event;
    let delivery = deliveries.iter().find(|it| matches!(it.initial_state, InitialState::Leased(_)))?;
    let ok = event.trigger == Trigger::Success;
    let attempt = Attempt {
        number: 1,
        trigger: AttemptTrigger::Scheduled,
        started_at: event.received_at,
        duration_ms: 41,
        http_status: Some(if ok { 204 } else { 502 }),
        error_class: (!ok).then(|| "http_status".into()),
        error: (!ok).then(|| format!("HTTP 502: {}", event.resource_id)),
        response_body: None,
        response_headers: None,
        channel_revision: None,
        note: None,
    };
    Some(Settlement {
        workspace_id: event.workspace_id,
        delivery_id: delivery.id,
        owner: 1,
        attempt_count: 0,
        now: event.received_at.plus_ms(80),
        attempt: Some(attempt),
        next: NextState::Done(if ok { Status::Sent } else { Status::Failed }),
        attempt_state: None,
        not_before: None,
        follow_ups: FollowUps::None,
    })
}
