//! Workspaces: those of users, and those that operators make and suspend; and the audit log.

use serde_json::{Value, json};
use tidings_domain::access::Role;

use crate::harness::Service;
use crate::people::{Browser, default, operator, person};

const OPERATOR: &str = "root@example.com";

#[tokio::test]
async fn operator_makes_lists_and_suspends_and_sees_nothing_inside() {
    let service = Service::start().await;
    operator(&service, OPERATOR).await;
    person(&service, "ana@example.com", Some(Role::Owner)).await;
    let mut root = Browser::of(&service, OPERATOR).await;
    let mut ana = Browser::of(&service, "ana@example.com").await;
    root.get(&default("/channels")).await.problem(404, "not_found");
    assert_eq!(root.get("/api/workspaces").await.expect(200)["data"], json!([]));
    let all = root.get("/api/workspaces?all=true").await.expect(200);
    assert_eq!(all["data"][0]["slug"], "default");
    assert_eq!(all["data"][0]["usage"], json!({"members": 2, "apiKeys": 2, "channels": 0}));
    ana.get("/api/workspaces?all=true").await.problem(403, "forbidden");
    ana.post("/api/workspaces", &json!({"slug": "acme"})).await.problem(403, "forbidden");
    ana.post("/api/workspaces/default/suspend", &json!({})).await;

    let new = json!({"slug": "acme", "name": "Acme", "timezone": "Europe/Zurich", "owner": "ana@example.com"});
    let made = root.post("/api/workspaces", &new).await.expect(201);
    assert_eq!(made["workspace"]["timezone"], "Europe/Zurich");
    root.post("/api/workspaces", &new).await.problem(409, "slug_taken");
    assert_eq!(ana.get("/api/workspaces/acme").await.expect(200)["name"], "Acme");
    root.get("/api/workspaces/acme").await.problem(404, "not_found");
    for (body, pointers) in [
        (json!({}), vec!["/slug"]),
        (
            json!({"slug": "Acme Corp", "name": "\n", "timezone": "Mars/Base", "locale": "xx", "owner": "absent@example.com"}),
            vec!["/locale", "/name", "/owner", "/slug", "/timezone"],
        ),
    ] {
        let mut found = root.post("/api/workspaces", &body).await.problem(422, "invalid");
        found.sort();
        assert_eq!(found, pointers);
    }

    ana.send("POST", "/api/workspaces/acme/suspend", None).await.problem(403, "forbidden");
    for _ in 0..2 {
        let suspended = root.send("POST", "/api/workspaces/default/suspend", None).await.expect(200);
        assert!(suspended["workspace"]["suspendedAt"].is_string());
    }
    ana.get(&default("/channels")).await.problem(403, "workspace_suspended");
    service.get("/channels").await.problem(403, "workspace_suspended");
    let run = json!({"resourceType": "flow", "resourceId": "f", "runId": "r", "status": "success"});
    service.post("/runs", &run).await.problem(403, "workspace_suspended");
    assert!(ana.get("/api/session").await.expect(200)["workspaces"][1]["suspendedAt"].is_string());
    root.send("POST", "/api/workspaces/default/resume", None).await.expect(200);
    service.post("/runs", &run).await.expect(202);
    root.send("POST", "/api/workspaces/absent/suspend", None).await.problem(404, "not_found");
}

#[tokio::test]
async fn workspace_is_edited_by_merge_and_found_by_its_new_slug() {
    let service = Service::start().await;
    person(&service, "ana@example.com", Some(Role::Admin)).await;
    let mut ana = Browser::of(&service, "ana@example.com").await;
    let before = ana.get(&default("")).await;
    assert_eq!(before.header("etag"), Some("\"1\""));
    assert_eq!(before.expect(200)["timezone"], "UTC");
    ana.patch(&default(""), &json!({"slug": "other"})).await.problem(409, "slug_taken");
    let edit = json!({"slug": "data", "name": "Data team", "timezone": "Asia/Tokyo"});
    let saved = ana.patch(&default(""), &edit).await.expect(200);
    assert_eq!((&saved["workspace"]["locale"], &saved["workspace"]["revision"]), (&json!("en"), &json!(2)));
    ana.get(&default("/channels")).await.problem(404, "not_found");
    let preferences = ana.get("/api/workspaces/data/notification-preferences").await.expect(200);
    assert_eq!(preferences["timezone"], "Asia/Tokyo");
    let id = service.workspace_id;
    assert_eq!(ana.get(&format!("/api/workspaces/{id}")).await.expect(200)["slug"], "data");
    let pointers = ana.patch("/api/workspaces/data", &json!({"slug": "", "plan": "x"})).await.problem(422, "invalid");
    assert_eq!(pointers.len(), 2, "{pointers:?}");
}

#[tokio::test]
async fn slug_of_a_workspace_that_another_process_just_made_is_taken() {
    let service = Service::start().await;
    let (store, clock) = (service.store.as_ref(), service.engine.clock());
    tidings_app::accounts::provision::create_workspace(store, clock, "acme", None).await.unwrap();
    service.patch("", &json!({"slug": "acme"})).await.problem(409, "slug_taken");
}

#[tokio::test]
async fn two_people_who_edit_one_thing_keep_both_changes_or_learn_of_the_other() {
    let service = Service::start().await;
    person(&service, "ana@example.com", Some(Role::Admin)).await;
    person(&service, "ben@example.com", Some(Role::Owner)).await;
    let (mut ana, mut ben) =
        (Browser::of(&service, "ana@example.com").await, Browser::of(&service, "ben@example.com").await);
    // Without If-Match both changes are kept, because each merges over what is there.
    let path = default("");
    let (name, zone) = (json!({"name": "Data"}), json!({"timezone": "Asia/Tokyo"}));
    let (a, b) = tokio::join!(ana.patch(&path, &name), ben.patch(&path, &zone));
    a.expect(200);
    b.expect(200);
    let after = ana.get(&path).await.expect(200);
    assert_eq!(
        (&after["name"], &after["timezone"], &after["revision"]),
        (&json!("Data"), &json!("Asia/Tokyo"), &json!(3))
    );
    // With it the second learns that the first was faster.
    let conditional = |browser: &Browser<'_>, name: &str| {
        let cookie = format!("{}={}", crate::people::COOKIE, browser.cookie.as_ref().unwrap());
        let request = service.bare("PATCH", &path).header("cookie", cookie).header("sec-fetch-site", "same-origin");
        let request = request.header("if-match", "\"3\"").header("content-type", "application/json");
        service.execute(request.body(http_body_util::Full::from(json!({"name": name}).to_string())).unwrap())
    };
    let (a, b) = tokio::join!(conditional(&ana, "Ana's"), conditional(&ben, "Ben's"));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let refused = if a.status == 412 { a } else { b };
    refused.problem(412, "revision_mismatch");
}

#[tokio::test]
async fn deleted_workspace_is_gone_with_its_keys() {
    let service = Service::start().await;
    person(&service, "ana@example.com", Some(Role::Owner)).await;
    let mut ana = Browser::of(&service, "ana@example.com").await;
    service.delete("").await.problem(403, "forbidden");
    ana.delete(&default("")).await.expect(204);
    ana.get(&default("")).await.problem(404, "not_found");
    ana.get(&format!("/api/workspaces/{}", service.workspace_id)).await.problem(404, "not_found");
    service.get("/channels").await.problem(401, "unauthenticated");
    assert_eq!(ana.get("/api/session").await.expect(200)["workspaces"], json!([]));
}

fn entries(log: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let data = log["data"].as_array().unwrap();
    data.iter().map(|entry| (text(&entry["action"]), text(&entry["actor"]["name"]))).collect()
}

#[tokio::test]
async fn audit_log_has_who_what_from_where_and_no_secret() {
    let service = Service::start().await;
    person(&service, "ana@example.com", Some(Role::Owner)).await;
    let mut ana = Browser::of(&service, "ana@example.com").await;
    let key = ana.post(&default("/api-keys"), &json!({"name": "ci"})).await;
    let request_id = key.header("x-request-id").unwrap().to_owned();
    let key = key.expect(201);
    let invited = ana.post(&default("/invitations"), &json!({"email": "b@example.com", "role": "viewer"})).await;
    let secret = invited.expect(201)["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let webhook =
        json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/t/0123456789abcdef0123"}});
    service.post("/channels", &webhook).await.expect(201);
    ana.patch(&default(""), &json!({"name": "Data"})).await.expect(200);

    let log = ana.get(&default("/audit-log?limit=4")).await.expect(200);
    let expected = [
        ("workspace.updated", "ana"),
        ("channel.created", "first key"),
        ("invitation.created", "ana"),
        ("api_key.created", "ana"),
    ];
    assert_eq!(entries(&log), expected.map(|(action, name)| (action.to_owned(), name.to_owned())));
    let entry = &log["data"][3];
    assert_eq!(entry["address"], "198.51.100.7");
    assert_eq!(entry["requestId"], json!(request_id));
    assert_eq!(entry["actor"]["kind"], "user");
    assert_eq!(log["data"][0]["changes"], json!({"name": {"before": "default", "after": "Data"}}));
    for hidden in [key["keyOnce"].as_str().unwrap(), &secret, "0123456789abcdef0123"] {
        assert!(!log.to_string().contains(hidden), "{log}");
    }

    let next = log["nextCursor"].as_str().unwrap().to_owned();
    let older = ana.get(&default(&format!("/audit-log?limit=4&cursor={next}"))).await.expect(200);
    assert!(!entries(&older).is_empty() && older["data"].as_array().unwrap().iter().all(|one| one["id"] != next));
    let filtered =
        ana.get(&default("/audit-log?action=api_key.created&target=api_key&since=2020-01-01T00:00:00Z")).await;
    assert!(entries(&filtered.expect(200)).iter().all(|(action, _)| action == "api_key.created"));
    let by_key =
        ana.get(&default(&format!("/audit-log?actor={}", log["data"][1]["actor"]["id"].as_str().unwrap()))).await;
    assert_eq!(entries(&by_key.expect(200)).len(), 1);
    for (query, pointer) in [
        ("action=nonsense", "/action"),
        ("target=moon", "/target"),
        ("limit=0", "/limit"),
        ("cursor=x", "/cursor"),
        ("since=now", "/since"),
        ("who=ana", "/who"),
    ] {
        assert_eq!(ana.get(&default(&format!("/audit-log?{query}"))).await.problem(422, "invalid"), [pointer]);
    }
}
