//! `/deliveries`: the log of what was said, to whom, and why not; and sending again.

use http::StatusCode;
use serde_json::json;
use tidings_domain::delivery::Status;
use tidings_domain::id::{DeliveryId, IncidentId};
use tidings_domain::time::Timestamp;
use tidings_store::history::DeliveryFilter;

use crate::answer::{self, Answer, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::query::{INSTANT_FORM, Query};
use crate::view::delivery::Delivery;

use super::events::{kind_filter, resource_filter};

/// Deliveries, newest first.
pub(super) async fn list(reader: Reader, query: Query) -> Answer {
    let mut query = query
        .spelled_also("channel", "channelId")
        .spelled_also("rule", "ruleId")
        .spelled_also("resourceId", "resource");
    let page = query.page();
    let mut filter = DeliveryFilter { before: page.before, limit: page.wanted(), ..Default::default() };
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
    let records = reader.engine().deliveries(reader.workspace_id(), filter).await?;
    ok(&page.of(&records, |record| record.id, Delivery::in_list))
}

/// One delivery, with its verdicts and attempts.
pub(super) async fn one(reader: Reader, PathId(id): PathId<DeliveryId>) -> Answer {
    ok(&Delivery::of(&reader.engine().delivery(reader.workspace_id(), id).await?))
}

/// Sends one again.
pub(super) async fn resend(writer: Writer, PathId(id): PathId<DeliveryId>) -> Answer {
    let delivery = writer.engine().resend(writer.workspace_id(), id).await?;
    Ok(answer::json(StatusCode::ACCEPTED, &Delivery::of(&delivery)))
}

/// Sends again all that failed through a channel since an instant, or only counts them.
pub(super) async fn recover(writer: Writer, object: Object) -> Answer {
    let mut fields = Fields::where_null_is_absent(object);
    let channel_id = fields.parsed("channelId", "must be a channel's id, such as ch_…", |text| text.parse().ok());
    let channel_id = fields.required("channelId", channel_id);
    let since = fields.parsed("since", INSTANT_FORM, Timestamp::parse);
    let since = fields.required("since", since);
    let dry_run = fields.boolean("dryRun").unwrap_or(false);
    let (channel_id, since) = fields.finish(|| Some((channel_id?, since?)))?;
    let count = writer.engine().recover(writer.workspace_id(), channel_id, since, dry_run).await?;
    ok(&if dry_run { json!({"matched": count}) } else { json!({"recovered": count}) })
}
