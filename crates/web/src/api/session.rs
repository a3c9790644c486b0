//! `/api/session`.

use tidings_app::accounts::session::{self, Credentials, SessionView};

use crate::body::Body;
use crate::problem::Problem;
use crate::response::{NoContent, Reply};
use crate::session::{User, Visitor, WithCookie};

pub(super) async fn one(by: User) -> Result<Reply<SessionView>, Problem> {
    Ok(Reply(session::one(&by).await?))
}

pub(super) async fn create(
    visitor: Visitor,
    body: Body<Credentials>,
) -> Result<WithCookie<Reply<SessionView>>, Problem> {
    let begun = session::sign_in(visitor.app(), visitor.origin(), visitor.browser(), body.read()?).await?;
    visitor.begin(begun)
}

pub(super) async fn delete(by: User, visitor: Visitor) -> Result<WithCookie<NoContent>, Problem> {
    session::sign_out(&by).await?;
    Ok(visitor.end(NoContent))
}
