//! `/channels`.

use tidings_app::channels::{
    self, Channel, ChannelDeletion, ChannelDraft, ChannelList, ChannelSaved, SecretRotation, TestResult,
};
use tidings_app::{Configure, Read, SendNow};
use tidings_domain::channel::ChannelType;
use tidings_domain::id::ChannelId;

use crate::auth::{Authorized, PathId};
use crate::body::{Body, OptionalBody, Patch};
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::{Created, NoContent, Reply};
use crate::revision::IfMatch;

pub(super) async fn list(by: Authorized<Read>) -> Result<Reply<ChannelList>, Problem> {
    Ok(Reply(channels::list(&by)?))
}

pub(super) async fn one(by: Authorized<Read>, PathId(id): PathId<ChannelId>) -> Result<Reply<Channel>, Problem> {
    Ok(Reply(channels::one(&by, id)?))
}

pub(super) async fn create(
    by: Authorized<Configure>,
    body: Body<ChannelDraft>,
) -> Result<Created<ChannelSaved>, Problem> {
    // The type is required, so that the one of the defaults does not count.
    let defaults = channels::new_draft(&by, ChannelType::Webhook)?;
    Ok(Reply(channels::create(&by, body.read_over(&defaults)?).await?))
}

pub(super) async fn edit(
    by: Authorized<Configure>,
    PathId(id): PathId<ChannelId>,
    IfMatch(expected): IfMatch,
    patch: Patch<ChannelDraft>,
) -> Result<Reply<ChannelSaved>, Problem> {
    Ok(Reply(channels::edit(&by, id, &expected, |draft| patch.apply(draft)).await?))
}

pub(super) async fn delete(
    by: Authorized<Configure>,
    PathId(id): PathId<ChannelId>,
    IfMatch(expected): IfMatch,
    Parameters(deletion): Parameters<ChannelDeletion>,
) -> Result<NoContent, Problem> {
    channels::delete(&by, id, &expected, deletion).await?;
    Ok(NoContent)
}

pub(super) async fn test(by: Authorized<SendNow>, PathId(id): PathId<ChannelId>) -> Result<Reply<TestResult>, Problem> {
    Ok(Reply(channels::test(&by, id).await?))
}

pub(super) async fn rotate_secret(
    by: Authorized<Configure>,
    PathId(id): PathId<ChannelId>,
    body: OptionalBody<SecretRotation>,
) -> Result<Reply<ChannelSaved>, Problem> {
    Ok(Reply(channels::rotate_secret(&by, id, body.read()?).await?))
}
