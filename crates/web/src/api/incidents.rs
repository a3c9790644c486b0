//! `/incidents`.

use tidings_app::incidents::{self, Acknowledgement, Incident, IncidentQuery, IncidentSaved, IncidentWithTimeline};
use tidings_app::page::Page;
use tidings_app::{Acknowledge, Read};
use tidings_domain::id::IncidentId;

use crate::auth::{Authorized, PathId};
use crate::body::OptionalBody;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::Reply;

pub(super) async fn list(
    by: Authorized<Read>,
    Parameters(query): Parameters<IncidentQuery>,
) -> Result<Reply<Page<Incident>>, Problem> {
    Ok(Reply(incidents::list(&by, &query).await?))
}

pub(super) async fn one(
    by: Authorized<Read>,
    PathId(id): PathId<IncidentId>,
) -> Result<Reply<IncidentWithTimeline>, Problem> {
    Ok(Reply(incidents::one(&by, id).await?))
}

pub(super) async fn acknowledge(
    by: Authorized<Acknowledge>,
    PathId(id): PathId<IncidentId>,
    body: OptionalBody<Acknowledgement>,
) -> Result<Reply<IncidentSaved>, Problem> {
    Ok(Reply(incidents::acknowledge(&by, id, body.read()?).await?))
}
