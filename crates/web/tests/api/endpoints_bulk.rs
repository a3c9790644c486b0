//! One change of many endpoints.

use serde_json::{Value, json};
use tidings_domain::id::{ChannelId, EndpointId};

use crate::endpoints::{channel, made};
use crate::harness::{Service, unknown_id};

const PATH: &str = "/endpoints/bulk";

/// Endpoints with these tags each, oldest first.
async fn with_tags(service: &Service, tags: &[Value]) -> Vec<String> {
    let mut ids = Vec::new();
    for tags in tags {
        ids.push(made(service, json!({"tags": tags})).await["id"].as_str().unwrap().to_owned());
    }
    ids
}

async fn run(service: &Service, body: Value) -> Value {
    service.post(PATH, &body).await.expect(200)
}

fn ok(id: &str) -> Value {
    json!({"id": id, "ok": true, "code": null, "detail": null})
}

#[tokio::test]
async fn bulk_by_ids_answers_for_each() {
    let service = Service::start().await;
    let ids = with_tags(&service, &[json!([]), json!(["eu"])]).await;
    let absent = unknown_id::<EndpointId>();
    let done = run(&service, json!({"action": "pause", "ids": [ids[0], absent, ids[1], ids[0]]})).await;
    let expected = json!({
        "dryRun": false, "matched": 3, "succeeded": 2, "failed": 1, "nextCursor": null,
        "results": [ok(&ids[0]), {"id": absent, "ok": false, "code": "not_found",
                                  "detail": "there is no such endpoint in this workspace"}, ok(&ids[1])],
    });
    assert_eq!(done, expected);
    let endpoint = async |id: &str| service.get(&format!("/endpoints/{id}")).await.expect(200);
    assert_eq!(endpoint(&ids[0]).await["status"], "paused");
    run(&service, json!({"action": "resume", "ids": ids})).await;
    run(&service, json!({"action": "tag", "tag": "eu", "ids": ids})).await;
    let (first, second) = (endpoint(&ids[0]).await, endpoint(&ids[1]).await);
    assert_eq!((&first["tags"], &first["enabled"]), (&json!(["eu"]), &json!(true)));
    assert_eq!((&second["tags"], &second["revision"]), (&json!(["eu"]), &json!(3)), "it had the tag");
    run(&service, json!({"action": "untag", "tag": "eu", "ids": [ids[0]]})).await;
    assert_eq!(endpoint(&ids[0]).await["tags"], json!([]));
    let refused = run(&service, json!({"action": "tag", "tag": "", "ids": [ids[0]]})).await;
    assert_eq!((&refused["failed"], &refused["results"][0]["code"]), (&json!(1), &json!("invalid")), "{refused}");

    let done = run(&service, json!({"action": "delete", "ids": ids})).await;
    assert_eq!(done["succeeded"], 2);
    service.get(&format!("/endpoints/{}", ids[0])).await.problem(404, "not_found");
}

#[tokio::test]
async fn bulk_by_filter_changes_what_the_list_shows() {
    let service = Service::start().await;
    let ids = with_tags(&service, &[json!(["eu"]), json!(["us"]), json!(["eu", "db"])]).await;
    let hook = channel(&service, "https://example.com/hook").await;
    let filter = json!({"tag": "eu", "status": "pending"});
    let wire = |dry_run: bool| json!({"action": "wire", "channelId": hook, "filter": filter, "dryRun": dry_run});
    let dry = run(&service, wire(true)).await;
    assert_eq!((&dry["matched"], &dry["results"], &dry["dryRun"]), (&json!(2), &json!([]), &json!(true)));
    let done = run(&service, wire(false)).await;
    assert_eq!(done["results"], json!([ok(&ids[2]), ok(&ids[0])]), "newest first");
    let wired = async |id: &str| {
        let wiring = service.get(&format!("/endpoints/{id}/notifications")).await.expect(200);
        wiring["channels"][0]["wired"].clone()
    };
    assert_eq!(
        (wired(&ids[0]).await, wired(&ids[1]).await, wired(&ids[2]).await),
        (json!(true), json!(false), json!(true))
    );
    run(&service, json!({"action": "unwire", "channelId": hook, "filter": {"q": "db"}})).await;
    assert_eq!((wired(&ids[0]).await, wired(&ids[2]).await), (json!(true), json!(false)));
    assert_eq!(run(&service, json!({"action": "pause", "filter": {"tag": "asia"}})).await["matched"], 0);
    let after = json!({"action": "pause", "filter": {}, "cursor": ids[1]});
    assert_eq!(run(&service, after).await["results"], json!([ok(&ids[0])]));
}

#[tokio::test]
async fn invalid_bulk_returns_422_with_pointers() {
    let service = Service::start().await;
    let id = unknown_id::<EndpointId>();
    for (body, pointers) in [
        (json!({}), vec!["/action"]),
        (json!({"action": "explode", "ids": [id]}), vec!["/action"]),
        (json!({"action": "pause"}), vec!["/ids"]),
        (json!({"action": "pause", "ids": [id], "filter": {}}), vec!["/filter"]),
        (json!({"action": "pause", "ids": [id], "cursor": id, "tag": "x"}), vec!["/cursor", "/tag"]),
        (json!({"action": "tag", "ids": [id]}), vec!["/tag"]),
        (json!({"action": "wire", "ids": [id], "tag": "x"}), vec!["/channelId", "/tag"]),
        (json!({"action": "unwire", "ids": [id], "channelId": unknown_id::<ChannelId>()}), vec!["/channelId"]),
        (json!({"action": "pause", "filter": {"status": "odd", "all": 1}}), vec!["/filter/all", "/filter/status"]),
        (json!({"action": "pause", "ids": vec![id.clone(); 1_001]}), vec!["/ids"]),
    ] {
        let mut found = service.post(PATH, &body).await.problem(422, "invalid");
        found.sort_unstable();
        assert_eq!(found, pointers, "{body}");
    }
}
