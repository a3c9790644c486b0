//! Query plans of accounts and the audit log, and the completeness of a workspace's deletion.

use std::collections::BTreeSet;

use tidings_domain::access::{Actor, Role};
use tidings_domain::account::{Invitation, Session, User};
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::id::UserId;

use super::query_plans::{TracedDb, assert_no_scan, combinations};
use super::{NOW, id, insert_workspace, workspace_id};
use crate::accounts::{Acceptor, AuditFilter, NewSession, PasswordChange, Use, UserRecord};
use crate::settings::ApiKey;
use crate::sqlite::accounts::{api_key, audit, invitation, member, purge, session, user, workspace};

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

fn record(number: u64) -> UserRecord {
    let user = User {
        id: id(number),
        email: format!("user{number}@example.com"),
        name: "Ana".into(),
        is_operator: false,
        created_at: NOW,
        password_changed_at: NOW,
        revision: 1,
    };
    UserRecord { user, password_hash: String::new() }
}

fn new_session(number: u64, user_id: UserId) -> NewSession {
    let session = Session::new(id(number), user_id, NOW, None, None);
    NewSession { session, hash: [number as u8; 32], replaces: Some([0; 32]) }
}

#[test]
fn plans_of_accounts_scan_no_table() {
    let traced = TracedDb::new();
    traced.plans(|db| {
        insert_workspace(db);
        user::insert(db, &record(1))?;
        member::add(db, workspace_id(), id(1), Role::Owner, NOW)
    });
    let (ana, bo): (UserId, UserId) = (id(1), id(2));
    assert_no_scan(&traced.plans(|db| user::by_email(db, "ANA@example.com")));
    assert_no_scan(&traced.plans(|db| user::get(db, ana)));
    assert_no_scan(&traced.plans(|db| user::insert(db, &record(2))));
    assert_no_scan(&traced.plans(|db| user::update(db, &User { revision: 2, ..record(1).user }, 1)));
    assert_no_scan(&traced.plans(|db| session::begin(db, &new_session(3, ana))));
    assert_no_scan(&traced.plans(|db| session::get(db, &[3; 32], NOW)));
    assert_no_scan(&traced.plans(|db| session::all(db, ana, NOW)));
    assert_no_scan(&traced.plans(|db| session::record_uses(db, &[Use { id: id(3), at: NOW, address: None }])));
    assert_no_scan(&traced.plans(|db| member::all(db, workspace_id())));
    assert_no_scan(&traced.plans(|db| member::workspaces(db, ana)));
    assert_no_scan(&traced.plans(|db| member::add(db, workspace_id(), bo, Role::Owner, NOW)));
    assert_no_scan(&traced.plans(|db| member::set_role(db, workspace_id(), bo, Role::Owner, Role::Admin)));
    assert_no_scan(&traced.plans(|db| member::remove(db, workspace_id(), bo, Role::Admin)));
    let invitation = Invitation {
        id: id(4),
        workspace_id: workspace_id(),
        email: "bo@example.com".into(),
        role: Role::Viewer,
        invited_by: Actor::system(),
        created_at: NOW,
        expires_at: NOW.plus_ms(9),
        accepted_at: None,
    };
    assert_no_scan(&traced.plans(|db| invitation::create(db, &invitation, &[1; 32])));
    assert_no_scan(&traced.plans(|db| invitation::open(db, workspace_id(), NOW)));
    assert_no_scan(&traced.plans(|db| invitation::accept(db, &[1; 32], NOW, &Acceptor::Existing(bo))));
    assert_no_scan(&traced.plans(|db| invitation::delete(db, workspace_id(), id(4)).or(Ok(()))));
    let key = ApiKey {
        id: id(5),
        workspace_id: workspace_id(),
        name: "CI".into(),
        hash: [5; 32],
        read_only: false,
        created_by: Actor::system(),
        created_at: NOW,
        expires_at: None,
    };
    assert_no_scan(&traced.plans(|db| api_key::add(db, &key)));
    assert_no_scan(&traced.plans(|db| api_key::record_uses(db, &[Use { id: id(5), at: NOW, address: None }])));
    assert_no_scan(&traced.plans(|db| api_key::all(db, workspace_id())));
    assert_no_scan(&traced.plans(|db| api_key::delete(db, workspace_id(), id(5))));
    let change =
        PasswordChange { user_id: ana, password_hash: "x".into(), at: NOW, verified: Some(NOW), renewed: None };
    assert_no_scan(&traced.plans(|db| user::change_password(db, &change)));
    assert_no_scan(&traced.plans(|db| session::delete(db, ana, id(3)).or(Ok(()))));
    assert_no_scan(&traced.plans(|db| session::prune(db, NOW, 9)));
    assert_no_scan(&traced.plans(|db| invitation::prune(db, NOW, 9)));
}

#[test]
fn plans_of_workspace_deletion_scan_no_table() {
    let traced = super::monitoring_plans::traced_db();
    traced.plans(|db| super::accept_events(db, vec![super::new_event(1), super::new_incident_event(2, "a1")]));
    assert_no_scan(&traced.plans(|db| workspace::delete(db, workspace_id(), NOW)));
    let later = NOW.plus_ms(3_600_000);
    assert_no_scan(&traced.plans(|db| purge::next(db, later)));
    // With a small budget many times, and once with a large one: what runs differs.
    for limit in [1, 2, 1_000] {
        assert_no_scan(&traced.plans(|db| purge::purge(db, workspace_id(), limit)));
    }
    assert_eq!(purge::next(&traced.db, later).unwrap(), None);
    for table in tables_of_workspaces(&traced.db) {
        let count: u32 = traced.db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{table}");
    }
}

fn tables_of_workspaces(db: &rusqlite::Connection) -> BTreeSet<String> {
    let mut statement = db
        .prepare(
            "SELECT t.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND c.name = 'workspace_id'",
        )
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A new table with rows of workspaces must be added to the deletion of workspaces.
#[test]
fn workspace_deletion_covers_every_table() {
    let with_steps = ["event", "delivery", "idempotency_key", "incident", "endpoint", "channel", "resource", "erasure"];
    let covered = with_steps.into_iter().chain(purge::BY_KEY.map(|(table, _)| table));
    assert_eq!(tables_of_workspaces(&TracedDb::new().db), covered.map(str::to_owned).collect());
}
