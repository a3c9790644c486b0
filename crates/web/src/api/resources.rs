//! `/resources`.

use tidings_app::resources::{self, Erasure, Resource, ResourceDraft, ResourceList, ResourceQuery, ResourceSaved};
use tidings_app::{Configure, Read};

use crate::auth::{Authorized, PathResource};
use crate::body::Patch;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::Reply;
use crate::revision::IfMatch;

pub(super) async fn list(
    by: Authorized<Read>,
    Parameters(query): Parameters<ResourceQuery>,
) -> Result<Reply<ResourceList>, Problem> {
    Ok(Reply(resources::list(&by, query).await?))
}

pub(super) async fn one(
    by: Authorized<Read>,
    PathResource(kind, id): PathResource,
) -> Result<Reply<Resource>, Problem> {
    Ok(Reply(resources::one(&by, kind, id).await?))
}

pub(super) async fn edit(
    by: Authorized<Configure>,
    PathResource(kind, id): PathResource,
    IfMatch(expected): IfMatch,
    patch: Patch<ResourceDraft>,
) -> Result<Reply<ResourceSaved>, Problem> {
    Ok(Reply(resources::edit(&by, kind, id, &expected, |draft| patch.apply(draft)).await?))
}

pub(super) async fn delete(
    by: Authorized<Configure>,
    PathResource(kind, id): PathResource,
    IfMatch(expected): IfMatch,
) -> Result<Reply<Erasure, 202>, Problem> {
    Ok(Reply(resources::delete(&by, kind, id, &expected).await?))
}

pub(super) async fn erasure(
    by: Authorized<Read>,
    PathResource(kind, id): PathResource,
) -> Result<Reply<Erasure>, Problem> {
    Ok(Reply(resources::erasure(&by, kind, id).await?))
}
