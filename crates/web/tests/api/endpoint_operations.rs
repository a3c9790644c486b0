//! Operations on endpoints: wiring, clone, pause, deletion, and all of them concurrently.

use std::sync::Arc;

use futures_util::future::join_all;
use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::id::{ChannelId, EndpointId};

use crate::endpoints::{channel, made, path};
use crate::harness::{Service, unknown_id};

#[tokio::test]
async fn wiring_changes_listed_channels_only() {
    let service = Service::start().await;
    let (one, two) =
        (channel(&service, "https://example.com/1").await, channel(&service, "https://example.com/2").await);
    let path = format!("{}/notifications", path(&made(&service, json!({})).await));
    let wires = |list: &Value| -> Vec<(String, bool, bool)> {
        let wire =
            |it: &Value| (it["channelId"].as_str().unwrap().to_owned(), it["wired"] == true, it["paused"] == true);
        list["channels"].as_array().unwrap().iter().map(wire).collect()
    };
    let list = service.get(&path).await.expect(200);
    assert_eq!(wires(&list), [(one.clone(), false, false), (two.clone(), false, false)]);
    let put = |channels: Value| json!({ "channels": channels });
    let answer = service.put(&path, &put(json!([{"channelId": one, "wired": true, "paused": true}]))).await.expect(200);
    assert_eq!(wires(&answer), [(one.clone(), true, true), (two.clone(), false, false)]);
    assert!(answer["channels"][0]["ruleId"].as_str().unwrap().starts_with("rule_"));
    service.put(&path, &put(json!([{"channelId": two, "wired": true}]))).await.expect(200);
    // The paused flag is kept while the channel is not wired.
    let answer = service.put(&path, &put(json!([{"channelId": one, "wired": false}]))).await.expect(200);
    assert_eq!(wires(&answer), [(one.clone(), false, true), (two.clone(), true, false)]);

    let unknown_id = unknown_id::<ChannelId>();
    for (body, pointer) in [
        (json!({}), "/channels"),
        (put(json!({})), "/channels"),
        (put(json!([1])), "/channels/0"),
        (put(json!([{"wired": true}])), "/channels/0/channelId"),
        (put(json!([{"channelId": "ch_1", "wired": true}])), "/channels/0/channelId"),
        (put(json!([{"channelId": unknown_id, "wired": true}])), "/channels/0/channelId"),
        (put(json!([{"channelId": one, "wired": "yes"}])), "/channels/0/wired"),
        (put(json!([{"channelId": one, "wired": true, "loud": true}])), "/channels/0/loud"),
        (put(json!([{"channelId": one, "wired": true}, {"channelId": one, "wired": false}])), "/channels/1/channelId"),
    ] {
        assert_eq!(service.put(&path, &body).await.problem(422, "invalid"), [pointer], "{body}");
    }
    assert_eq!(service.get(&path).await.expect(200), answer, "nothing of that was done");
}

#[tokio::test]
async fn clone_copies_definition_and_wiring() {
    let service = Service::start().await;
    let channel = channel(&service, "https://example.com/1").await;
    let original = made(&service, json!({"tags": ["a"], "auth": {"type": "bearer", "token": "t"}})).await;
    let wires = json!({"channels": [{"channelId": channel, "wired": true}]});
    service.put(&format!("{}/notifications", path(&original)), &wires).await.expect(200);
    let clone_at = format!("{}/clone", path(&original));
    let clone = service.send("POST", &clone_at, None).await.expect(201)["endpoint"].clone();
    assert_ne!(clone["id"], original["id"]);
    assert_eq!((&clone["name"], &clone["revision"]), (&json!("Production API (copy)"), &json!(1)));
    assert_eq!(
        (&clone["url"], &clone["tags"], &clone["auth"]),
        (&original["url"], &original["tags"], &original["auth"])
    );
    let wiring = service.get(&format!("{}/notifications", path(&clone))).await.expect(200);
    assert_eq!(wiring["channels"][0]["wired"], true);
    let named = service.post(&clone_at, &json!({"name": "Another"})).await.expect(201);
    assert_eq!(named["endpoint"]["name"], "Another");
    let blank = service.post(&clone_at, &json!({"name": " "})).await.expect(201);
    assert_eq!(blank["endpoint"]["name"], "Production API (copy)", "as if it were absent");
    assert_eq!(service.post(&clone_at, &json!({"url": "x"})).await.problem(422, "invalid"), ["/url"]);
}

#[tokio::test]
async fn paused_endpoint_rejects_checks_until_resumed() {
    let service = Service::start().await;
    let path = path(&made(&service, json!({})).await);
    let paused = service.send("POST", &format!("{path}/pause"), None).await.expect(200);
    assert_eq!((&paused["endpoint"]["enabled"], &paused["endpoint"]["status"]), (&json!(false), &json!("paused")));
    let again = service.send("POST", &format!("{path}/pause"), None).await.expect(200);
    assert_eq!(again["endpoint"]["revision"], paused["endpoint"]["revision"], "it was so already");
    let check = json!({"status": "down"});
    service.post(&format!("{path}/checks"), &check).await.problem(409, "endpoint_paused");
    let resumed = service.send("POST", &format!("{path}/resume"), None).await.expect(200);
    assert_eq!((&resumed["endpoint"]["enabled"], &resumed["endpoint"]["status"]), (&json!(true), &json!("pending")));
    service.post(&format!("{path}/checks"), &check).await.expect(202);
}

#[tokio::test]
async fn endpoint_deletion_removes_rules_and_parent_references() {
    let service = Service::start().await;
    let channel = channel(&service, "https://example.com/1").await;
    let parent = made(&service, json!({})).await;
    let child = made(&service, json!({"parentId": parent["id"]})).await;
    let wires = json!({"channels": [{"channelId": channel, "wired": true}]});
    service.put(&format!("{}/notifications", path(&parent)), &wires).await.expect(200);
    service.delete(&path(&parent)).await.expect(204);
    service.delete(&path(&parent)).await.problem(404, "not_found");
    assert_eq!(service.get(&path(&child)).await.expect(200)["parentId"], Value::Null);
    service.delete(&format!("/channels/{channel}")).await.expect(204);
}

#[tokio::test]
async fn endpoint_of_another_workspace_returns_404() {
    let service = Service::start().await;
    let path = path(&made(&service, json!({})).await);
    let foreign = async |method: &str, path: &str| {
        let request = service.bare(method, &format!("/api/workspaces/other{path}"));
        let request = request.header("authorization", format!("Bearer {}", service.other_key));
        service.execute(request.header("content-type", "application/json").body(Full::from("{}")).unwrap()).await
    };
    for (method, path) in [
        ("GET", path.clone()),
        ("PATCH", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/clone")),
        ("POST", format!("{path}/pause")),
        ("POST", format!("{path}/resume")),
        ("GET", format!("{path}/notifications")),
        ("PUT", format!("{path}/notifications")),
        ("GET", format!("{path}/checks")),
        ("POST", format!("{path}/checks")),
        ("GET", format!("{path}/summaries")),
    ] {
        foreign(method, &path).await.problem(404, "not_found");
    }
    let id = path.rsplit('/').next().unwrap();
    let request = service.bare("POST", "/api/workspaces/other/endpoints/test");
    let request = request.header("authorization", format!("Bearer {}", service.other_key));
    let body = Full::from(json!({"endpointId": id}).to_string());
    service.execute(request.body(body).unwrap()).await.problem(404, "not_found");
    let unknown_id = unknown_id::<EndpointId>();
    service.get(&format!("/endpoints/{unknown_id}")).await.problem(404, "not_found");
    service.get(&path).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_endpoint_edits_checks_and_deletion_are_atomic() {
    let service = Arc::new(Service::start().await);
    for _ in 0..5 {
        let path = path(&made(&service, json!({"failureThreshold": 1})).await);
        let edits = (0..6).map(|n| {
            let (service, path) = (Arc::clone(&service), path.clone());
            tokio::spawn(async move {
                let answered = service.patch(&path, &json!({"name": format!("n{n}"), "tags": [format!("t{n}")]})).await;
                match answered.status.as_u16() {
                    200 => assert_eq!(answered.json()["endpoint"]["tags"], json!([format!("t{n}")])),
                    412 => _ = answered.problem(412, "revision_mismatch"),
                    _ => _ = answered.problem(404, "not_found"),
                }
            })
        });
        let checks = (0..4).map(|_| {
            let (service, path) = (Arc::clone(&service), path.clone());
            tokio::spawn(async move {
                let answered = service.post(&format!("{path}/checks"), &json!({"status": "down"})).await;
                assert!(matches!(answered.status.as_u16(), 202 | 404), "{answered:?}");
            })
        });
        let deletion = {
            let (service, path) = (Arc::clone(&service), path.clone());
            tokio::spawn(async move {
                let deleted = service.delete(&path).await;
                assert!(matches!(deleted.status.as_u16(), 204 | 412), "{deleted:?}");
            })
        };
        for done in join_all(edits.chain(checks).chain([deletion])).await {
            done.unwrap();
        }
        if service.get(&path).await.status == 200 {
            service.delete(&path).await.expect(204);
        }
        service.get(&path).await.problem(404, "not_found");
        assert_eq!(service.get("/incidents?status=active").await.expect(200)["data"], json!([]));
    }
}
