//! `/inbound-doors`, and what comes in through them: secret URLs at which others tell of facts in their own form.

pub(crate) mod alertmanager;

use http::StatusCode;
use serde::Serialize;
use tidings_domain::id::InboundDoorId;
use tidings_domain::time::Timestamp;
use tidings_store::settings::InboundDoor;

use crate::answer::{Answer, json, no_content, not_stored, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::query::Query;

/// Whose forms are read.
const KINDS: [&str; 1] = [alertmanager::KIND];

/// A door, without its secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Door<'a> {
    id: InboundDoorId,
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    created_at: Timestamp,
}

impl<'a> Door<'a> {
    fn of(door: &'a InboundDoor) -> Self {
        Self { id: door.id, kind: &door.kind, name: &door.name, created_at: door.created_at }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    door: Door<'a>,
    url_once: String,
}

/// The doors, oldest first.
pub(super) async fn list(reader: Reader, query: Query) -> Answer {
    query.finish(|| Some(()))?;
    let doors = reader.engine().doors(reader.workspace_id())?;
    ok(&List::whole(doors.iter().map(Door::of).collect()))
}

/// Makes a door. Its URL is its secret, and is shown this once.
pub(super) async fn create(writer: Writer, object: Object) -> Answer {
    let mut fields = Fields::where_null_is_absent(object);
    let kind = fields.parsed("type", &one_of(KINDS), |word| KINDS.into_iter().find(|kind| *kind == word));
    let kind = fields.required("type", kind);
    let name = fields.text("name");
    let name = fields.required("name", name);
    let (kind, name) = fields.finish(|| kind.zip(name))?;
    let (door, secret) = writer.engine().create_door(writer.workspace_id(), kind, name).await?;
    let base = writer.public_url().unwrap_or_default().trim_end_matches('/');
    let url_once = format!("{base}/in/{kind}/{}", secret.expose());
    Ok(not_stored(json(StatusCode::CREATED, &Made { door: Door::of(&door), url_once })))
}

/// Deletes a door: its URL leads nowhere any more.
pub(super) async fn delete(writer: Writer, PathId(id): PathId<InboundDoorId>) -> Answer {
    writer.engine().delete_door(writer.workspace_id(), id).await?;
    no_content()
}
