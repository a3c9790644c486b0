//! Invitations.

use std::sync::Arc;

use tidings_domain::access::Role;
use tidings_domain::account::{INVITATION_MS, Invitation};

use super::fixture::Fixture;
use super::samples::{NOW, after_ms, assert_refused};
use crate::accounts::Acceptor;
use crate::retention::{PruneCursor, Retention};

const DAY_MS: u64 = 86_400_000;

pub(super) async fn invitation_all_fields_read_back(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let (invitation, hash) = (fixture.new_invitation(ours, "Bo@example.com", Role::Admin), fixture.hash());
    store.create_invitation(invitation.clone(), hash, fixture.audited(ours.id)).await.unwrap();
    let (found, workspace) = store.invitation(hash).await.unwrap().unwrap();
    assert_eq!((&found, &*workspace.slug), (&invitation, "ours"));
    assert_eq!(store.invitation(fixture.hash()).await.unwrap(), None);
    assert_eq!(store.invitations(ours.id, NOW).await.unwrap(), [invitation]);
    assert!(store.invitations(fixture.theirs.id, NOW).await.unwrap().is_empty());
    assert!(store.invitations(ours.id, after_ms(INVITATION_MS)).await.unwrap().is_empty(), "expired");
    assert_eq!(fixture.audit_count(ours.id).await, 1);
}

pub(super) async fn create_invitation_replaces_the_open_one_for_the_email(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let first = fixture.invite("bo@example.com", Role::Viewer).await;
    let another = fixture.invite("cy@example.com", Role::Viewer).await;
    let second = fixture.invite("BO@example.com", Role::Admin).await;
    assert_eq!(store.invitation(first).await.unwrap(), None);
    let roles: Vec<_> = store.invitations(ours.id, NOW).await.unwrap().iter().map(|open| open.role).collect();
    assert_eq!(roles, [Role::Viewer, Role::Admin]);
    let bo = fixture.new_user("bo@example.com");
    store.accept_invitation(second, NOW, Acceptor::New(bo), None, vec![]).await.unwrap();
    assert!(store.invitation(another).await.unwrap().is_some());

    let again = fixture.new_invitation(ours, "Bo@Example.com", Role::Owner);
    assert_refused!(store.create_invitation(again, fixture.hash(), fixture.audited(ours.id)).await, Exists);
    let unknown =
        Invitation { workspace_id: fixture.id(), ..fixture.new_invitation(ours, "x@example.com", Role::Owner) };
    assert_refused!(store.create_invitation(unknown, fixture.hash(), vec![]).await, NotFound);
    let elsewhere = fixture.new_invitation(fixture.theirs, "bo@example.com", Role::Owner);
    store.create_invitation(elsewhere, fixture.hash(), vec![]).await.unwrap();
    assert_eq!(fixture.audit_count(ours.id).await, 0);
}

pub(super) async fn accept_invitation_creates_user_membership_and_session(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let hash = fixture.invite("bo@example.com", Role::Admin).await;
    let bo = fixture.new_user("bo@example.com");
    let session = fixture.new_session(bo.user.id, after_ms(5));
    let acceptor = Acceptor::New(bo.clone());
    store
        .accept_invitation(hash, after_ms(5), acceptor.clone(), Some(session.clone()), fixture.audited(ours.id))
        .await
        .unwrap();
    assert_eq!(store.user_by_email("bo@example.com").await.unwrap(), Some(bo.clone()));
    let signed_in = store.session(session.hash, NOW).await.unwrap().unwrap();
    assert_eq!(signed_in.memberships, [(ours.id, Role::Admin)]);
    let (accepted, _) = store.invitation(hash).await.unwrap().unwrap();
    assert_eq!(accepted.accepted_at, Some(after_ms(5)));
    assert!(store.invitations(ours.id, NOW).await.unwrap().is_empty());
    assert_eq!(fixture.audit_count(ours.id).await, 1);

    // Who withdraws it at the same time must learn that there is a member now.
    assert_refused!(store.delete_invitation(ours.id, accepted.id, fixture.audited(ours.id)).await, NotFound);
    let twice = store.accept_invitation(hash, after_ms(6), acceptor, None, fixture.audited(ours.id)).await;
    assert_refused!(twice, Conflict);
    let cy = fixture.new_user("cy@example.com");
    let audit = fixture.audited(ours.id);
    assert_refused!(store.accept_invitation(hash, after_ms(6), Acceptor::New(cy), None, audit).await, Conflict);
    assert_eq!(store.user_by_email("cy@example.com").await.unwrap(), None);
    assert_eq!(fixture.audit_count(ours.id).await, 1);
}

pub(super) async fn accept_invitation_of_existing_user_adds_membership(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let bo = fixture.new_user("bo@example.com");
    store.create_user(bo.clone(), vec![(fixture.theirs.id, Role::Owner)], vec![]).await.unwrap();
    let hash = fixture.invite("bo@example.com", Role::Viewer).await;
    let taken = Acceptor::New(fixture.new_user("bo@example.com"));
    assert_refused!(store.accept_invitation(hash, NOW, taken, None, vec![]).await, Exists);
    let unknown = Acceptor::Existing(fixture.id());
    assert_refused!(store.accept_invitation(hash, NOW, unknown, None, vec![]).await, NotFound);
    store.accept_invitation(hash, NOW, Acceptor::Existing(bo.user.id), None, vec![]).await.unwrap();
    assert_eq!(fixture.role(ours, bo.user.id).await, Some(Role::Viewer));
    assert_eq!(fixture.role(fixture.theirs, bo.user.id).await, Some(Role::Owner));

    let member = fixture.invite("other@example.com", Role::Owner).await;
    let outcome = store.accept_invitation(member, NOW, Acceptor::Existing(bo.user.id), None, vec![]).await;
    assert_refused!(outcome, Exists);
    assert_eq!(fixture.role(ours, bo.user.id).await, Some(Role::Viewer), "no way to another role");
    let (open, _) = store.invitation(member).await.unwrap().unwrap();
    assert_eq!(open.accepted_at, None);
}

pub(super) async fn accept_invitation_expired_or_deleted_is_refused(fixture: Fixture) {
    let (store, ours) = (&fixture.store, fixture.ours);
    let hash = fixture.invite("bo@example.com", Role::Admin).await;
    let acceptor = || Acceptor::New(fixture.new_user("bo@example.com"));
    let late = store.accept_invitation(hash, after_ms(INVITATION_MS), acceptor(), None, vec![]).await;
    assert_refused!(late, Conflict);
    let (invitation, _) = store.invitation(hash).await.unwrap().unwrap();
    assert_refused!(store.delete_invitation(fixture.theirs.id, invitation.id, vec![]).await, NotFound);
    store.delete_invitation(ours.id, invitation.id, fixture.audited(ours.id)).await.unwrap();
    assert_refused!(store.delete_invitation(ours.id, invitation.id, fixture.audited(ours.id)).await, NotFound);
    assert_refused!(store.accept_invitation(hash, NOW, acceptor(), None, vec![]).await, NotFound);
    assert_eq!(store.user_by_email("bo@example.com").await.unwrap(), None);
    assert_eq!(fixture.audit_count(ours.id).await, 1);
}

pub(super) async fn accept_invitation_concurrently_is_accepted_once(fixture: Fixture) {
    let hash = fixture.invite("bo@example.com", Role::Admin).await;
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let store = Arc::clone(&fixture.store);
            let acceptor = Acceptor::New(fixture.new_user(&format!("bo{number}@example.com")));
            tokio::spawn(async move { store.accept_invitation(hash, NOW, acceptor, None, vec![]).await })
        })
        .collect();
    let mut accepted = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => accepted += 1,
            refused => assert_refused!(refused, Conflict),
        }
    }
    assert_eq!(accepted, 1);
    assert_eq!(fixture.store.members(fixture.ours.id).await.unwrap().len(), 1);
}

pub(super) async fn prune_deletes_invitations_a_month_after_expiry(fixture: Fixture) {
    let hash = fixture.invite("bo@example.com", Role::Admin).await;
    let accepted = fixture.invite("cy@example.com", Role::Admin).await;
    let acceptor = Acceptor::New(fixture.new_user("cy@example.com"));
    fixture.store.accept_invitation(accepted, NOW, acceptor, None, vec![]).await.unwrap();
    for (at, is_kept) in [(INVITATION_MS + 29 * DAY_MS, true), (INVITATION_MS + 30 * DAY_MS, false)] {
        let mut from = Some(PruneCursor::default());
        while let Some(cursor) = from {
            from = fixture.store.prune(after_ms(at), Retention::default(), cursor, 1).await.unwrap().next;
        }
        for hash in [hash, accepted] {
            assert_eq!(fixture.store.invitation(hash).await.unwrap().is_some(), is_kept);
        }
    }
    assert_eq!(fixture.store.members(fixture.ours.id).await.unwrap().len(), 1, "the member remains");
}
