//! What users change of themselves.

use serde_json::json;
use tidings_domain::access::Role;

use crate::harness::Service;
use crate::people::{Browser, PASSWORD, person};

const ANA: &str = "ana@example.com";
const NEW: &str = "another long phrase";

#[tokio::test]
async fn password_change_renews_this_session_and_ends_the_others() {
    let service = Service::start().await;
    person(&service, ANA, Some(Role::Viewer)).await;
    let (mut here, mut there) = (Browser::of(&service, ANA).await, Browser::of(&service, ANA).await);
    let before = here.cookie.clone();
    let change = |current: &str, new: &str| json!({"currentPassword": current, "newPassword": new});
    let path = "/api/account/password";

    for (body, pointers) in [
        (change("not it", NEW), ["/currentPassword"]),
        (change(PASSWORD, "short"), ["/newPassword"]),
        (change(PASSWORD, "password123"), ["/newPassword"]),
        (change(PASSWORD, ANA), ["/newPassword"]),
        (change(PASSWORD, &"ü".repeat(129)), ["/newPassword"]),
    ] {
        assert_eq!(here.post(path, &body).await.problem(422, "invalid"), pointers, "{body}");
    }
    there.get("/api/session").await.expect(200);

    let changed = here.post(path, &change(PASSWORD, NEW)).await.expect(200);
    assert_eq!(changed["user"]["email"], ANA);
    assert_ne!(here.cookie, before, "the session is renewed");
    here.get("/api/session").await.expect(200);
    there.get("/api/session").await.problem(401, "unauthenticated");
    Browser { cookie: before, ..Browser::new(&service) }.get("/api/session").await.problem(401, "unauthenticated");
    Browser::new(&service).sign_in(ANA, PASSWORD).await.problem(401, "wrong_credentials");
    Browser::new(&service).sign_in(ANA, NEW).await.expect(200);
}

#[tokio::test]
async fn wrong_current_passwords_are_limited_as_sign_ins_are() {
    let service = Service::start().await;
    person(&service, ANA, Some(Role::Viewer)).await;
    let mut thief = Browser::of(&service, ANA).await;
    let mut refused = 0;
    for guess in 0..30 {
        let body = json!({"currentPassword": format!("guess {guess}"), "newPassword": NEW});
        let answered = thief.post("/api/account/password", &body).await;
        refused += u32::from(answered.status == 429);
    }
    assert!(refused >= 20, "{refused}");
    thief.get("/api/session").await.expect(200);
}

#[tokio::test]
async fn new_emails_do_not_give_new_guesses() {
    let service = Service::start().await;
    person(&service, ANA, Some(Role::Viewer)).await;
    let mut thief = Browser::of(&service, ANA).await;
    let mut admitted = 0;
    for guess in 0..20 {
        thief.patch("/api/account", &json!({"email": format!("ana{guess}@example.com")})).await.expect(200);
        let body = json!({"currentPassword": format!("guess {guess}"), "newPassword": NEW});
        admitted += u32::from(thief.post("/api/account/password", &body).await.status == 422);
    }
    assert!(admitted <= 12, "{admitted}");
}

#[tokio::test]
async fn account_edits_merge_and_conflict_by_revision() {
    let service = Service::start().await;
    person(&service, ANA, Some(Role::Viewer)).await;
    person(&service, "ben@example.com", None).await;
    let mut ana = Browser::of(&service, ANA).await;
    let account = ana.get("/api/account").await.expect(200);
    assert_eq!((&account["name"], &account["revision"]), (&json!("ana"), &json!(1)));
    let saved = ana.patch("/api/account", &json!({"name": "Ana"})).await;
    assert_eq!(saved.header("etag"), Some("\"2\""));
    assert_eq!(saved.expect(200)["account"]["email"], ANA);
    ana.patch("/api/account", &json!({"email": "BEN@example.com"})).await.problem(409, "email_taken");
    for (body, pointers) in [
        (json!({"email": "nonsense"}), vec!["/email"]),
        (json!({"name": ""}), vec!["/name"]),
        (json!({"name": "a\nb", "isOperator": true}), vec!["/isOperator", "/name"]),
        (json!({"email": null}), vec!["/email"]),
    ] {
        let mut found = ana.patch("/api/account", &body).await.problem(422, "invalid");
        found.sort();
        assert_eq!(found, pointers, "{body}");
    }
    let saved = ana.patch("/api/account", &json!({"email": "ana@example.org"})).await.expect(200);
    assert_eq!(saved["account"]["revision"], 3);
    Browser::new(&service).sign_in(ANA, PASSWORD).await.problem(401, "wrong_credentials");
    Browser::of(&service, "ana@example.org").await;
}

#[tokio::test]
async fn account_needs_a_session_and_no_key() {
    let service = Service::start().await;
    for (method, path) in tidings_web::api::instance_routes() {
        if path.starts_with("/api/invitations") || (method == "POST" && path == "/api/session") {
            continue;
        }
        let path = path.replace("{id}", "ses_00000000000000000000000000000000").replace("{workspace}", "default");
        let mut visitor = Browser::new(&service);
        visitor.send(method.as_str(), &path, None).await.problem(401, "unauthenticated");
        let request = service.bare(method.as_str(), &path).header("authorization", format!("Bearer {}", service.key));
        let answered = service.execute(request.body(http_body_util::Full::default()).unwrap()).await;
        answered.problem(401, "unauthenticated");
    }
}
