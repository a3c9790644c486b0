//! `/audit-log`, and `/quotas`.

use tidings_app::audit_log::{self, AuditLog, AuditQuery};
use tidings_app::quotas::{self, QuotaList};
use tidings_app::{Read, ReadAuditLog};

use crate::auth::Authorized;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::response::Reply;

pub(super) async fn list(
    by: Authorized<ReadAuditLog>,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<Reply<AuditLog>, Problem> {
    Ok(Reply(audit_log::list(&by, query.into()).await?))
}

pub(super) async fn quotas(by: Authorized<Read>) -> Result<Reply<QuotaList>, Problem> {
    Ok(Reply(quotas::list(&by).await?))
}
