//! `/in/alertmanager/{secret}`: ingests webhook messages of Prometheus Alertmanager.

use tidings_app::inbound::alertmanager::{self, AlertCounts, AlertmanagerMessage};

use crate::auth::InboundCaller;
use crate::body::Body;
use crate::problem::Problem;
use crate::response::Reply;

/// The `type` of these webhooks.
pub(super) const KIND: &str = alertmanager::KIND;

/// Ingests a message.
pub(crate) async fn ingest(
    caller: InboundCaller,
    body: Body<AlertmanagerMessage>,
) -> Result<Reply<AlertCounts>, Problem> {
    if caller.kind() != KIND {
        return Err(Problem::not_found("path"));
    }
    Ok(Reply(alertmanager::ingest(caller.engine(), caller.workspace_id(), body.read()?).await?))
}
