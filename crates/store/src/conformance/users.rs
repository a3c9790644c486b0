//! Users and members.

use std::sync::Arc;

use tidings_domain::access::Role;
use tidings_domain::account::User;

use super::fixture::Fixture;
use super::samples::{NOW, after_ms, assert_refused};
use crate::accounts::{Member, PasswordChange, UserWorkspace};

pub(super) async fn user_all_fields_read_back(fixture: Fixture) {
    let store = &fixture.store;
    assert!(!store.has_users().await.unwrap());
    let mut record = fixture.new_user("Zoë@Example.com");
    record.user.is_operator = true;
    store.create_user(record.clone(), vec![], vec![]).await.unwrap();
    assert!(store.has_users().await.unwrap());
    assert_eq!(store.user(record.user.id).await.unwrap(), Some(record.clone()));
    for email in ["Zoë@Example.com", "zoë@example.com", "ZOË@EXAMPLE.COM"] {
        assert_eq!(store.user_by_email(email).await.unwrap(), Some(record.clone()), "{email}");
    }
    assert_eq!(store.user_by_email("zoe@example.com").await.unwrap(), None);
    assert_eq!(store.user(fixture.id()).await.unwrap(), None);
    assert!(store.user_workspaces(record.user.id).await.unwrap().is_empty());
    let other = fixture.member("ana@example.com", Role::Owner).await;
    assert_eq!(store.users().await.unwrap(), [other, record.user]);
}

pub(super) async fn create_user_taken_email_is_refused(fixture: Fixture) {
    let first = fixture.member("ana@example.com", Role::Owner).await;
    let second = fixture.new_user("ANA@example.com");
    let roles = vec![(fixture.theirs.id, Role::Owner)];
    let audit = fixture.audited(fixture.theirs.id);
    assert_refused!(fixture.store.create_user(second.clone(), roles, audit).await, Exists);
    assert_eq!(fixture.store.user(second.user.id).await.unwrap(), None);
    assert_eq!(fixture.audit_count(fixture.theirs.id).await, 0);
    assert!(fixture.store.members(fixture.theirs.id).await.unwrap().is_empty());
    assert_eq!(fixture.role(fixture.ours, first.id).await, Some(Role::Owner));
}

pub(super) async fn create_user_unknown_workspace_is_not_found(fixture: Fixture) {
    let record = fixture.new_user("ana@example.com");
    let roles = vec![(fixture.ours.id, Role::Owner), (fixture.id(), Role::Owner)];
    assert_refused!(fixture.store.create_user(record.clone(), roles, vec![]).await, NotFound);
    assert_eq!(fixture.store.user(record.user.id).await.unwrap(), None);
    assert!(fixture.store.members(fixture.ours.id).await.unwrap().is_empty());
}

pub(super) async fn create_user_concurrently_with_one_email_creates_one(fixture: Fixture) {
    let emails = ["ana@example.com", "Ana@example.com", "ANA@example.com", "ana@EXAMPLE.com"];
    let tasks = emails.map(|email| {
        let (store, record) = (Arc::clone(&fixture.store), fixture.new_user(email));
        tokio::spawn(async move { store.create_user(record, vec![], vec![]).await })
    });
    let mut created = 0;
    for task in tasks {
        created += usize::from(task.await.unwrap().is_ok());
    }
    assert_eq!(created, 1);
}

pub(super) async fn update_user_other_revision_is_conflict(fixture: Fixture) {
    let store = &fixture.store;
    let user = fixture.member("ana@example.com", Role::Owner).await;
    fixture.member("bo@example.com", Role::Viewer).await;
    let edited =
        User { email: "ana@example.org".into(), name: "Ana".into(), is_operator: true, revision: 2, ..user.clone() };
    store.update_user(edited.clone(), 1, fixture.audited(fixture.ours.id)).await.unwrap();
    assert_eq!(store.user_by_email("ANA@example.org").await.unwrap().map(|record| record.user), Some(edited.clone()));
    assert_eq!(store.user_by_email("ana@example.com").await.unwrap(), None);
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 1);

    let late = User { name: "late".into(), revision: 2, ..user.clone() };
    assert_refused!(store.update_user(late, 1, fixture.audited(fixture.ours.id)).await, Conflict);
    let taken = User { email: "BO@example.com".into(), revision: 3, ..edited.clone() };
    assert_refused!(store.update_user(taken, 2, fixture.audited(fixture.ours.id)).await, Exists);
    let unknown = User { id: fixture.id(), ..edited.clone() };
    assert_refused!(store.update_user(unknown, 1, vec![]).await, NotFound);
    assert_eq!(store.user(user.id).await.unwrap().map(|record| record.user), Some(edited));
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 1);
}

pub(super) async fn change_password_ends_all_sessions_but_the_renewed_one(fixture: Fixture) {
    let store = &fixture.store;
    let user = fixture.member("ana@example.com", Role::Owner).await;
    let other = fixture.member("bo@example.com", Role::Owner).await;
    let (first, second) = (fixture.session(&user, NOW).await, fixture.session(&user, NOW).await);
    let unaffected = fixture.session(&other, NOW).await;
    let renewed = fixture.new_session(user.id, after_ms(1));
    let change = PasswordChange {
        user_id: user.id,
        password_hash: "$argon2id$new".into(),
        at: NOW,
        verified: Some(user.password_changed_at),
        renewed: Some(renewed.clone()),
    };
    store.change_password(change.clone(), fixture.audited(fixture.ours.id)).await.unwrap();
    for ended in [first, second] {
        assert_eq!(store.session(ended.hash, NOW).await.unwrap(), None);
    }
    assert!(store.session(renewed.hash, NOW).await.unwrap().is_some());
    assert!(store.session(unaffected.hash, NOW).await.unwrap().is_some());
    let changed = store.user(user.id).await.unwrap().unwrap();
    assert_eq!(changed.password_hash, "$argon2id$new");
    assert!(changed.user.password_changed_at > user.password_changed_at, "although the clock did not move");
    assert_eq!(changed.user.revision, user.revision);
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 1);

    // Of two who verified the same password, one changes it.
    let again = PasswordChange { password_hash: "$argon2id$late".into(), renewed: None, ..change };
    assert_refused!(store.change_password(again.clone(), fixture.audited(fixture.ours.id)).await, Conflict);
    let unknown = PasswordChange { user_id: fixture.id(), ..again.clone() };
    assert_refused!(store.change_password(unknown, vec![]).await, NotFound);
    assert!(store.session(renewed.hash, NOW).await.unwrap().is_some());
    let reset = PasswordChange { verified: None, ..again };
    store.change_password(reset, vec![]).await.unwrap();
    assert_eq!(store.user(user.id).await.unwrap().unwrap().password_hash, "$argon2id$late");
    assert_eq!(store.session(renewed.hash, NOW).await.unwrap(), None);
}

pub(super) async fn member_reads_back_with_sessions(fixture: Fixture) {
    let store = &fixture.store;
    let ana = fixture.member("ana@example.com", Role::Owner).await;
    let bo = fixture.new_user("bo@example.com").user;
    store.create_user(fixture.new_user("unused@example.com"), vec![], vec![]).await.unwrap();
    let record = crate::accounts::UserRecord { user: bo.clone(), password_hash: "x".into() };
    store.create_user(record, vec![(fixture.theirs.id, Role::Viewer)], vec![]).await.unwrap();
    store
        .add_member(fixture.ours.id, bo.id, Role::Member, after_ms(5), fixture.audited(fixture.ours.id))
        .await
        .unwrap();
    fixture.session(&bo, after_ms(1)).await;
    fixture.session(&bo, after_ms(2)).await;
    let expected = [
        Member { user: ana, role: Role::Owner, joined_at: NOW, last_seen_at: None, sessions: 0 },
        Member {
            user: bo.clone(),
            role: Role::Member,
            joined_at: after_ms(5),
            last_seen_at: Some(after_ms(2)),
            sessions: 2,
        },
    ];
    assert_eq!(store.members(fixture.ours.id).await.unwrap(), expected);
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 1);

    let workspaces = store.user_workspaces(bo.id).await.unwrap();
    let named: Vec<_> = workspaces
        .iter()
        .map(|UserWorkspace { workspace, role, joined_at }| (&*workspace.slug, *role, *joined_at))
        .collect();
    assert_eq!(named, [("ours", Role::Member, after_ms(5)), ("theirs", Role::Viewer, NOW)]);

    for (workspace_id, user_id, error) in [
        (fixture.ours.id, bo.id, "already exists"),
        (fixture.id(), bo.id, "not found"),
        (fixture.ours.id, fixture.id(), "not found"),
    ] {
        let audit = fixture.audited(fixture.ours.id);
        let outcome = store.add_member(workspace_id, user_id, Role::Owner, NOW, audit).await;
        assert_eq!(outcome.unwrap_err().to_string(), error);
    }
    assert_eq!(fixture.role(fixture.ours, bo.id).await, Some(Role::Member));
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 1);
}

pub(super) async fn set_member_role_is_fenced_by_the_former_role(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    fixture.member("ana@example.com", Role::Owner).await;
    let bo = fixture.member("bo@example.com", Role::Member).await;
    let audit = || fixture.audited(ours.id);
    store.set_member_role(ours.id, bo.id, Role::Member, Role::Admin, audit()).await.unwrap();
    assert_eq!(fixture.role(ours, bo.id).await, Some(Role::Admin));
    assert_refused!(store.set_member_role(ours.id, bo.id, Role::Member, Role::Viewer, audit()).await, Conflict);
    assert_refused!(store.remove_member(ours.id, bo.id, Role::Member, audit()).await, Conflict);
    let theirs = fixture.theirs.id;
    assert_refused!(store.set_member_role(theirs, bo.id, Role::Admin, Role::Viewer, vec![]).await, NotFound);
    assert_refused!(store.remove_member(theirs, bo.id, Role::Admin, vec![]).await, NotFound);
    assert_refused!(store.remove_member(ours.id, fixture.id(), Role::Admin, vec![]).await, NotFound);
    assert_eq!(fixture.role(ours, bo.id).await, Some(Role::Admin));
    assert_eq!(fixture.audit_count(ours.id).await, 1);

    store.remove_member(ours.id, bo.id, Role::Admin, audit()).await.unwrap();
    assert_eq!(fixture.role(ours, bo.id).await, None);
    assert!(store.user(bo.id).await.unwrap().is_some(), "the user remains");
    assert_refused!(store.remove_member(ours.id, bo.id, Role::Admin, audit()).await, NotFound);
    assert_eq!(fixture.audit_count(ours.id).await, 2);
}

pub(super) async fn last_owner_cannot_be_demoted_or_removed(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let ana = fixture.member("ana@example.com", Role::Owner).await;
    // An owner of another workspace does not count.
    let bo = fixture.new_user("bo@example.com");
    let roles = vec![(ours.id, Role::Admin), (fixture.theirs.id, Role::Owner)];
    store.create_user(bo.clone(), roles, vec![]).await.unwrap();
    let audit = || fixture.audited(ours.id);
    assert_refused!(store.set_member_role(ours.id, ana.id, Role::Owner, Role::Admin, audit()).await, LastOwner);
    assert_refused!(store.remove_member(ours.id, ana.id, Role::Owner, audit()).await, LastOwner);
    store.set_member_role(ours.id, ana.id, Role::Owner, Role::Owner, vec![]).await.unwrap();
    assert_eq!(fixture.role(ours, ana.id).await, Some(Role::Owner));
    assert_eq!(fixture.audit_count(ours.id).await, 0);

    store.set_member_role(ours.id, bo.user.id, Role::Admin, Role::Owner, vec![]).await.unwrap();
    store.remove_member(ours.id, ana.id, Role::Owner, vec![]).await.unwrap();
    assert_refused!(store.remove_member(ours.id, bo.user.id, Role::Owner, vec![]).await, LastOwner);
}

pub(super) async fn owners_who_leave_at_once_leave_one(fixture: Fixture) {
    let ours = fixture.ours;
    let mut owners = Vec::new();
    for number in 0..4 {
        owners.push(fixture.member(&format!("owner{number}@example.com"), Role::Owner).await);
    }
    let tasks: Vec<_> = owners
        .iter()
        .enumerate()
        .map(|(number, owner)| {
            let (store, id) = (Arc::clone(&fixture.store), owner.id);
            tokio::spawn(async move {
                match number % 2 {
                    0 => store.remove_member(ours.id, id, Role::Owner, vec![]).await,
                    _ => store.set_member_role(ours.id, id, Role::Owner, Role::Viewer, vec![]).await,
                }
            })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        if let Err(error) = task.await.unwrap() {
            assert_eq!(error, crate::StoreError::LastOwner);
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
    let members = fixture.store.members(ours.id).await.unwrap();
    assert_eq!(members.iter().filter(|member| member.role == Role::Owner).count(), 1);
}
