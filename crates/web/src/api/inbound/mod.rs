//! `/inbound-webhooks`, and the URLs that they are.

pub(crate) mod alertmanager;

use tidings_app::inbound_webhooks::{self, InboundWebhookDraft, InboundWebhookList, InboundWebhookSaved};
use tidings_app::{Configure, Read};
use tidings_domain::id::InboundWebhookId;

use crate::auth::{Authorized, PathId};
use crate::body::Body;
use crate::problem::Problem;
use crate::response::{Created, NoContent, Reply};

pub(super) async fn list(by: Authorized<Read>) -> Result<Reply<InboundWebhookList>, Problem> {
    Ok(Reply(inbound_webhooks::list(&by)?))
}

pub(super) async fn create(
    by: Authorized<Configure>,
    body: Body<InboundWebhookDraft>,
) -> Result<Created<InboundWebhookSaved>, Problem> {
    Ok(Reply(inbound_webhooks::create(&by, body.read()?).await?))
}

pub(super) async fn delete(
    by: Authorized<Configure>,
    PathId(id): PathId<InboundWebhookId>,
) -> Result<NoContent, Problem> {
    inbound_webhooks::delete(&by, id).await?;
    Ok(NoContent)
}
