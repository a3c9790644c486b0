//! `/api-keys`.

use tidings_app::api_keys::{self, ApiKeyList, ApiKeySaved, ApiKeyView, NewApiKey};
use tidings_app::{ManageApiKeys, Read};
use tidings_domain::id::ApiKeyId;

use crate::auth::{Authorized, PathId};
use crate::body::Body;
use crate::problem::Problem;
use crate::response::{Created, NoContent, Reply};

pub(super) async fn list(by: Authorized<Read>) -> Result<Reply<ApiKeyList>, Problem> {
    Ok(Reply(api_keys::list(&by).await?))
}

pub(super) async fn one(by: Authorized<Read>, PathId(id): PathId<ApiKeyId>) -> Result<Reply<ApiKeyView>, Problem> {
    Ok(Reply(api_keys::one(&by, id).await?))
}

pub(super) async fn create(
    by: Authorized<ManageApiKeys>,
    body: Body<NewApiKey>,
) -> Result<Created<ApiKeySaved>, Problem> {
    Ok(Reply(api_keys::create(&by, body.read()?).await?))
}

pub(super) async fn revoke(by: Authorized<ManageApiKeys>, PathId(id): PathId<ApiKeyId>) -> Result<NoContent, Problem> {
    api_keys::revoke(&by, id).await?;
    Ok(NoContent)
}
