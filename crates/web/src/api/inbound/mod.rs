//! `/inbound-webhooks`: secret URLs at which other products report alerts in their own format.

pub(crate) mod alertmanager;

use http::StatusCode;
use serde::Serialize;
use tidings_domain::id::InboundWebhookId;
use tidings_domain::time::Timestamp;
use tidings_store::settings::InboundWebhook;

use crate::auth::{Authorized, PathId, Read, Write};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::query::Query;
use crate::response::{ApiResult, json, no_content, no_store, ok};

/// The products whose formats are supported.
const SOURCE_TYPES: [&str; 1] = [alertmanager::KIND];

/// A webhook, without its secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InboundWebhookView<'a> {
    id: InboundWebhookId,
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    created_at: Timestamp,
}

impl<'a> InboundWebhookView<'a> {
    fn of(webhook: &'a InboundWebhook) -> Self {
        Self { id: webhook.id, kind: &webhook.kind, name: &webhook.name, created_at: webhook.created_at }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreatedResponse<'a> {
    inbound_webhook: InboundWebhookView<'a>,
    url: String,
}

/// The webhooks, oldest first.
pub(super) async fn list(caller: Authorized<Read>, query: Query) -> ApiResult {
    query.finish(|| Some(()))?;
    let webhooks = caller.engine().inbound_webhooks(caller.workspace_id())?;
    ok(&List::complete(webhooks.iter().map(InboundWebhookView::of).collect()))
}

/// Creates a webhook. Its URL is the credential, and only this response holds it.
pub(super) async fn create(caller: Authorized<Write>, object: Object) -> ApiResult {
    let mut fields = Fields::null_as_absent(object);
    let kind = fields.parsed("type", &one_of(SOURCE_TYPES), |word| SOURCE_TYPES.into_iter().find(|kind| *kind == word));
    let kind = fields.required("type", kind);
    let name = fields.text("name");
    let name = fields.required("name", name);
    let (kind, name) = fields.finish(|| kind.zip(name))?;
    let (webhook, secret) = caller.engine().create_inbound_webhook(caller.workspace_id(), kind, name).await?;
    let base = caller.public_url().unwrap_or_default().trim_end_matches('/');
    let url = format!("{base}/in/{kind}/{}", secret.expose());
    Ok(no_store(json(StatusCode::CREATED, &CreatedResponse { inbound_webhook: InboundWebhookView::of(&webhook), url })))
}

/// Deletes a webhook; its URL returns 404 from then on.
pub(super) async fn delete(caller: Authorized<Write>, PathId(id): PathId<InboundWebhookId>) -> ApiResult {
    caller.engine().delete_inbound_webhook(caller.workspace_id(), id).await?;
    no_content()
}
