//! `/api/account`.

use tidings_app::accounts::account::{
    self, AccountDraft, AccountSaved, AccountView, NewPassword, SessionList, SessionsEnded,
};
use tidings_app::accounts::session::SessionView;
use tidings_domain::id::SessionId;

use crate::auth::PathId;
use crate::body::{Body, Patch};
use crate::problem::Problem;
use crate::response::{NoContent, Reply};
use crate::revision::IfMatch;
use crate::session::{User, Visitor, WithCookie};

pub(super) async fn one(by: User) -> Result<Reply<AccountView>, Problem> {
    Ok(Reply(account::one(&by)))
}

pub(super) async fn edit(
    by: User,
    IfMatch(expected): IfMatch,
    patch: Patch<AccountDraft>,
) -> Result<Reply<AccountSaved>, Problem> {
    Ok(Reply(account::edit(&by, &expected, |draft| patch.apply(draft)).await?))
}

pub(super) async fn change_password(
    by: User,
    visitor: Visitor,
    body: Body<NewPassword>,
) -> Result<WithCookie<Reply<SessionView>>, Problem> {
    let begun = account::change_password(&by, visitor.browser(), body.read()?).await?;
    visitor.begin(begun)
}

pub(super) async fn sessions(by: User) -> Result<Reply<SessionList>, Problem> {
    Ok(Reply(account::sessions(&by).await?))
}

pub(super) async fn end_session(by: User, PathId(id): PathId<SessionId>) -> Result<NoContent, Problem> {
    account::end_session(&by, id).await?;
    Ok(NoContent)
}

pub(super) async fn end_other_sessions(by: User) -> Result<Reply<SessionsEnded>, Problem> {
    Ok(Reply(account::end_other_sessions(&by).await?))
}
