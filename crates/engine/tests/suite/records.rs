//! Reads the recorded history, for assertions.

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, EventKind};
use tidings_domain::id::ChannelId;
use tidings_domain::id::EndpointId;
use tidings_domain::trigger::Trigger;
use tidings_store::history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord};
use tidings_store::monitoring::{IncidentFilter, IncidentRecord};

use crate::world::World;

/// More than any test makes.
const ALL: u32 = 5_000;

impl World {
    /// All deliveries, in the order of their creation.
    #[track_caller]
    pub fn deliveries(&self) -> Vec<DeliveryRecord> {
        let filter = DeliveryFilter { limit: ALL, with_attempts: true, ..DeliveryFilter::default() };
        let mut all = self.wait(self.engine().deliveries(self.workspace_id, filter)).unwrap().records;
        all.sort_by_key(|delivery| delivery.id);
        all
    }

    /// All events, in the order of their creation.
    #[track_caller]
    pub fn events(&self) -> Vec<EventRecord> {
        let filter = EventFilter { limit: ALL, ..EventFilter::default() };
        let mut all = self.wait(self.engine().events(self.workspace_id, filter)).unwrap().records;
        all.sort_by_key(|record| record.event.id);
        all
    }

    /// All incidents, oldest first.
    #[track_caller]
    pub fn incidents(&self) -> Vec<IncidentRecord> {
        let filter = IncidentFilter { limit: ALL, ..IncidentFilter::default() };
        let mut all = self.wait(self.engine().list_incidents(self.workspace_id, filter)).unwrap();
        all.sort_by_key(|record| record.incident.id);
        all
    }

    /// The deliveries of this channel, in the order of their creation: one line each, such as `opened sent` or
    /// `resolved suppressed never_opened`.
    #[track_caller]
    pub fn outcomes(&self, channel: ChannelId) -> Vec<String> {
        let of_channel = |delivery: &DeliveryRecord| delivery.channel_id == channel;
        self.deliveries().into_iter().filter(of_channel).map(|delivery| line(&delivery)).collect()
    }

    /// The last delivery of this channel.
    #[track_caller]
    pub fn last(&self, channel: ChannelId) -> DeliveryRecord {
        self.deliveries().into_iter().rfind(|delivery| delivery.channel_id == channel).unwrap()
    }

    /// The incident of this endpoint that was opened last.
    #[track_caller]
    pub fn incident_of(&self, endpoint: EndpointId) -> IncidentRecord {
        let subject = tidings_domain::incident::Subject::Endpoint(endpoint);
        self.incidents().into_iter().rfind(|record| record.incident.subject == subject).unwrap()
    }
}

/// Trigger, status and reason of a delivery.
pub fn line(delivery: &DeliveryRecord) -> String {
    let trigger = match delivery.event.kind {
        EventKind::Digest => "digest".into(),
        _ => delivery.event.trigger.wire_name(),
    };
    let deferred = if delivery.sequence > 1 { "deferred " } else { "" };
    let reason = delivery.reason.as_deref().map(|reason| format!(" {reason}")).unwrap_or_default();
    format!("{deferred}{trigger} {}{reason}", delivery.status.as_str())
}

/// The titles of a digest's entries, in order.
pub fn entries(digest: &DeliveryRecord) -> Vec<String> {
    let Content::Digest(digest) = &digest.event.content else { panic!("no digest: {digest:?}") };
    digest.entries.iter().map(|entry| entry.title.clone()).collect()
}

/// Whether it is about an incident.
pub fn is_incident(delivery: &DeliveryRecord) -> bool {
    matches!(delivery.event.trigger, Trigger::Incident(_))
}

/// Whether it is not settled.
pub fn is_unsettled(delivery: &DeliveryRecord) -> bool {
    matches!(delivery.status, Status::Pending | Status::Held | Status::Sending)
}
