//! Fixture helpers for monitoring: endpoints, checks, incidents and transitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::access::Actor;
use tidings_domain::check::{AssertionResult, Certificate, Check, CheckStatus, FailureClass, Timings};
use tidings_domain::endpoint::{Auth, Definition, Endpoint, HttpProbe, Probe};
use tidings_domain::event::{Content, Event};
use tidings_domain::id::{ChannelId, EndpointId, Id, IncidentId};
use tidings_domain::incident::reminders::Reminders;
use tidings_domain::incident::{
    Cause, Incident, IncidentStart, IncidentTrigger, Notified, Subject, SubjectField, SubjectInfo,
};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use super::fixture::{Fixture, Tenant};
use super::samples::NOW;
use crate::monitoring::{CheckFilter, CheckRecord, EndpointState, IncidentRecord, TransitionOutcome, TransitionRecord};
use crate::queue::{NewDelivery, NewEvent};
use crate::settings::{ConfigChange, Configuration, EndpointRecord, Precondition};
use crate::{Result, StoreError};

/// A healthy check.
pub(super) fn healthy(checked_at: Timestamp) -> Check {
    Check {
        checked_at,
        status: CheckStatus::Healthy,
        reason: None,
        failure: None,
        status_code: Some(200),
        response_time_ms: Some(48),
        timings: Timings {
            dns_ms: Some(1),
            connect_ms: Some(9),
            tls_ms: Some(12),
            first_byte_ms: Some(40),
            total_ms: 48,
        },
        certificate: None,
        assertions: vec![],
    }
}

/// A check that timed out.
pub(super) fn timed_out(checked_at: Timestamp) -> Check {
    Check {
        status: CheckStatus::Down,
        reason: Some("no answer within \"10 s\"".into()),
        failure: Some(FailureClass::Timeout),
        status_code: None,
        response_time_ms: None,
        timings: Timings { total_ms: 10_000, ..Timings::default() },
        ..healthy(checked_at)
    }
}

/// A check with all fields set.
pub(super) fn degraded(checked_at: Timestamp) -> Check {
    let assertion = |index, passed| AssertionResult {
        index,
        passed,
        inconclusive: index == 1,
        actual: (!passed).then(|| "starting — ü".into()),
        description: "JSON status: expected to equal \"ok\"".into(),
    };
    Check {
        status: CheckStatus::Degraded,
        reason: Some("slow — 6 s".into()),
        response_time_ms: Some(5_990),
        timings: Timings { total_ms: 6_000, ..healthy(checked_at).timings },
        certificate: Some(Certificate {
            not_after: checked_at.plus_ms(86_400_001),
            issuer: "CN=R11, O=Let's Encrypt, C=US".into(),
            subject: "CN=example.com".into(),
        }),
        assertions: vec![assertion(0, true), assertion(1, false)],
        ..healthy(checked_at)
    }
}

/// A transition of a check and the state after it.
pub(super) fn check_and_state(check: CheckRecord, state: EndpointState) -> TransitionRecord {
    TransitionRecord { check: Some(check), endpoint_state: Some(state), ..TransitionRecord::default() }
}

/// A transition of an incident alone.
pub(super) fn incident_only(incident: IncidentRecord) -> TransitionRecord {
    TransitionRecord { incident: Some(incident), ..TransitionRecord::default() }
}

impl Fixture {
    pub(super) fn endpoint(&self, tenant: Tenant) -> EndpointRecord {
        let probe = HttpProbe {
            auth: Some(Auth::Basic { username: "u".into(), password: Secret::default() }),
            ..HttpProbe::new("https://api.example.com/health")
        };
        let endpoint = Endpoint {
            id: self.id(),
            workspace_id: tenant.id,
            name: "Production \"API\" — Zürich".into(),
            enabled: true,
            definition: Definition::new(Probe::Http(probe)),
            revision: 1,
            created_at: NOW,
            updated_at: NOW,
        };
        EndpointRecord { endpoint, key_id: "k1".into(), sealed: vec![0, 1, 0xfe] }
    }

    pub(super) async fn put_endpoint(&self, record: EndpointRecord) -> Result<i64> {
        self.store
            .apply_changes(record.endpoint.workspace_id, vec![ConfigChange::PutEndpoint(record, Precondition::Absent)])
            .await
    }

    /// Creates an endpoint.
    pub(super) async fn new_endpoint(&self, tenant: Tenant) -> EndpointId {
        let record = self.endpoint(tenant);
        let id = record.endpoint.id;
        self.put_endpoint(record).await.unwrap();
        id
    }

    /// The configuration, with the endpoints written after this version.
    pub(super) async fn configuration_since(&self, tenant: Tenant, endpoints_since: i64) -> Configuration {
        self.store.configuration(tenant.id, endpoints_since).await.unwrap()
    }

    pub(super) fn mute(&self, tenant: Tenant, scope: MuteScope) -> Mute {
        Mute {
            id: self.id(),
            workspace_id: tenant.id,
            scope,
            expires_at: None,
            reason: "deploy — \"v2\"".into(),
            created_by: Actor::user(self.id(), "ana@example.com"),
            created_at: NOW,
            ends_on_recovery: false,
        }
    }

    pub(super) fn check(&self, endpoint_id: EndpointId, check: Check) -> CheckRecord {
        CheckRecord { id: self.id_at(check.checked_at), endpoint_id, check }
    }

    pub(super) fn state(&self, endpoint_id: EndpointId, revision: u64) -> EndpointState {
        EndpointState { revision, ..EndpointState::new(endpoint_id) }
    }

    pub(super) async fn record_transition(
        &self,
        tenant: Tenant,
        transition: TransitionRecord,
    ) -> Result<TransitionOutcome> {
        self.store.record_transition(tenant.id, transition).await
    }

    /// Records a check and nothing else.
    pub(super) async fn record_check(&self, tenant: Tenant, endpoint_id: EndpointId, check: Check) -> CheckRecord {
        let record = self.check(endpoint_id, check);
        let transition = TransitionRecord { check: Some(record.clone()), ..TransitionRecord::default() };
        assert_eq!(self.record_transition(tenant, transition).await, Ok(TransitionOutcome::Applied(vec![])));
        record
    }

    pub(super) async fn checks(&self, tenant: Tenant, endpoint_id: EndpointId) -> Vec<CheckRecord> {
        let filter = CheckFilter { limit: 10_000, ..CheckFilter::default() };
        self.store.checks(tenant.id, endpoint_id, filter).await.unwrap()
    }

    /// An incident that was just opened, with all fields set.
    pub(super) fn incident_record(&self, tenant: Tenant, subject: Subject) -> IncidentRecord {
        self.incident_record_at(tenant, subject, NOW)
    }

    pub(super) fn incident_record_at(&self, tenant: Tenant, subject: Subject, at: Timestamp) -> IncidentRecord {
        let opening = IncidentStart {
            subject,
            cause: Cause::EndpointDegraded,
            detail: Some("slow — 6 s".into()),
            failing_since: at.minus_ms(120_000),
            at,
        };
        let id: IncidentId = self.id_at(at);
        IncidentRecord {
            incident: Incident::open(id, tenant.id, opening),
            subject_info: SubjectInfo {
                name: "Production API".into(),
                url: Some("https://api.example.com/".into()),
                link: None,
                fields: vec![SubjectField { label: "region".into(), value: "eu \"west\"".into() }],
                tags: vec!["prod".into()],
            },
            escalations_done: vec![900, 60],
            reminders: Reminders::default().recorded(at),
            wake_at: Some(at.plus_ms(900_000)),
            notified: Notified::new(),
            episode_started_at: Some(at.minus_ms(180_000)),
            revision: 1,
        }
    }

    /// Creates an endpoint with an active incident.
    pub(super) async fn open_incident(&self, tenant: Tenant) -> IncidentRecord {
        let endpoint_id = self.new_endpoint(tenant).await;
        let record = self.incident_record(tenant, Subject::Endpoint(endpoint_id));
        self.record_transition(tenant, incident_only(record.clone())).await.unwrap();
        record
    }

    /// An event of an incident, with these deliveries.
    pub(super) fn incident_event(
        &self,
        record: &IncidentRecord,
        trigger: IncidentTrigger,
        at: Timestamp,
        deliveries: Vec<NewDelivery>,
    ) -> NewEvent {
        let incident = &record.incident;
        let event = Event {
            id: self.id_at(at),
            workspace_id: incident.workspace_id,
            kind: trigger.event_kind(),
            resource_type: incident.subject.resource_type(),
            resource_id: incident.subject.resource_id(),
            run_id: incident.id.to_string(),
            trigger: Trigger::Incident(trigger),
            received_at: at,
            content: Content::Incident(Box::new(incident.snapshot(record.subject_info.clone(), at))),
        };
        NewEvent { event: Arc::new(event), fingerprint: None, not_routed: vec![], deliveries }
    }

    /// The incident as stored.
    pub(super) async fn stored_incident(&self, tenant: Tenant, id: IncidentId) -> IncidentRecord {
        self.store.incident(tenant.id, id).await.unwrap().expect("it is there").0
    }

    /// Asserts the revision of the endpoint's state; 0 if it has none.
    pub(super) async fn assert_revision(&self, tenant: Tenant, endpoint_id: EndpointId, revision: u64) {
        let states = self.store.endpoint_states(tenant.id).await.unwrap();
        let found = states.iter().find(|state| state.endpoint_id == endpoint_id).map_or(0, |state| state.revision);
        assert_eq!(found, revision);
    }
}

/// An id that belongs to no row.
pub(super) fn unknown_id<T: Id>() -> T {
    T::from_bytes([9; 16])
}

/// The openings of one channel.
pub(super) fn openings(channel_id: ChannelId, at: Timestamp) -> BTreeMap<ChannelId, Timestamp> {
    [(channel_id, at)].into()
}

/// Asserts that a transition was refused with this error.
pub(super) fn assert_error(outcome: Result<TransitionOutcome>, error: &StoreError) {
    assert_eq!(outcome.as_ref(), Err(error));
}
