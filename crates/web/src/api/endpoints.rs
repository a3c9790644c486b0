//! `/endpoints`, with their notifications, checks and summaries.

use tidings_app::endpoints::bulk::{self, EndpointBulk, EndpointBulkDone};
use tidings_app::endpoints::checks::{
    self, CheckList, CheckQuery, CheckReport, CheckReported, SummaryList, SummaryQuery,
};
use tidings_app::endpoints::test::{self, EndpointTest, EndpointTestResult};
use tidings_app::endpoints::wiring::{self, Wiring, WiringChange};
use tidings_app::endpoints::{self, Endpoint, EndpointCopy, EndpointDraft, EndpointList, EndpointQuery, EndpointSaved};
use tidings_app::{Configure, Read, Report, SendNow};
use tidings_domain::id::EndpointId;

use crate::auth::{Authorized, PathId};
use crate::body::{Body, OptionalBody, Patch};
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::{Created, NoContent, Reply};
use crate::revision::IfMatch;

pub(super) async fn list(
    by: Authorized<Read>,
    Parameters(query): Parameters<EndpointQuery>,
) -> Result<Reply<EndpointList>, Problem> {
    Ok(Reply(endpoints::list(&by, query).await?))
}

pub(super) async fn bulk(
    by: Authorized<Configure>,
    body: Body<EndpointBulk>,
) -> Result<Reply<EndpointBulkDone>, Problem> {
    Ok(Reply(bulk::bulk(&by, body.read()?).await?))
}

pub(super) async fn one(by: Authorized<Read>, PathId(id): PathId<EndpointId>) -> Result<Reply<Endpoint>, Problem> {
    Ok(Reply(endpoints::one(&by, id).await?))
}

pub(super) async fn create(
    by: Authorized<Configure>,
    body: Body<EndpointDraft>,
) -> Result<Created<EndpointSaved>, Problem> {
    Ok(Reply(endpoints::create(&by, body.read()?).await?))
}

pub(super) async fn edit(
    by: Authorized<Configure>,
    PathId(id): PathId<EndpointId>,
    IfMatch(expected): IfMatch,
    patch: Patch<EndpointDraft>,
) -> Result<Reply<EndpointSaved>, Problem> {
    Ok(Reply(endpoints::edit(&by, id, &expected, |draft| patch.apply(draft)).await?))
}

pub(super) async fn delete(
    by: Authorized<Configure>,
    PathId(id): PathId<EndpointId>,
    IfMatch(expected): IfMatch,
) -> Result<NoContent, Problem> {
    endpoints::delete(&by, id, &expected).await?;
    Ok(NoContent)
}

pub(super) async fn clone(
    by: Authorized<Configure>,
    PathId(id): PathId<EndpointId>,
    body: OptionalBody<EndpointCopy>,
) -> Result<Created<EndpointSaved>, Problem> {
    Ok(Reply(endpoints::copy(&by, id, body.read()?).await?))
}

pub(super) async fn pause(
    by: Authorized<Configure>,
    PathId(id): PathId<EndpointId>,
    IfMatch(expected): IfMatch,
) -> Result<Reply<EndpointSaved>, Problem> {
    Ok(Reply(endpoints::pause(&by, id, &expected).await?))
}

pub(super) async fn resume(
    by: Authorized<Configure>,
    PathId(id): PathId<EndpointId>,
    IfMatch(expected): IfMatch,
) -> Result<Reply<EndpointSaved>, Problem> {
    Ok(Reply(endpoints::resume(&by, id, &expected).await?))
}

pub(super) async fn wiring(by: Authorized<Read>, PathId(id): PathId<EndpointId>) -> Result<Reply<Wiring>, Problem> {
    Ok(Reply(wiring::wiring(&by, id)?))
}

pub(super) async fn rewire(
    by: Authorized<Configure>,
    PathId(id): PathId<EndpointId>,
    body: Body<WiringChange>,
) -> Result<Reply<Wiring>, Problem> {
    Ok(Reply(wiring::wire(&by, id, body.read()?).await?))
}

pub(super) async fn checks(
    by: Authorized<Read>,
    PathId(id): PathId<EndpointId>,
    Parameters(query): Parameters<CheckQuery>,
) -> Result<Reply<CheckList>, Problem> {
    Ok(Reply(checks::list(&by, id, query).await?))
}

pub(super) async fn report_check(
    by: Authorized<Report>,
    PathId(id): PathId<EndpointId>,
    body: Body<CheckReport>,
) -> Result<Reply<CheckReported, 202>, Problem> {
    Ok(Reply(checks::report(&by, id, body.read()?).await?))
}

pub(super) async fn summaries(
    by: Authorized<Read>,
    PathId(id): PathId<EndpointId>,
    Parameters(query): Parameters<SummaryQuery>,
) -> Result<Reply<SummaryList>, Problem> {
    Ok(Reply(checks::summaries(&by, id, query).await?))
}

pub(super) async fn test(
    by: Authorized<SendNow>,
    patch: Patch<EndpointTest>,
) -> Result<Reply<EndpointTestResult>, Problem> {
    Ok(Reply(test::test(&by, patch.fields()).await?))
}
