//! `/use-cases/{use_case}/webhooks`.

use tidings_app::channels::TestResult;
use tidings_app::page::{Page, PageQuery};
use tidings_app::rules::use_case_webhooks::{
    self, Subscription, SubscriptionDelivery, SubscriptionDraft, SubscriptionSaved,
};
use tidings_app::{Configure, Read, SendNow};
use tidings_domain::id::RuleId;

use crate::auth::{Authorized, PathId, PathUseCase};
use crate::body::Body;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::{Created, NoContent, Reply};
use crate::revision::IfMatch;

pub(super) async fn list(
    by: Authorized<Read>,
    PathUseCase(use_case): PathUseCase,
) -> Result<Reply<Page<Subscription>>, Problem> {
    Ok(Reply(use_case_webhooks::list(&by, &use_case)?))
}

pub(super) async fn one(
    by: Authorized<Read>,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
) -> Result<Reply<Subscription>, Problem> {
    Ok(Reply(use_case_webhooks::one(&by, &use_case, id)?))
}

pub(super) async fn create(
    by: Authorized<Configure>,
    PathUseCase(use_case): PathUseCase,
    body: Body<SubscriptionDraft>,
) -> Result<Created<SubscriptionSaved>, Problem> {
    Ok(Reply(use_case_webhooks::create(&by, &use_case, body.read()?).await?))
}

pub(super) async fn delete(
    by: Authorized<Configure>,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
    IfMatch(expected): IfMatch,
) -> Result<NoContent, Problem> {
    use_case_webhooks::delete(&by, &use_case, id, &expected).await?;
    Ok(NoContent)
}

pub(super) async fn test(
    by: Authorized<SendNow>,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
) -> Result<Reply<TestResult>, Problem> {
    Ok(Reply(use_case_webhooks::test(&by, &use_case, id).await?))
}

pub(super) async fn deliveries(
    by: Authorized<Read>,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Reply<Page<SubscriptionDelivery>>, Problem> {
    Ok(Reply(use_case_webhooks::deliveries(&by, &use_case, id, &page).await?))
}
