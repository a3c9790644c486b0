//! `/notification-rules`.

use tidings_app::channels::TestResult;
use tidings_app::page::Page;
use tidings_app::rules::{
    self, AllRulesQuery, ResourcePageQuery, ResourceQuery, Rule, RuleDelivery, RuleDraft, RuleSaved, RuleTest,
};
use tidings_app::{Configure, Read, SendNow};
use tidings_domain::id::RuleId;

use crate::auth::{Authorized, PathId};
use crate::body::{Body, Patch};
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::{Created, NoContent, Reply};
use crate::revision::IfMatch;

pub(super) async fn list(
    by: Authorized<Read>,
    Parameters(query): Parameters<ResourceQuery>,
) -> Result<Reply<Page<Rule>>, Problem> {
    Ok(Reply(rules::list(&by, &query)?))
}

pub(super) async fn all(
    by: Authorized<Read>,
    Parameters(query): Parameters<AllRulesQuery>,
) -> Result<Reply<Page<Rule>>, Problem> {
    Ok(Reply(rules::all(&by, &query)?))
}

pub(super) async fn one(by: Authorized<Read>, PathId(id): PathId<RuleId>) -> Result<Reply<Rule>, Problem> {
    Ok(Reply(rules::one(&by, id)?))
}

pub(super) async fn create(by: Authorized<Configure>, body: Body<RuleDraft>) -> Result<Created<RuleSaved>, Problem> {
    Ok(Reply(rules::create(&by, body.read()?).await?))
}

pub(super) async fn edit(
    by: Authorized<Configure>,
    PathId(id): PathId<RuleId>,
    IfMatch(expected): IfMatch,
    patch: Patch<RuleDraft>,
) -> Result<Reply<RuleSaved>, Problem> {
    Ok(Reply(rules::edit(&by, id, &expected, |draft| patch.apply(draft)).await?))
}

pub(super) async fn delete(
    by: Authorized<Configure>,
    PathId(id): PathId<RuleId>,
    IfMatch(expected): IfMatch,
) -> Result<NoContent, Problem> {
    rules::delete(&by, id, &expected).await?;
    Ok(NoContent)
}

pub(super) async fn test(by: Authorized<SendNow>, body: Body<RuleTest>) -> Result<Reply<TestResult>, Problem> {
    Ok(Reply(rules::test(&by, body.read()?).await?))
}

pub(super) async fn deliveries(
    by: Authorized<Read>,
    Parameters(query): Parameters<ResourcePageQuery>,
) -> Result<Reply<Page<RuleDelivery>>, Problem> {
    Ok(Reply(rules::deliveries(&by, &query).await?))
}
