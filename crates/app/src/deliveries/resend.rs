//! `/deliveries/resend`: deliveries are sent again, by their ids or by a filter.
//!
//! One call does a bounded amount of work and answers with what became of each delivery. What is left is a cursor, with which
//! the caller goes on: so it knows how far it is, and nothing has to be resumed after a restart.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use tidings_domain::audit::{AuditChanges, AuditTarget, AuditVerb};
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, IncidentId, RuleId};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_engine::EngineError;
use tidings_store::StoreError;
use tidings_store::history::{DeliveryFilter, DeliveryRecord, Page};
use utoipa::ToSchema;

use crate::contract::Input;
use crate::error::Result;
use crate::principal::{Authorized, SendNow};
use crate::response::Response;

/// Deliveries of one call.
const DELIVERIES_MAX: u32 = 1_000;
/// Deliveries that a dry run counts at most.
const COUNTED_MAX: u32 = 10_000;

/// Which deliveries to send again: `ids` or a `filter`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"filter": {"status": "failed", "since": "2026-05-01T00:00:00Z"}, "dryRun": true}))]
pub struct Resend {
    /// At most 1,000.
    #[schema(max_items = 1000)]
    pub ids: Option<Vec<DeliveryId>>,
    /// The deliveries that `GET /deliveries` lists with these parameters.
    pub filter: Option<ResendFilter>,
    /// Send nothing, but count what would be sent and what would be refused: up to 10,000 deliveries.
    pub dry_run: bool,
    /// The most deliveries of this call, with a filter.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: u32,
    /// The `nextCursor` of the call before, with the same filter.
    pub cursor: Option<DeliveryId>,
}

impl Default for Resend {
    fn default() -> Self {
        Self { ids: None, filter: None, dry_run: false, limit: DELIVERIES_MAX, cursor: None }
    }
}

/// Conditions that all must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResendFilter {
    pub status: Option<Status>,
    #[schema(max_length = 200)]
    pub reason: Option<String>,
    pub channel: Option<ChannelId>,
    pub rule: Option<RuleId>,
    pub event: Option<EventId>,
    pub incident: Option<IncidentId>,
    /// The members of this digest.
    pub digest: Option<DeliveryId>,
    pub kind: Option<EventKind>,
    pub resource_type: Option<ResourceType>,
    #[schema(max_length = 200)]
    pub resource_id: Option<String>,
    /// Of events accepted at or after this instant.
    pub since: Option<Timestamp>,
    /// Of events accepted before this instant.
    pub until: Option<Timestamp>,
    /// A text in resource, run id or error.
    #[schema(max_length = 200)]
    pub q: Option<String>,
}

/// What became of the deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resent {
    /// Nothing was sent: `resent` is how many would be.
    pub dry_run: bool,
    /// Deliveries of this call.
    pub matched: u32,
    pub resent: u32,
    /// Those that cannot be sent again, by code.
    pub refused: BTreeMap<String, u32>,
    /// One for each delivery of this call, oldest first; empty in a dry run by filter.
    pub results: Vec<ResendResult>,
    /// With which the next call goes on; null if nothing is left.
    pub next_cursor: Option<DeliveryId>,
}

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResendResult {
    pub id: DeliveryId,
    /// Whether it is (or would be) sent again.
    pub ok: bool,
    /// Why not: the code of the problem that `POST /deliveries/{id}/resend` answers. Null if it is.
    pub code: Option<&'static str>,
    /// The same in words.
    pub detail: Option<String>,
}

impl Response for Resent {}

impl ResendResult {
    fn of(id: DeliveryId, result: std::result::Result<(), EngineError>) -> Self {
        match result {
            Ok(()) => Self { id, ok: true, code: None, detail: None },
            Err(error) => Self { id, ok: false, code: Some(code(&error)), detail: Some(error.to_string()) },
        }
    }
}

/// The code of the problem for a refusal.
const fn code(error: &EngineError) -> &'static str {
    match error {
        EngineError::NotFound(_) => "not_found",
        EngineError::RuleInactive => "rule_inactive",
        _ => "not_resendable",
    }
}

impl ResendFilter {
    fn delivery_filter(&self, before: Option<DeliveryId>, limit: u32) -> DeliveryFilter {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        DeliveryFilter {
            before,
            limit,
            status: self.status,
            reason: text(&self.reason),
            channel_id: self.channel,
            rule_id: self.rule,
            event_id: self.event,
            run_id: self.incident.map(|id| id.to_string()),
            digest_id: self.digest,
            kind: self.kind,
            resource_type: self.resource_type,
            resource_id: self.resource_id.clone(),
            since: self.since,
            until: self.until,
            text: text(&self.q),
            ..DeliveryFilter::default()
        }
    }
}

impl Resent {
    fn new(dry_run: bool) -> Self {
        let refused = BTreeMap::new();
        Self { dry_run, matched: 0, resent: 0, refused, results: Vec::new(), next_cursor: None }
    }

    fn add(&mut self, result: ResendResult, is_listed: bool) {
        self.matched += 1;
        match result.code {
            None => self.resent += 1,
            Some(code) => *self.refused.entry(code.to_owned()).or_default() += 1,
        }
        if is_listed {
            self.results.push(result);
        }
    }
}

/// Sends deliveries again. A delivery that cannot be is refused by itself; the others are sent.
///
/// # Errors
/// [`crate::AppError::Invalid`], and those of the store.
pub async fn resend(by: &Authorized<SendNow>, mut input: Input<Resend>) -> Result<Resent> {
    // One that has violations is not in the value.
    let is_given =
        input.violations.iter().any(|found| ["/ids", "/filter"].iter().any(|it| found.pointer.starts_with(it)));
    match (&input.value.ids, &input.value.filter) {
        (None, None) if is_given => {}
        (None, None) => input.refuse_field("/ids", "is required, or filter"),
        (Some(_), Some(_)) => input.refuse_field("/filter", "must be absent with ids"),
        (Some(_), None) if input.value.cursor.is_some() => {
            input.refuse_field("/cursor", "must be absent with ids: they are one call");
        }
        _ => {}
    }
    let request = input.finish()?;
    match (request.ids, request.filter) {
        (Some(ids), _) => by_ids(by, &ids, request.dry_run).await,
        (None, filter) => {
            let filter = filter.unwrap_or_default();
            if request.dry_run {
                count(by, &filter, request.cursor).await
            } else {
                by_filter(by, &filter, request.cursor, request.limit).await
            }
        }
    }
}

async fn by_ids(by: &Authorized<SendNow>, ids: &[DeliveryId], dry_run: bool) -> Result<Resent> {
    let mut answer = Resent::new(dry_run);
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for id in ids.iter().filter(|id| seen.insert(**id)) {
        match by.engine().delivery(by.workspace_id(), *id).await {
            Ok(delivery) => found.push(delivery),
            Err(error @ EngineError::NotFound(_)) => answer.add(ResendResult::of(*id, Err(error)), true),
            Err(error) => return Err(error.into()),
        }
    }
    run(by, &mut answer, found, true).await?;
    answer.results.sort_by_key(|result| result.id);
    Ok(answer)
}

async fn by_filter(
    by: &Authorized<SendNow>,
    filter: &ResendFilter,
    cursor: Option<DeliveryId>,
    limit: u32,
) -> Result<Resent> {
    let mut answer = Resent::new(false);
    // One more than the limit shows whether any is left.
    let page = filter.delivery_filter(cursor, limit + 1);
    let (mut found, is_cut) = search(by, page).await?;
    let has_more = is_cut || found.len() > limit as usize;
    found.truncate(limit as usize);
    // The list is newest first. What was to be sent earlier is sent first.
    answer.next_cursor = found.last().filter(|_| has_more).map(|delivery| delivery.id);
    found.reverse();
    run(by, &mut answer, found, true).await?;
    Ok(answer)
}

/// Counts what would be resent.
async fn count(by: &Authorized<SendNow>, filter: &ResendFilter, cursor: Option<DeliveryId>) -> Result<Resent> {
    let mut answer = Resent::new(true);
    let mut before = cursor;
    while answer.matched < COUNTED_MAX {
        let limit = DELIVERIES_MAX.min(COUNTED_MAX - answer.matched);
        let page = filter.delivery_filter(before, limit);
        let (found, is_cut) = search(by, page).await?;
        before = found.last().map(|delivery| delivery.id);
        let is_last = !is_cut && found.len() < limit as usize;
        run(by, &mut answer, found, false).await?;
        if is_last {
            return Ok(answer);
        }
    }
    answer.next_cursor = before;
    Ok(answer)
}

/// The deliveries, and whether the search ended for lack of time before it had them all. One that found nothing until then
/// fails: another call could not go on from where it ended.
async fn search(by: &Authorized<SendNow>, filter: DeliveryFilter) -> Result<(Vec<DeliveryRecord>, bool)> {
    let Page { records, searched_until } = by.engine().deliveries(by.workspace_id(), filter).await?;
    let is_cut = searched_until.is_some();
    if is_cut && records.is_empty() {
        return Err(EngineError::Store(StoreError::SearchCut).into());
    }
    Ok((records, is_cut))
}

async fn run(
    by: &Authorized<SendNow>,
    answer: &mut Resent,
    deliveries: Vec<DeliveryRecord>,
    is_listed: bool,
) -> Result<()> {
    // One entry each, as for single ones: what was done to a delivery is found by its id.
    let action = AuditTarget::Delivery.action(AuditVerb::Resent);
    let audit =
        |id: DeliveryId| Some(by.audit_entry(action, Some(id.to_string()), None, AuditChanges::new(), by.now()));
    let results = by.engine().resend_all(by.workspace_id(), &deliveries, answer.dry_run, audit).await?;
    for (delivery, result) in deliveries.iter().zip(results) {
        answer.add(ResendResult::of(delivery.id, result), is_listed);
    }
    Ok(())
}
