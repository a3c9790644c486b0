//! `/inbound-webhooks`, and what comes in through them: secret URLs at which others tell of facts in their own form.

pub(crate) mod alertmanager;

use http::StatusCode;
use serde::Serialize;
use tidings_domain::id::InboundWebhookId;
use tidings_domain::time::Timestamp;
use tidings_store::settings::InboundWebhook;

use crate::answer::{Answer, json, no_content, not_stored, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::query::Query;

/// Whose forms are read.
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
struct Made<'a> {
    inbound_webhook: InboundWebhookView<'a>,
    url: String,
}

/// The doors, oldest first.
pub(super) async fn list(reader: Reader, query: Query) -> Answer {
    query.finish(|| Some(()))?;
    let webhooks = reader.engine().inbound_webhooks(reader.workspace_id())?;
    ok(&List::whole(webhooks.iter().map(InboundWebhookView::of).collect()))
}

/// Makes a webhook. Its URL is its secret, and is shown this once.
pub(super) async fn create(writer: Writer, object: Object) -> Answer {
    let mut fields = Fields::where_null_is_absent(object);
    let kind = fields.parsed("type", &one_of(SOURCE_TYPES), |word| SOURCE_TYPES.into_iter().find(|kind| *kind == word));
    let kind = fields.required("type", kind);
    let name = fields.text("name");
    let name = fields.required("name", name);
    let (kind, name) = fields.finish(|| kind.zip(name))?;
    let (webhook, secret) = writer.engine().create_inbound_webhook(writer.workspace_id(), kind, name).await?;
    let base = writer.public_url().unwrap_or_default().trim_end_matches('/');
    let url = format!("{base}/in/{kind}/{}", secret.expose());
    Ok(not_stored(json(StatusCode::CREATED, &Made { inbound_webhook: InboundWebhookView::of(&webhook), url })))
}

/// Deletes a webhook: its URL leads nowhere any more.
pub(super) async fn delete(writer: Writer, PathId(id): PathId<InboundWebhookId>) -> Answer {
    writer.engine().delete_inbound_webhook(writer.workspace_id(), id).await?;
    no_content()
}
