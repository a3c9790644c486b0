//! `/members`.

use tidings_app::members::{self, MemberEdit, MemberList, MemberSaved, MemberView};
use tidings_app::{ManageMembers, Read};
use tidings_domain::id::UserId;

use crate::auth::{Authorized, PathId};
use crate::body::Body;
use crate::problem::Problem;
use crate::response::{NoContent, Reply};

pub(super) async fn list(by: Authorized<Read>) -> Result<Reply<MemberList>, Problem> {
    Ok(Reply(members::list(&by).await?))
}

pub(super) async fn one(by: Authorized<Read>, PathId(id): PathId<UserId>) -> Result<Reply<MemberView>, Problem> {
    Ok(Reply(members::one(&by, id).await?))
}

pub(super) async fn edit(
    by: Authorized<ManageMembers>,
    PathId(id): PathId<UserId>,
    body: Body<MemberEdit>,
) -> Result<Reply<MemberSaved>, Problem> {
    Ok(Reply(members::edit(&by, id, body.read()?).await?))
}

/// Any member may leave, so that the operation checks the permission to remove others.
pub(super) async fn remove(by: Authorized<Read>, PathId(id): PathId<UserId>) -> Result<NoContent, Problem> {
    members::remove(&by, id).await?;
    Ok(NoContent)
}
