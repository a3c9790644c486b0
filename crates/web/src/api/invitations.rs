//! `/invitations`, and `/api/invitations/{secret}`.

use axum::response::{IntoResponse, Response};
use tidings_app::ManageMembers;
use tidings_app::invitations::{
    self, Acceptance, Accepted, InvitationList, InvitationOffer, InvitationSaved, NewInvitation,
};
use tidings_domain::id::InvitationId;

use crate::auth::{Authorized, PathId, PathSecret};
use crate::body::Body;
use crate::openapi::Description;
use crate::operation::Answer;
use crate::problem::Problem;
use crate::response::{Created, NoContent, Reply};
use crate::session::{MaybeUser, Visitor, WithCookie};

pub(super) async fn list(by: Authorized<ManageMembers>) -> Result<Reply<InvitationList>, Problem> {
    Ok(Reply(invitations::list(&by).await?))
}

pub(super) async fn create(
    by: Authorized<ManageMembers>,
    body: Body<NewInvitation>,
) -> Result<Created<InvitationSaved>, Problem> {
    Ok(Reply(invitations::create(&by, body.read()?).await?))
}

pub(super) async fn delete(
    by: Authorized<ManageMembers>,
    PathId(id): PathId<InvitationId>,
) -> Result<NoContent, Problem> {
    invitations::delete(&by, id).await?;
    Ok(NoContent)
}

pub(super) async fn offer(visitor: Visitor, secret: PathSecret) -> Result<Reply<InvitationOffer>, Problem> {
    Ok(Reply(invitations::offer(visitor.app(), &secret.0).await?))
}

/// The answer to who accepts: a new user is signed in.
pub(super) enum Acceptor {
    User(Reply<Accepted>),
    NewUser(WithCookie<Reply<Accepted>>),
}

impl IntoResponse for Acceptor {
    fn into_response(self) -> Response {
        match self {
            Self::User(reply) => reply.into_response(),
            Self::NewUser(reply) => reply.into_response(),
        }
    }
}

impl Answer for Acceptor {
    fn describe(description: &mut Description) {
        Reply::<Accepted>::describe(description);
    }
}

pub(super) async fn accept(
    MaybeUser(user): MaybeUser,
    visitor: Visitor,
    secret: PathSecret,
    body: Body<Acceptance>,
) -> Result<Acceptor, Problem> {
    let input = body.read()?;
    if let Some(user) = user {
        return Ok(Acceptor::User(Reply(invitations::accept(&user, &secret.0, input).await?)));
    }
    let (app, origin, browser) = (visitor.app(), visitor.origin(), visitor.browser());
    let begun = invitations::accept_as_new_user(app, origin, browser, &secret.0, input).await?;
    Ok(Acceptor::NewUser(visitor.begin(begun)?))
}
