//! `/mutes`.

use tidings_app::mutes::{self, MuteDraft, MuteList, MuteQuery, MuteSaved};
use tidings_app::{Configure, Read};
use tidings_domain::id::MuteId;

use crate::auth::{Authorized, PathId};
use crate::body::Body;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::{Created, NoContent, Reply};

pub(super) async fn list(
    by: Authorized<Read>,
    Parameters(query): Parameters<MuteQuery>,
) -> Result<Reply<MuteList>, Problem> {
    Ok(Reply(mutes::list(&by, query).await?))
}

pub(super) async fn create(by: Authorized<Configure>, body: Body<MuteDraft>) -> Result<Created<MuteSaved>, Problem> {
    Ok(Reply(mutes::create(&by, body.read()?).await?))
}

pub(super) async fn delete(by: Authorized<Configure>, PathId(id): PathId<MuteId>) -> Result<NoContent, Problem> {
    mutes::delete(&by, id).await?;
    Ok(NoContent)
}
