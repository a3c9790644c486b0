//! Members, roles and invitations.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_domain::access::Role;
use tidings_domain::time::Timestamp;
use tidings_engine::Options;
use tidings_engine::clock::ManualClock;
use tidings_engine::settings::SettingsLimits;

use crate::harness::Service;
use crate::people::{Browser, PASSWORD, default, person};

/// A service with one member of each role: `owner@example.com` and so on.
async fn with_everyone() -> Service {
    let service = Service::start().await;
    for role in Role::ALL {
        person(&service, &email(role), Some(role)).await;
    }
    service
}

fn email(role: Role) -> String {
    format!("{}@example.com", role.as_str())
}

/// The id of the member with this email.
async fn id_of(browser: &mut Browser<'_>, email: &str) -> String {
    let members = browser.get(&default("/members")).await.expect(200);
    let found = members["data"].as_array().unwrap().iter().find(|member| member["email"] == email);
    found.unwrap_or_else(|| panic!("{members}"))["userId"].as_str().unwrap().to_owned()
}

fn secret_of(invited: &Value) -> String {
    let url = invited["url"].as_str().unwrap();
    url.strip_prefix("https://tidings.example.com/invitations/").unwrap_or_else(|| panic!("{url}")).to_owned()
}

#[tokio::test]
async fn every_role_may_do_what_the_table_says() {
    let service = with_everyone().await;
    let channel = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/hook"}});
    let invitation = json!({"email": "new@example.com", "role": "member"});
    for role in Role::ALL {
        let mut browser = Browser::of(&service, &email(role)).await;
        browser.get(&default("/channels")).await.expect(200);
        browser.get(&default("/members")).await.expect(200);
        let (created, audit) = match role >= Role::Admin {
            true => (201, 200),
            false => (403, 403),
        };
        for (path, body) in
            [("/channels", &channel), ("/invitations", &invitation), ("/api-keys", &json!({"name": "k"}))]
        {
            let answered = browser.post(&default(path), body).await;
            assert_eq!(answered.status, created, "{role:?} {path}: {}", answered.text);
            if created == 403 {
                answered.problem(403, "forbidden");
            }
        }
        assert_eq!(browser.get(&default("/audit-log")).await.status, audit, "{role:?}");
        if role < Role::Owner {
            browser.delete(&default("")).await.problem(403, "forbidden");
        }
    }
}

#[tokio::test]
async fn admins_manage_members_but_no_owners() {
    let service = with_everyone().await;
    let mut admin = Browser::of(&service, &email(Role::Admin)).await;
    let member = default(&format!("/members/{}", id_of(&mut admin, &email(Role::Member)).await));
    let owner = default(&format!("/members/{}", id_of(&mut admin, &email(Role::Owner)).await));
    assert_eq!(admin.patch(&member, &json!({"role": "admin"})).await.expect(200)["member"]["role"], "admin");
    admin.patch(&member, &json!({"role": "owner"})).await.problem(403, "forbidden");
    admin.patch(&owner, &json!({"role": "viewer"})).await.problem(403, "forbidden");
    admin.delete(&owner).await.problem(403, "forbidden");
    admin
        .post(&default("/invitations"), &json!({"email": "new@example.com", "role": "owner"}))
        .await
        .problem(403, "forbidden");
    for (body, pointers) in [(json!({}), ["/role"]), (json!({"role": "king"}), ["/role"])] {
        assert_eq!(admin.patch(&member, &body).await.problem(422, "invalid"), pointers);
    }
    let unknown = default("/members/usr_00000000000000000000000000000000");
    admin.patch(&unknown, &json!({"role": "viewer"})).await.problem(404, "not_found");
    admin.delete(&unknown).await.problem(404, "not_found");
    admin.get(&unknown).await.problem(404, "not_found");

    // Who is removed has no access from then on, with the session that it has.
    let mut removed = Browser::of(&service, &email(Role::Member)).await;
    removed.get(&default("/channels")).await.expect(200);
    admin.delete(&member).await.expect(204);
    removed.get(&default("/channels")).await.problem(404, "not_found");
    removed.get("/api/session").await.expect(200);
    admin.delete(&member).await.problem(404, "not_found");

    // A key acts as an admin.
    let viewer = id_of(&mut admin, &email(Role::Viewer)).await;
    service.patch(&format!("/members/{viewer}"), &json!({"role": "member"})).await.expect(200);
    service.patch(&format!("/members/{viewer}"), &json!({"role": "owner"})).await.problem(403, "forbidden");
}

#[tokio::test]
async fn members_leave_but_not_the_last_owner() {
    let service = with_everyone().await;
    let mut viewer = Browser::of(&service, &email(Role::Viewer)).await;
    let other = default(&format!("/members/{}", id_of(&mut viewer, &email(Role::Member)).await));
    viewer.delete(&other).await.problem(403, "forbidden");
    let own = default(&format!("/members/{}", id_of(&mut viewer, &email(Role::Viewer)).await));
    viewer.delete(&own).await.expect(204);
    viewer.get(&default("/members")).await.problem(404, "not_found");

    let mut owner = Browser::of(&service, &email(Role::Owner)).await;
    let first = default(&format!("/members/{}", id_of(&mut owner, "first@example.com").await));
    let own = default(&format!("/members/{}", id_of(&mut owner, &email(Role::Owner)).await));
    owner.delete(&first).await.expect(204);
    for _ in 0..2 {
        owner.patch(&own, &json!({"role": "admin"})).await.problem(409, "last_owner");
        owner.delete(&own).await.problem(409, "last_owner");
    }
    let admin = default(&format!("/members/{}", id_of(&mut owner, &email(Role::Admin)).await));
    owner.patch(&admin, &json!({"role": "owner"})).await.expect(200);
    owner.patch(&own, &json!({"role": "viewer"})).await.expect(200);
    owner.patch(&own, &json!({"role": "owner"})).await.problem(403, "forbidden");
}

#[tokio::test]
async fn two_owners_who_demote_each_other_leave_one() {
    let service = with_everyone().await;
    let (mut first, mut second) =
        (Browser::of(&service, "first@example.com").await, Browser::of(&service, &email(Role::Owner)).await);
    let (id, other) = (id_of(&mut first, "first@example.com").await, id_of(&mut first, &email(Role::Owner)).await);
    let (own, others) = (default(&format!("/members/{id}")), default(&format!("/members/{other}")));
    let demotion = json!({"role": "viewer"});
    let (a, b) = tokio::join!(first.patch(&others, &demotion), second.patch(&own, &demotion));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    // Who is second is no owner any more (403), or meets the last one (409).
    assert!(statuses[0] == 200 && matches!(statuses[1], 403 | 409), "{statuses:?}");
}

#[tokio::test]
async fn invitation_makes_a_user_once() {
    let service = with_everyone().await;
    let mut admin = Browser::of(&service, &email(Role::Admin)).await;
    let invited = admin.post(&default("/invitations"), &json!({"email": "New@example.com", "role": "member"})).await;
    assert_eq!(invited.header("cache-control"), Some("no-store"));
    let invited = invited.expect(201);
    let secret = secret_of(&invited);
    let listed = admin.get(&default("/invitations")).await.expect(200);
    assert_eq!(listed["data"][0]["id"], invited["invitation"]["id"]);
    assert_eq!(listed["data"][0]["invitedBy"], "admin");
    assert!(!listed.to_string().contains(&secret));

    let (link, accept) = (format!("/api/invitations/{secret}"), format!("/api/invitations/{secret}/accept"));
    let mut new = Browser::new(&service);
    let offer = new.get(&link).await.expect(200);
    assert_eq!((&offer["workspaceSlug"], &offer["hasUser"]), (&json!("default"), &json!(false)));
    let mut pointers = new.post(&accept, &json!({})).await.problem(422, "invalid");
    pointers.sort();
    assert_eq!(pointers, ["/name", "/password"]);
    assert_eq!(
        new.post(&accept, &json!({"name": "New", "password": "new@example.com"})).await.problem(422, "invalid"),
        ["/password"]
    );
    // From another site it is refused.
    let body = json!({"name": "New", "password": PASSWORD});
    new.site = Some("cross-site");
    new.post(&accept, &body).await.problem(403, "cross_site");
    new.site = Some("same-origin");
    let accepted = new.post(&accept, &body).await.expect(200);
    assert_eq!(accepted["workspace"]["role"], "member");
    new.get(&default("/channels")).await.expect(200);

    // A second time it opens nothing.
    Browser::new(&service).post(&accept, &body).await.problem(409, "invitation_used");
    new.post(&accept, &json!({})).await.problem(409, "invitation_used");
    new.get(&link).await.problem(409, "invitation_used");
    for unknown in ["", "x", &"0".repeat(64)] {
        let answered = Browser::new(&service).get(&format!("/api/invitations/{unknown}")).await;
        answered.problem(404, "not_found");
    }
    let emails = admin.get(&default("/members")).await.expect(200);
    let new_ones = emails["data"].as_array().unwrap().iter().filter(|member| member["email"] == "New@example.com");
    assert_eq!(new_ones.count(), 1);
}

#[tokio::test]
async fn invitation_accepted_by_two_at_once_makes_one_member() {
    let service = with_everyone().await;
    let mut admin = Browser::of(&service, &email(Role::Admin)).await;
    let invited = admin.post(&default("/invitations"), &json!({"email": "new@example.com", "role": "viewer"})).await;
    let accept = format!("/api/invitations/{}/accept", secret_of(&invited.expect(201)));
    let body = json!({"name": "New", "password": PASSWORD});
    let (mut first, mut second) = (Browser::new(&service), Browser::new(&service));
    let (a, b) = tokio::join!(first.post(&accept, &body), second.post(&accept, &body));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    // The second meets the used invitation, or the user that the first made.
    assert!(statuses[0] == 200 && matches!(statuses[1], 401 | 409), "{statuses:?}");
}

#[tokio::test]
async fn invitation_of_a_user_needs_its_session() {
    let service = with_everyone().await;
    person(&service, "ben@example.com", None).await;
    let mut admin = Browser::of(&service, &email(Role::Admin)).await;
    let invite = json!({"email": "ben@example.com", "role": "viewer"});
    let former = secret_of(&admin.post(&default("/invitations"), &invite).await.expect(201));
    let secret = secret_of(&admin.post(&default("/invitations"), &invite).await.expect(201));
    let accept = |secret: &str| format!("/api/invitations/{secret}/accept");
    let mut visitor = Browser::new(&service);
    visitor.post(&accept(&former), &json!({})).await.problem(404, "not_found");
    visitor.post(&accept(&secret), &json!({"name": "Ben", "password": PASSWORD})).await.problem(401, "unauthenticated");
    admin.post(&accept(&secret), &json!({})).await.problem(409, "invitation_for_another");
    let mut ben = Browser::of(&service, "ben@example.com").await;
    assert_eq!(ben.post(&accept(&secret), &json!({"name": "B"})).await.problem(422, "invalid"), ["/name"]);
    ben.post(&accept(&secret), &json!({})).await.expect(200);
    ben.get(&default("/channels")).await.expect(200);
    admin.post(&default("/invitations"), &invite).await.problem(409, "already_member");
    for (body, pointers) in [
        (json!({"email": "nonsense", "role": "viewer"}), vec!["/email"]),
        (json!({"email": "a@example.com", "role": "operator", "note": ""}), vec!["/note", "/role"]),
    ] {
        let mut found = admin.post(&default("/invitations"), &body).await.problem(422, "invalid");
        found.sort();
        assert_eq!(found, pointers);
    }
}

#[tokio::test]
async fn admins_do_not_replace_the_invitation_of_an_owner() {
    let service = with_everyone().await;
    let mut owner = Browser::of(&service, &email(Role::Owner)).await;
    let mut admin = Browser::of(&service, &email(Role::Admin)).await;
    let invite = |role: &str| json!({"email": "New@example.com", "role": role});
    let first = secret_of(&owner.post(&default("/invitations"), &invite("owner")).await.expect(201));
    admin.post(&default("/invitations"), &invite("viewer")).await.problem(403, "forbidden");
    service.post("/invitations", &invite("viewer")).await.problem(403, "forbidden");
    Browser::new(&service).get(&format!("/api/invitations/{first}")).await.expect(200);
    let second = owner.post(&default("/invitations"), &invite("admin")).await.expect(201);
    admin.post(&default("/invitations"), &invite("viewer")).await.expect(201);
    // What was replaced is found in the audit log.
    let replaced = second["invitation"]["id"].as_str().unwrap();
    let log = admin.get(&default(&format!("/audit-log?target=invitation&targetId={replaced}"))).await.expect(200);
    let actions: Vec<_> = log["data"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["invitation.deleted", "invitation.created"]);
}

#[tokio::test]
async fn quotas_hold_for_requests_that_arrive_together() {
    let settings = SettingsLimits { members_max: 6, api_keys_max: 6, ..SettingsLimits::default() };
    let options = Options { settings, ..Options::default() };
    let service = Service::start_with(options, Arc::new(tidings_engine::clock::SystemClock::default())).await;
    for (path, body) in [("/api-keys", json!({"name": "k"})), ("/invitations", json!({"role": "viewer"}))] {
        let requests = (0..20).map(|n| {
            let mut body = body.clone();
            if path == "/invitations" {
                body["email"] = json!(format!("p{n}@example.com"));
            }
            let service = &service;
            async move { service.post(path, &body).await }
        });
        for answered in futures_util::future::join_all(requests).await {
            if answered.status != 201 {
                answered.problem(403, "PT403");
            }
        }
    }
    let quotas = service.get("/quotas").await.expect(200);
    for name in ["members", "api_keys"] {
        let quota = quotas["data"].as_array().unwrap().iter().find(|quota| quota["name"] == name).unwrap();
        assert_eq!((&quota["used"], &quota["max"]), (&json!(6), &json!(6)), "{name}");
    }
}

#[tokio::test]
async fn invitation_expires_and_can_be_withdrawn() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_790_000_000_000)));
    let service = Service::start_at(Arc::clone(&clock)).await;
    person(&service, "owner@example.com", Some(Role::Owner)).await;
    let invite = |email: &str| json!({"email": email, "role": "viewer"});
    let mut owner = Browser::of(&service, "owner@example.com").await;
    let withdrawn = owner.post(&default("/invitations"), &invite("a@example.com")).await.expect(201);
    let late = secret_of(&owner.post(&default("/invitations"), &invite("b@example.com")).await.expect(201));
    let path = default(&format!("/invitations/{}", withdrawn["invitation"]["id"].as_str().unwrap()));
    owner.delete(&path).await.expect(204);
    owner.delete(&path).await.problem(404, "not_found");
    let accept = format!("/api/invitations/{}/accept", secret_of(&withdrawn));
    let body = json!({"name": "A", "password": PASSWORD});
    Browser::new(&service).post(&accept, &body).await.problem(404, "not_found");
    clock.advance_ms(7 * 86_400_000);
    let accept = format!("/api/invitations/{late}/accept");
    Browser::new(&service).post(&accept, &body).await.problem(409, "invitation_expired");
    assert_eq!(owner.get(&default("/invitations")).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn members_and_invitations_have_one_quota() {
    let settings = SettingsLimits { members_max: 3, ..SettingsLimits::default() };
    let options = Options { settings, ..Options::default() };
    let service = Service::start_with(options, Arc::new(tidings_engine::clock::SystemClock::default())).await;
    person(&service, "owner@example.com", Some(Role::Owner)).await;
    let mut owner = Browser::of(&service, "owner@example.com").await;
    let invite = |email: &str| json!({"email": email, "role": "viewer"});
    owner.post(&default("/invitations"), &invite("a@example.com")).await.expect(201);
    let refused = owner.post(&default("/invitations"), &invite("b@example.com")).await;
    let body = refused.json();
    assert_eq!((&body["used"], &body["max"]), (&json!(3), &json!(3)));
    refused.problem(403, "PT403");
    owner.post(&default("/invitations"), &invite("a@example.com")).await.expect(201);
    let quotas = owner.get(&default("/quotas")).await.expect(200);
    let members = quotas["data"].as_array().unwrap().iter().find(|quota| quota["name"] == "members").unwrap().clone();
    assert_eq!(members, json!({"name": "members", "used": 3, "max": 3}));
}
