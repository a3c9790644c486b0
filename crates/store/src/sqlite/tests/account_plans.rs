//! Query plans of accounts and the audit log.

use tidings_domain::audit::{AuditTarget, AuditVerb};

use super::query_plans::{TracedDb, assert_no_scan, combinations};
use super::{NOW, id, workspace_id};
use crate::accounts::AuditFilter;
use crate::sqlite::accounts::audit;

#[test]
fn plans_of_audit_lists_scan_no_table() {
    let traced = TracedDb::new();
    let conditions: [fn(&mut AuditFilter); 7] = [
        |filter| filter.before = Some(id(9)),
        |filter| filter.actor_id = Some("usr_1".into()),
        |filter| filter.action = Some(AuditTarget::Channel.action(AuditVerb::Updated)),
        |filter| filter.target = Some(AuditTarget::Channel),
        |filter| filter.target_id = Some("ch_1".into()),
        |filter| filter.since = Some(NOW),
        |filter| filter.until = Some(NOW),
    ];
    for filter in combinations(&conditions) {
        assert_no_scan(&traced.plans(|db| audit::list(db, Some(workspace_id()), &filter)));
    }
    assert_no_scan(&traced.plans(|db| audit::prune(db, NOW, 9)));
}
