//! Sessions.

use tidings_domain::access::Role;
use tidings_domain::account::{SESSION_IDLE_MS, SESSION_MAX_MS, Session};

use super::fixture::Fixture;
use super::samples::{NOW, after_ms, assert_refused};
use crate::accounts::{NewSession, PasswordChange, SESSIONS_MAX, SignedIn, Use};
use crate::retention::{PruneCursor, Retention};

pub(super) async fn session_reads_back_with_user_and_roles(fixture: Fixture) {
    let store = &fixture.store;
    let record = fixture.new_user("ana@example.com");
    let roles = vec![(fixture.ours.id, Role::Owner), (fixture.theirs.id, Role::Viewer)];
    store.create_user(record.clone(), roles.clone(), vec![]).await.unwrap();
    let new = fixture.new_session(record.user.id, NOW);
    store.create_session(new.clone(), NOW, fixture.audited(fixture.ours.id)).await.unwrap();
    let expected = SignedIn { session: new.session.clone(), user: record.user.clone(), memberships: roles };
    assert_eq!(store.session(new.hash, NOW).await.unwrap(), Some(expected));
    assert_eq!(store.session(fixture.hash(), NOW).await.unwrap(), None);
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 1);

    let mut bare = fixture.new_session(record.user.id, after_ms(1));
    (bare.session.address, bare.session.user_agent) = (None, None);
    store.create_session(bare.clone(), NOW, vec![]).await.unwrap();
    let listed = store.sessions(record.user.id, NOW).await.unwrap();
    assert_eq!(listed, [bare.session, new.session], "newest first");
    assert!(store.sessions(fixture.id(), NOW).await.unwrap().is_empty());
}

pub(super) async fn create_session_after_password_change_is_conflict(fixture: Fixture) {
    let user = fixture.member("ana@example.com", Role::Owner).await;
    let change = PasswordChange {
        user_id: user.id,
        password_hash: "$new".into(),
        at: after_ms(1),
        verified: None,
        renewed: None,
    };
    fixture.store.change_password(change, vec![]).await.unwrap();
    let late = fixture.new_session(user.id, after_ms(2));
    assert_refused!(fixture.store.create_session(late.clone(), user.password_changed_at, vec![]).await, Conflict);
    assert_eq!(fixture.store.session(late.hash, NOW).await.unwrap(), None);
    fixture.store.create_session(late.clone(), after_ms(1), vec![]).await.unwrap();
    let unknown = fixture.new_session(fixture.id(), NOW);
    assert_refused!(fixture.store.create_session(unknown, NOW, vec![]).await, NotFound);
    let taken = NewSession { hash: late.hash, ..fixture.new_session(user.id, after_ms(2)) };
    assert_refused!(fixture.store.create_session(taken, after_ms(1), vec![]).await, Exists);
}

pub(super) async fn session_replaces_the_one_of_the_browser(fixture: Fixture) {
    let user = fixture.member("ana@example.com", Role::Owner).await;
    let (before, other) = (fixture.session(&user, NOW).await, fixture.session(&user, NOW).await);
    let renewed = NewSession { replaces: Some(before.hash), ..fixture.new_session(user.id, after_ms(1)) };
    fixture.store.create_session(renewed.clone(), user.password_changed_at, vec![]).await.unwrap();
    assert_eq!(fixture.store.session(before.hash, NOW).await.unwrap(), None);
    for kept in [other, renewed] {
        assert!(fixture.store.session(kept.hash, NOW).await.unwrap().is_some());
    }
}

pub(super) async fn session_expires_unless_it_is_used(fixture: Fixture) {
    let store = &fixture.store;
    let user = fixture.member("ana@example.com", Role::Owner).await;
    let NewSession { session, hash, .. } = fixture.session(&user, NOW).await;
    let id = session.id;
    let end = after_ms(SESSION_IDLE_MS);
    assert!(store.session(hash, end.minus_ms(1)).await.unwrap().is_some());
    assert_eq!(store.session(hash, end).await.unwrap(), None);
    assert!(store.sessions(user.id, end).await.unwrap().is_empty());

    let used = |at, address: Option<&str>| vec![Use { id, at, address: address.map(str::to_owned) }];
    let later = after_ms(1_000);
    let unknown = Use { id: fixture.id(), at: later, address: None };
    store.record_session_uses([used(later, Some("198.51.100.1")), vec![unknown]].concat()).await.unwrap();
    store.record_session_uses(used(after_ms(500), Some("recorded late"))).await.unwrap();
    store.record_session_uses(used(later, None)).await.unwrap();
    let expected = Session {
        last_seen_at: later,
        expires_at: later.plus_ms(SESSION_IDLE_MS),
        address: Some("198.51.100.1".into()),
        ..session
    };
    assert_eq!(store.session(hash, end).await.unwrap().map(|found| found.session), Some(expected));

    // Use cannot defer it beyond the maximum, nor bring it back.
    let mut at = later;
    while at < after_ms(SESSION_MAX_MS) {
        store.record_session_uses(used(at, None)).await.unwrap();
        at = at.plus_ms(SESSION_IDLE_MS - 1);
    }
    assert!(store.session(hash, after_ms(SESSION_MAX_MS - 1)).await.unwrap().is_some());
    store.record_session_uses(used(after_ms(SESSION_MAX_MS), None)).await.unwrap();
    assert_eq!(store.session(hash, after_ms(SESSION_MAX_MS)).await.unwrap(), None);
}

pub(super) async fn delete_session_ends_only_that_one(fixture: Fixture) {
    let store = &fixture.store;
    let user = fixture.member("ana@example.com", Role::Owner).await;
    let other = fixture.member("bo@example.com", Role::Owner).await;
    let (ended, kept) = (fixture.session(&user, NOW).await, fixture.session(&user, NOW).await);
    let audit = || fixture.audited(fixture.ours.id);
    assert_refused!(store.delete_session(other.id, ended.session.id, audit()).await, NotFound);
    store.delete_session(user.id, ended.session.id, audit()).await.unwrap();
    assert_eq!(store.session(ended.hash, NOW).await.unwrap(), None);
    assert!(store.session(kept.hash, NOW).await.unwrap().is_some());
    assert_refused!(store.delete_session(user.id, ended.session.id, audit()).await, NotFound);
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 1);
}

pub(super) async fn delete_sessions_keeps_the_excepted_one(fixture: Fixture) {
    let store = &fixture.store;
    let user = fixture.member("ana@example.com", Role::Owner).await;
    let other = fixture.member("bo@example.com", Role::Owner).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(fixture.session(&user, NOW).await);
    }
    let others = fixture.session(&other, NOW).await;
    let (kept, audit) = (sessions[1].clone(), || fixture.audited(fixture.ours.id));
    assert_eq!(store.delete_sessions(user.id, Some(kept.session.id), audit()).await.unwrap(), 2);
    assert_eq!(store.sessions(user.id, NOW).await.unwrap(), std::slice::from_ref(&kept.session));
    assert_eq!(store.delete_sessions(user.id, Some(kept.session.id), audit()).await.unwrap(), 0);
    assert_eq!(fixture.audit_count(fixture.ours.id).await, 1, "nothing was changed by the second");
    assert_eq!(store.delete_sessions(user.id, None, audit()).await.unwrap(), 1);
    assert!(store.sessions(user.id, NOW).await.unwrap().is_empty());
    assert!(store.session(others.hash, NOW).await.unwrap().is_some());
}

pub(super) async fn create_session_ends_the_oldest_of_too_many(fixture: Fixture) {
    let user = fixture.member("ana@example.com", Role::Owner).await;
    let other = fixture.member("bo@example.com", Role::Owner).await;
    let others = fixture.session(&other, NOW).await;
    let mut sessions = Vec::new();
    for number in 0..u64::from(SESSIONS_MAX) + 2 {
        sessions.push(fixture.session(&user, after_ms(number)).await);
    }
    let found = fixture.store.sessions(user.id, NOW).await.unwrap();
    assert_eq!(found.len(), SESSIONS_MAX as usize);
    for ended in &sessions[..2] {
        assert_eq!(fixture.store.session(ended.hash, NOW).await.unwrap(), None);
    }
    assert!(fixture.store.session(others.hash, NOW).await.unwrap().is_some());
}

pub(super) async fn prune_deletes_expired_sessions(fixture: Fixture) {
    let user = fixture.member("ana@example.com", Role::Owner).await;
    for _ in 0..3 {
        fixture.session(&user, NOW).await;
    }
    let kept = fixture.session(&user, after_ms(1)).await;
    let (mut from, mut deleted, now) = (PruneCursor::default(), 0, after_ms(SESSION_IDLE_MS));
    loop {
        let pruned = fixture.store.prune(now, Retention::default(), from, 2).await.unwrap();
        deleted += pruned.sessions;
        match pruned.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(deleted, 3);
    assert_eq!(fixture.store.sessions(user.id, NOW).await.unwrap(), [kept.session]);
}
