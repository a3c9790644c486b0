//! `/deliveries`: the delivery log, and resends.

use http::StatusCode;
use serde_json::{Value, json};
use tidings_app::SendNow;
use tidings_app::deliveries::message::{self, Message};
use tidings_app::deliveries::resend::{self, Resend, Resent};
use tidings_domain::audit::{AuditChange, AuditChanges, AuditTarget, AuditVerb};
use tidings_domain::delivery::Status;
use tidings_domain::id::{ChannelId, DeliveryId, IncidentId};
use tidings_domain::time::Timestamp;
use tidings_store::history::DeliveryFilter;

use crate::auth::{Authorized, PathId, Read};
use crate::body::{Body, Object};
use crate::fields::{Fields, one_of};
use crate::problem::Problem;
use crate::query::{INSTANT_FORM, Query};
use crate::response::{self, ApiResult, Reply, ok};
use crate::view::delivery::Delivery;

use super::events::{kind_filter, resource_filter};

/// Deliveries, newest first.
pub(super) async fn list(caller: Authorized<Read>, query: Query) -> ApiResult {
    let mut query =
        query.with_alias("channel", "channelId").with_alias("rule", "ruleId").with_alias("resourceId", "resource");
    let page = query.search_page();
    let mut filter = DeliveryFilter {
        before: page.before,
        searched_until: page.searched_until,
        limit: page.fetch_limit(),
        ..Default::default()
    };
    filter.channel_id = query.id("channel");
    filter.rule_id = query.id("rule");
    filter.event_id = query.id("event");
    filter.digest_id = query.id("digest");
    filter.run_id = query.id::<IncidentId>("incident").map(|id| id.to_string());
    resource_filter(&mut query, &mut filter.resource_type, &mut filter.resource_id);
    filter.status = query.parsed("status", &one_of(Status::ALL.map(Status::as_str)), Status::parse);
    filter.reason = query.search("reason");
    filter.kind = kind_filter(&mut query);
    filter.since = query.instant("since");
    filter.until = query.instant("until");
    filter.text = query.search("q");
    let filter = query.finish(|| Some(filter))?;
    let records = caller.engine().deliveries(caller.workspace_id(), filter).await?;
    ok(&page.of(&records, |record| record.id, Delivery::in_list))
}

/// One delivery, with its verdicts and attempts.
pub(super) async fn one(caller: Authorized<Read>, PathId(id): PathId<DeliveryId>) -> ApiResult {
    ok(&Delivery::of(&caller.engine().delivery(caller.workspace_id(), id).await?))
}

/// What the channel of a delivery sends for it.
pub(super) async fn message(by: Authorized<Read>, PathId(id): PathId<DeliveryId>) -> Result<Reply<Message>, Problem> {
    Ok(Reply(message::message(&by, id).await?))
}

/// Resends deliveries by their ids or by a filter.
pub(super) async fn resend_many(by: Authorized<SendNow>, body: Body<Resend>) -> Result<Reply<Resent>, Problem> {
    Ok(Reply(resend::resend(&by, body.read()?).await?))
}

/// Resends one delivery.
pub(super) async fn resend(caller: Authorized<SendNow>, PathId(id): PathId<DeliveryId>) -> ApiResult {
    let action = AuditTarget::Delivery.action(AuditVerb::Resent);
    let entry = caller.audit_entry(action, Some(id.to_string()), None, AuditChanges::new(), caller.now());
    let delivery = caller.engine().resend(caller.workspace_id(), id, Some(entry)).await?;
    Ok(response::json(StatusCode::ACCEPTED, &Delivery::of(&delivery)))
}

/// Resends all deliveries that failed through a channel since an instant, or with `dryRun` counts them.
pub(super) async fn recover(caller: Authorized<SendNow>, object: Object) -> ApiResult {
    let mut fields = Fields::null_as_absent(object);
    let channel_id =
        fields.parsed("channelId", "must be a channel's id, such as ch_…", |text| text.parse::<ChannelId>().ok());
    let channel_id = fields.required("channelId", channel_id);
    let since = fields.parsed("since", INSTANT_FORM, Timestamp::parse);
    let since = fields.required("since", since);
    let dry_run = fields.boolean("dryRun").unwrap_or(false);
    let (channel_id, since) = fields.finish(|| Some((channel_id?, since?)))?;
    let action = AuditTarget::Channel.action(AuditVerb::Recovered);
    let changes = [("since".to_owned(), AuditChange { before: Value::Null, after: json!(since) })].into();
    let entry = caller.audit_entry(action, Some(channel_id.to_string()), None, changes, caller.now());
    let count = caller.engine().recover(caller.workspace_id(), channel_id, since, dry_run, Some(entry)).await?;
    ok(&if dry_run { json!({"matched": count}) } else { json!({"recovered": count}) })
}
