//! `/api/workspaces`.

use tidings_app::workspaces::{
    self, NewWorkspace, WorkspaceDraft, WorkspaceList, WorkspaceQuery, WorkspaceSaved, WorkspaceView,
};
use tidings_app::{Configure, DeleteWorkspace, Read};

use crate::auth::{Authorized, PathWorkspace};
use crate::body::{Body, Patch};
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::{Created, NoContent, Reply};
use crate::revision::IfMatch;
use crate::session::{InstanceOperator, User};

pub(super) async fn list(
    by: User,
    Parameters(query): Parameters<WorkspaceQuery>,
) -> Result<Reply<WorkspaceList>, Problem> {
    Ok(Reply(workspaces::list(&by, query).await?))
}

pub(super) async fn create(by: InstanceOperator, body: Body<NewWorkspace>) -> Result<Created<WorkspaceSaved>, Problem> {
    Ok(Reply(workspaces::create(&by, body.read()?).await?))
}

pub(super) async fn suspend(by: InstanceOperator, name: PathWorkspace) -> Result<Reply<WorkspaceSaved>, Problem> {
    Ok(Reply(workspaces::suspend(&by, &name.0).await?))
}

pub(super) async fn resume(by: InstanceOperator, name: PathWorkspace) -> Result<Reply<WorkspaceSaved>, Problem> {
    Ok(Reply(workspaces::resume(&by, &name.0).await?))
}

pub(super) async fn one(by: Authorized<Read>) -> Result<Reply<WorkspaceView>, Problem> {
    Ok(Reply(workspaces::one(&by)?))
}

pub(super) async fn edit(
    by: Authorized<Configure>,
    IfMatch(expected): IfMatch,
    patch: Patch<WorkspaceDraft>,
) -> Result<Reply<WorkspaceSaved>, Problem> {
    Ok(Reply(workspaces::edit(&by, &expected, |draft| patch.apply(draft)).await?))
}

pub(super) async fn delete(by: Authorized<DeleteWorkspace>) -> Result<NoContent, Problem> {
    workspaces::delete(&by).await?;
    Ok(NoContent)
}
