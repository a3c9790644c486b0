//! Secrets of endpoints beside `auth`: masked in every answer, kept by edits, sent to the origin for which they were set.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_engine::Options;
use tidings_engine::clock::SystemClock;
use tidings_engine::settings::SettingsLimits;
use tidings_store::accounts::AuditFilter;

use crate::endpoints::{channel, made, path};
use crate::harness::Service;
use crate::receiver::Receiver;

const SECRETS: [&str; 3] = ["s3cret-header", "s3cret-body", "s3cret-query"];

fn secretive(url: &str) -> Value {
    json!({
        "url": format!("{url}?x=1&token=s3cret-query"), "method": "POST", "body": "s3cret-body",
        "headers": {"X-Team": "s3cret-header", "Accept": "text/plain"},
    })
}

/// The header, the query and the body of the next request.
async fn sent(receiver: &mut Receiver) -> (String, String) {
    let request = receiver.next().await;
    (request.header("x-team").to_owned(), String::from_utf8(request.body.to_vec()).unwrap())
}

fn audit() -> AuditFilter {
    AuditFilter { limit: 100, ..AuditFilter::default() }
}

#[tokio::test]
async fn header_body_and_url_token_are_masked_and_kept() {
    let service = Service::start().await;
    let mut target = Receiver::start().await;
    let endpoint = made(&service, secretive(&target.url)).await;
    let masked = format!("{}?x=1&token=•••", target.url);
    assert_eq!(
        (&endpoint["url"], &endpoint["body"], &endpoint["headers"]),
        (&json!(masked), &json!("•••"), &json!({"X-Team": "•••", "Accept": "text/plain"}))
    );
    let whole = service.get(&path(&endpoint)).await.expect(200);
    let kept = [
        json!({"name": "renamed"}),
        json!({"url": masked, "headers": endpoint["headers"], "body": "•••"}),
        json!({"headers": {"x-team": ""}, "body": ""}),
        json!({"url": format!("{}?token=•••", target.url)}),
    ];
    for edit in kept {
        let answered = service.patch(&path(&endpoint), &edit).await;
        assert!(SECRETS.iter().all(|secret| !answered.text.contains(secret)), "{}", answered.text);
        answered.expect(200);
        let tested = service.post("/endpoints/test", &json!({"endpointId": endpoint["id"]})).await;
        assert!(SECRETS.iter().all(|secret| !tested.text.contains(secret)), "{}", tested.text);
        assert_eq!(tested.expect(200)["status"], "healthy");
        assert_eq!(sent(&mut target).await, ("s3cret-header".to_owned(), "s3cret-body".to_owned()), "{edit}");
    }
    for read in [format!("{}/clone", path(&endpoint)), "/endpoints".to_owned(), path(&endpoint)] {
        let method = if read.ends_with("/clone") { "POST" } else { "GET" };
        let answered = service.send(method, &read, None).await;
        assert!(SECRETS.iter().all(|secret| !answered.text.contains(secret)), "{}", answered.text);
    }
    let found = service.get("/endpoints?q=s3cret").await.expect(200);
    assert_eq!(found["data"], json!([]), "a search does not reveal whether a secret holds a text");
    assert_eq!(whole["url"], json!(masked));
    let cleared = json!({"body": null, "headers": {}, "url": target.url});
    let cleared = service.patch(&path(&endpoint), &cleared).await.expect(200)["endpoint"].clone();
    assert_eq!(
        (&cleared["body"], &cleared["headers"], &cleared["url"]),
        (&Value::Null, &json!({}), &json!(target.url))
    );
    let log = service.store.audit_log(Some(service.workspace_id), audit()).await.unwrap();
    let log = format!("{log:?}");
    assert!(SECRETS.iter().all(|secret| !log.contains(secret)), "{log}");
}

#[tokio::test]
async fn kept_secrets_stay_with_their_origin() {
    let service = Service::start().await;
    let (target, mut elsewhere) = (Receiver::start().await, Receiver::start().await);
    let endpoint = made(&service, secretive(&target.url)).await;
    let moved = json!({"url": format!("{}?token=•••", elsewhere.url)});
    let pointers = service.patch(&path(&endpoint), &moved).await.problem(422, "invalid");
    assert_eq!(pointers, ["/headers/X-Team", "/body", "/url"]);
    let mut test = moved.clone();
    test["endpointId"] = endpoint["id"].clone();
    assert_eq!(service.post("/endpoints/test", &test).await.problem(422, "invalid"), pointers);
    assert!(elsewhere.is_quiet());
    for (body, pointer) in [
        (json!({"headers": {"X-Other": "•••"}}), "/headers/X-Other"),
        (json!({"url": format!("{}?key=•••", target.url)}), "/url"),
    ] {
        assert_eq!(service.patch(&path(&endpoint), &body).await.problem(422, "invalid"), [pointer]);
    }
    let fresh = json!({"name": "a", "type": "http", "url": "https://example.com/?token=•••", "body": "•••"});
    assert_eq!(service.post("/endpoints", &fresh).await.problem(422, "invalid"), ["/body", "/url"]);
    let anew = json!({"url": elsewhere.url, "headers": {}, "body": "new"});
    service.patch(&path(&endpoint), &anew).await.expect(200);
}

#[tokio::test]
async fn stored_definition_holds_no_secret() {
    let service = Service::start().await;
    made(&service, secretive("https://api.example.com/health")).await;
    let stored = service.store.configuration(service.workspace_id, 0).await.unwrap().endpoints;
    let definition = serde_json::to_string(&stored[0].endpoint.definition).unwrap();
    assert!(definition.contains("token=•••") && SECRETS.iter().all(|secret| !definition.contains(secret)));
    let sealed = String::from_utf8_lossy(&stored[0].sealed);
    assert!(!stored[0].sealed.is_empty() && SECRETS.iter().all(|secret| !sealed.contains(secret)));
    let endpoint = &stored[0].endpoint.definition;
    assert!(SECRETS.iter().all(|secret| !format!("{endpoint:?}").contains(secret)));
}

#[tokio::test]
async fn address_in_incidents_and_messages_is_masked() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let channel = channel(&service, &receiver.url).await;
    let url = "https://hc.example.com/ping/5d8b1c2e-7f3a-4b6d-9e0f-1a2b3c4d5e6f?token=s3cret-query";
    let endpoint = made(&service, json!({"url": url, "failureThreshold": 1})).await;
    let wires = json!({"channels": [{"channelId": channel, "wired": true}]});
    service.put(&format!("{}/notifications", path(&endpoint)), &wires).await.expect(200);
    service.post(&format!("{}/checks", path(&endpoint)), &json!({"status": "down"})).await.expect(202);
    let event = receiver.next().await.json();
    assert_eq!(event["endpoint"]["url"], "https://hc.example.com/ping/•••");
    let incident = service.get("/incidents").await.expect(200)["data"][0].clone();
    assert_eq!(incident["url"], "https://hc.example.com/ping/•••");
}

#[tokio::test]
async fn changes_of_endpoints_are_audited() {
    let service = Service::start().await;
    let channel = channel(&service, "https://example.com/hook").await;
    let endpoint = made(&service, json!({"auth": {"type": "bearer", "token": "one"}})).await;
    let at = |action: &str| format!("{}/{action}", path(&endpoint));
    let child = made(&service, json!({"parentId": endpoint["id"]})).await;
    service.patch(&path(&endpoint), &json!({"timeoutMs": 3_000, "auth": {"token": "two"}})).await.expect(200);
    service.send("POST", &at("pause"), None).await.expect(200);
    service.send("POST", &at("pause"), None).await.expect(200);
    service.send("POST", &at("resume"), None).await.expect(200);
    service.send("POST", &at("clone"), None).await.expect(201);
    service.put(&at("notifications"), &json!({"channels": [{"channelId": channel, "wired": true}]})).await.expect(200);
    service.post(&at("checks"), &json!({"status": "healthy"})).await.expect(202);
    service.delete(&path(&endpoint)).await.expect(204);
    let log = service.store.audit_log(Some(service.workspace_id), audit()).await.unwrap();
    let done: Vec<_> = log
        .iter()
        .rev()
        .filter(|entry| entry.action.to_string().starts_with("endpoint."))
        .map(|entry| {
            let fields: Vec<_> = entry.changes.keys().filter(|key| !key.starts_with("channels.")).cloned().collect();
            let target = entry.target_id.clone().unwrap();
            let which = if target == endpoint["id"] {
                ""
            } else if target == child["id"] {
                " child"
            } else {
                " copy"
            };
            format!("{}{which} {}", entry.action, if fields.len() > 3 { "…".to_owned() } else { fields.join(", ") })
        })
        .collect();
    assert_eq!(
        done,
        [
            "endpoint.created …",
            "endpoint.created child …",
            "endpoint.updated auth.token, timeoutMs",
            "endpoint.paused enabled",
            "endpoint.resumed enabled",
            "endpoint.created copy …",
            "endpoint.updated ",
            "endpoint.updated child parentId",
            "endpoint.deleted …",
        ]
    );
    let wired = log.iter().find(|entry| entry.changes.keys().any(|key| key.ends_with(".wired"))).unwrap();
    let change = wired.changes.iter().find(|(key, _)| key.ends_with(".wired")).unwrap().1;
    assert_eq!((&change.after, &wired.actor.name.is_empty()), (&json!(true), &false));
}

#[tokio::test]
async fn endpoints_over_the_quota_are_refused() {
    let settings = SettingsLimits { endpoints_max: 2, ..SettingsLimits::default() };
    let options = Options { settings, ..Options::default() };
    let service = Service::start_with(options, Arc::new(SystemClock::default())).await;
    let first = made(&service, json!({})).await;
    made(&service, json!({"enabled": false})).await;
    let body = json!({"name": "third", "type": "http", "url": "https://example.com/"});
    for refused in
        [service.post("/endpoints", &body).await, service.send("POST", &format!("{}/clone", path(&first)), None).await]
    {
        let problem = refused.json();
        assert_eq!((&problem["used"], &problem["max"]), (&json!(2), &json!(2)), "{problem}");
        refused.problem(403, "PT403");
    }
    let list = service.get("/endpoints?status=paused").await.expect(200);
    assert_eq!((&list["quota"], list["data"].as_array().unwrap().len()), (&json!({"used": 2, "max": 2}), 1));
    let counts = json!({"healthy": 0, "degraded": 0, "down": 0, "inconclusive": 0, "pending": 1, "paused": 1});
    assert_eq!(list["counts"], counts, "of all statuses");
    service.delete(&path(&first)).await.expect(204);
    service.post("/endpoints", &body).await.expect(201);
}

#[tokio::test]
async fn probe_settings_end_where_an_endpoint_becomes_external() {
    let service = Service::start().await;
    let assertion = json!({"kind": "latency", "operator": "lt", "value": "800"});
    let endpoint = made(&service, json!({"intervalSeconds": 90, "timeoutMs": 3_000, "assertions": [assertion]})).await;
    let refused = service.patch(&path(&endpoint), &json!({"type": "external", "timeoutMs": 4_000})).await;
    assert_eq!(refused.problem(422, "invalid"), ["/timeoutMs"]);
    let external = service.patch(&path(&endpoint), &json!({"type": "external"})).await.expect(200)["endpoint"].clone();
    assert_eq!(
        (&external["intervalSeconds"], &external["timeoutMs"], &external["assertions"]),
        (&json!(60), &json!(10_000), &json!([]))
    );
}
