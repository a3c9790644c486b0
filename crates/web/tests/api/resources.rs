//! Resources: what is seen of them, edits, erasure.

use std::sync::Arc;

use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::audit::AuditTarget;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;
use tidings_store::accounts::AuditFilter;

use crate::endpoints::made;
use crate::harness::{ApiResponse, Service};
use crate::receiver::Receiver;

async fn reported(service: &Service, run: Value) {
    let mut whole = json!({"resourceType": "flow", "resourceId": "f1", "status": "success"});
    whole.as_object_mut().unwrap().extend(run.as_object().unwrap().clone());
    service.post("/runs", &whole).await.expect(202);
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|one| one["resourceId"].as_str().unwrap()).collect()
}

async fn edited_if(service: &Service, tag: &str, body: &Value) -> ApiResponse {
    let request = service.request("PATCH", "/resources/flow/f1").header("if-match", tag);
    let request = request.header("content-type", "application/json");
    service.execute(request.body(Full::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn resource_shows_its_last_run_and_share_at_once() {
    let now = Timestamp::parse("2026-05-02T04:00:00Z").unwrap();
    let service = Service::start_at(Arc::new(ManualClock::at(now))).await;
    service.get("/resources/flow/f1").await.problem(404, "not_found");
    let first = json!({"runId": "1", "resourceName": "Nightly import", "completedAt": "2026-05-02T02:00:00Z"});
    reported(&service, first).await;
    let failed = json!({
        "runId": "2", "status": "failure", "completedAt": "2026-05-02T03:00:00Z", "durationMs": 1842, "errorMessage": "no",
    });
    reported(&service, failed).await;
    let answered = service.get("/resources/flow/f1").await;
    assert_eq!(answered.header("etag"), Some("\"1\""));
    let expected = json!({
        "resourceType": "flow", "resourceId": "f1", "title": "Nightly import", "name": null, "link": null, "tags": [],
        "reportedName": "Nightly import",
        "lastRun": {"status": "failure", "at": "2026-05-02T03:00:00.000Z", "durationMs": 1842},
        "successShare": {"of": "last_30_runs", "count": 2, "succeeded": 1, "share": 0.5},
        "recentRuns": [
            {"status": "failure", "completedAt": "2026-05-02T03:00:00.000Z"},
            {"status": "success", "completedAt": "2026-05-02T02:00:00.000Z"},
        ],
        "rules": {"total": 0, "enabled": 0},
        "firstSeenAt": "2026-05-02T04:00:00.000Z", "lastSeenAt": "2026-05-02T04:00:00.000Z", "revision": 1,
    });
    assert_eq!(answered.expect(200), expected);
    // A repeated report is no further run.
    reported(&service, json!({"runId": "1", "resourceName": "Nightly import"})).await;
    assert_eq!(service.get("/resources/flow/f1").await.expect(200), expected);
    assert_eq!(service.get("/resources").await.expect(200), json!({"data": [expected], "nextCursor": null}));
}

#[tokio::test]
async fn resource_list_filters_sorts_and_pages() {
    let service = Service::start().await;
    for (number, (id, name)) in [("c", "Alpha"), ("a", "beta"), ("b/ %", "Gamma")].into_iter().enumerate() {
        let status = if number == 1 { "failure" } else { "success" };
        let completed_at = format!("2026-05-02T0{number}:00:00Z");
        let run =
            json!({"resourceId": id, "runId": id, "resourceName": name, "status": status, "completedAt": completed_at});
        reported(&service, run).await;
    }
    let endpoint = made(&service, json!({"name": "Zeta", "tags": ["eu"]})).await;
    let endpoint = endpoint["id"].as_str().unwrap();
    for (query, expected) in [
        ("", vec!["c", "a", "b/ %", endpoint]),
        ("?sort=-lastRunAt", vec!["b/ %", "a", "c", endpoint]),
        ("?resourceType=flow", vec!["c", "a", "b/ %"]),
        ("?resourceType=endpoint", vec![endpoint]),
        ("?q=ALPH", vec!["c"]),
        ("?q=%2F%20%25", vec!["b/ %"]),
        ("?tag=eu", vec![endpoint]),
        ("?status=failure", vec!["a"]),
        ("?status=down", vec![]),
        ("?resourceType=use_case", vec![]),
    ] {
        assert_eq!(ids(&service.get(&format!("/resources{query}")).await.expect(200)), expected, "{query}");
    }
    for sort in ["name", "-lastRunAt"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = service.get(&format!("/resources?sort={sort}&limit=1{cursor}")).await.expect(200);
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let whole = service.get(&format!("/resources?sort={sort}")).await.expect(200);
        assert_eq!(seen, ids(&whole), "{sort}");
    }
    assert_eq!(service.get("/resources/flow/b%2F%20%25").await.expect(200)["title"], "Gamma");
    for (query, pointer) in [
        ("?cursor=x", "/cursor"),
        ("?limit=0", "/limit"),
        ("?limit=201", "/limit"),
        ("?status=sendt", "/status"),
        ("?sort=id", "/sort"),
        ("?type=flow", "/type"),
        (&format!("?q={}", "x".repeat(201)), "/q"),
    ] {
        assert_eq!(service.get(&format!("/resources{query}")).await.problem(422, "invalid"), [pointer], "{query}");
    }
    service.get("/resources/channel/x").await.problem(404, "not_found");
    service.get("/resources/flows/c").await.problem(404, "not_found");
}

#[tokio::test]
async fn resource_edit_is_audited_and_fenced() {
    let service = Service::start().await;
    let edit = json!({"name": "Mine", "link": "https://app.example.com/f1", "tags": ["warehouse", "eu"]});
    service.patch("/resources/flow/f1", &edit).await.problem(404, "not_found");
    reported(&service, json!({"runId": "1", "resourceName": "Theirs"})).await;
    let answered = service.patch("/resources/flow/f1", &edit).await;
    assert_eq!(answered.header("etag"), Some("\"2\""));
    let resource = answered.expect(200)["resource"].clone();
    assert_eq!(
        (&resource["title"], &resource["name"], &resource["tags"]),
        (&"Mine".into(), &"Mine".into(), &edit["tags"])
    );
    edited_if(&service, "\"1\"", &json!({"tags": []})).await.problem(412, "revision_mismatch");
    let partly = edited_if(&service, "\"2\"", &json!({"name": null})).await.expect(200)["resource"].clone();
    assert_eq!((&partly["title"], &partly["name"], &partly["link"]), (&"Theirs".into(), &Value::Null, &edit["link"]));

    let filter = AuditFilter { limit: 9, target: Some(AuditTarget::Resource), ..Default::default() };
    let entries = service.store.audit_log(Some(service.workspace_id), filter).await.unwrap();
    let entry = entries.last().unwrap();
    assert_eq!((entries.len(), entry.action.to_string().as_str()), (2, "resource.updated"));
    assert_eq!((entry.target_id.as_deref(), entry.target_name.as_deref()), (Some("flow:f1"), Some("Theirs")));
    assert_eq!(entry.changes["name"].after, "Mine");

    for (body, pointers) in [
        (json!({"name": ""}), vec!["/name"]),
        (
            json!({"name": "a\nb", "link": "ftp://x", "tags": ["a", "a", " "]}),
            vec!["/name", "/link", "/tags/1", "/tags/2"],
        ),
        (json!({"name": 7, "tags": "x", "link": "x"}), vec!["/link", "/name", "/tags"]),
        (json!({"title": "x"}), vec!["/title"]),
        (json!({"tags": vec!["x"; 21]}), vec!["/tags"]),
        (json!({"name": "x".repeat(201)}), vec!["/name"]),
    ] {
        let mut found = service.patch("/resources/flow/f1", &body).await.problem(422, "invalid");
        let mut pointers: Vec<_> = pointers.into_iter().map(str::to_owned).collect();
        found.sort();
        pointers.sort();
        assert_eq!(found, pointers, "{body}");
    }
    let endpoint = made(&service, json!({"name": "API"})).await;
    let path = format!("/resources/endpoint/{}", endpoint["id"].as_str().unwrap());
    service.patch(&path, &json!({"tags": ["x"]})).await.problem(422, "invalid");
}

#[tokio::test]
async fn resource_counts_the_rules_that_apply_to_it() {
    let service = Service::start().await;
    service.rule_to("https://example.com/hook").await;
    let all = json!({
        "resourceType": "flow", "resourceId": "*", "triggers": ["failure"], "enabled": false,
        "channelType": "webhook", "url": "https://example.com/all",
    });
    service.post("/notification-rules", &all).await.expect(201);
    for id in ["f1", "f2"] {
        reported(&service, json!({"resourceId": id, "runId": id, "status": "failure"})).await;
    }
    let rules = |resource: Value| (resource["rules"]["total"].clone(), resource["rules"]["enabled"].clone());
    assert_eq!(rules(service.get("/resources/flow/f1").await.expect(200)), (2.into(), 1.into()));
    assert_eq!(rules(service.get("/resources/flow/f2").await.expect(200)), (1.into(), 0.into()));
}

#[tokio::test]
async fn erased_resource_is_gone_at_once_and_its_payloads_soon() {
    let receiver = Receiver::start().await;
    let service = Service::start().await;
    service.rule_to(&receiver.url).await;
    let run = json!({"runId": "1", "status": "failure", "resourceName": "Payroll", "errorMessage": "secret-payload"});
    reported(&service, run).await;
    let delivery = service.settled("1", &["sent"]).await.remove(0);
    let path = format!("/deliveries/{}", delivery["id"].as_str().unwrap());
    let event = format!("/events/{}", delivery["eventId"].as_str().unwrap());
    assert!(service.get(&event).await.text.contains("secret-payload"));

    let erasure = service.delete("/resources/flow/f1").await.expect(202);
    assert_eq!((&erasure["resourceId"], &erasure["finishedAt"]), (&"f1".into(), &Value::Null));
    service.get("/resources/flow/f1").await.problem(404, "not_found");
    // The job that does it in the background runs every two seconds.
    let later = service.engine.clock().now().plus_ms(1);
    while service.store.erase(later, 9).await.unwrap().has_more {}
    let finished = service.get("/resources/flow/f1/erasure").await.expect(200);
    assert!(finished["finishedAt"].is_string(), "{finished}");
    for path in [&path, &event] {
        let answered = service.get(path).await;
        assert!(!answered.text.contains("secret-payload") && !answered.text.contains("Payroll"), "{}", answered.text);
        answered.expect(200);
    }
    assert_eq!(service.get(&path).await.expect(200)["status"], "sent", "the log still shows that it was sent");
    service.delete("/resources/flow/f2").await.problem(404, "not_found");
    service.get("/resources/flow/f2/erasure").await.problem(404, "not_found");

    let log = service.store.audit_log(Some(service.workspace_id), AuditFilter { limit: 9, ..Default::default() });
    assert!(log.await.unwrap().iter().any(|entry| entry.action.to_string() == "resource.deleted"));
    // What is reported afterwards is a new resource.
    reported(&service, json!({"runId": "2"})).await;
    assert_eq!(service.get("/resources/flow/f1").await.expect(200)["successShare"]["count"], 1);
}

#[tokio::test]
async fn erasure_of_an_endpoint_or_of_an_active_alert_is_refused() {
    let service = Service::start().await;
    let endpoint = made(&service, json!({"name": "API"})).await;
    let path = format!("/resources/endpoint/{}", endpoint["id"].as_str().unwrap());
    service.delete(&path).await.problem(409, "resource_in_use");
    service.get(&path).await.expect(200);
    let request = service.request("DELETE", &path).header("if-match", "\"7\"");
    service.execute(request.body(Full::default()).unwrap()).await.problem(412, "revision_mismatch");
}
