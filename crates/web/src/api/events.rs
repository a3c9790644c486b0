//! `/events`.

use tidings_app::Read;
use tidings_app::events::why::{self, Why, WhyQuery};
use tidings_app::events::{self, Event, EventQuery, EventWithDeliveries};
use tidings_app::page::Page;
use tidings_domain::id::EventId;

use crate::auth::{Authorized, PathId};
use crate::problem::Problem;
use crate::query::{Parameters, ParametersInput};
use crate::response::Reply;

pub(super) async fn list(
    by: Authorized<Read>,
    ParametersInput(query): ParametersInput<EventQuery>,
) -> Result<Reply<Page<Event>>, Problem> {
    Ok(Reply(events::list(&by, query).await?))
}

pub(super) async fn one(
    by: Authorized<Read>,
    PathId(id): PathId<EventId>,
) -> Result<Reply<EventWithDeliveries>, Problem> {
    Ok(Reply(events::one(&by, id).await?))
}

pub(super) async fn explain(
    by: Authorized<Read>,
    PathId(id): PathId<EventId>,
    Parameters(query): Parameters<WhyQuery>,
) -> Result<Reply<Why>, Problem> {
    Ok(Reply(why::explain(&by, id, query).await?))
}
