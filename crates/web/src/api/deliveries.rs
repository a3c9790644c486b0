//! `/deliveries`.

use tidings_app::deliveries::message::{self, Message};
use tidings_app::deliveries::resend::{self, Resend, Resent};
use tidings_app::deliveries::{self, Delivery, DeliveryQuery, Recovered, Recovery};
use tidings_app::page::Page;
use tidings_app::{Read, SendNow};
use tidings_domain::id::DeliveryId;

use crate::auth::{Authorized, PathId};
use crate::body::Body;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::Reply;

pub(super) async fn list(
    by: Authorized<Read>,
    Parameters(query): Parameters<DeliveryQuery>,
) -> Result<Reply<Page<Delivery>>, Problem> {
    Ok(Reply(deliveries::list(&by, query).await?))
}

pub(super) async fn one(by: Authorized<Read>, PathId(id): PathId<DeliveryId>) -> Result<Reply<Delivery>, Problem> {
    Ok(Reply(deliveries::one(&by, id).await?))
}

pub(super) async fn message(by: Authorized<Read>, PathId(id): PathId<DeliveryId>) -> Result<Reply<Message>, Problem> {
    Ok(Reply(message::message(&by, id).await?))
}

pub(super) async fn resend_many(by: Authorized<SendNow>, body: Body<Resend>) -> Result<Reply<Resent>, Problem> {
    Ok(Reply(resend::resend(&by, body.read()?).await?))
}

pub(super) async fn resend(
    by: Authorized<SendNow>,
    PathId(id): PathId<DeliveryId>,
) -> Result<Reply<Delivery, 202>, Problem> {
    Ok(Reply(deliveries::resend_one(&by, id).await?))
}

pub(super) async fn recover(by: Authorized<SendNow>, body: Body<Recovery>) -> Result<Reply<Recovered>, Problem> {
    Ok(Reply(deliveries::recover(&by, body.read()?).await?))
}
