//! Preferences of a workspace, and the defaults of new channels.

use serde_json::{Value, json};

use crate::harness::Service;

const PATH: &str = "/notification-preferences";
const FOREVER: &str = "9999-12-31T23:59:59.999Z";

#[tokio::test]
async fn preferences_are_read_and_edited() {
    let service = Service::start().await;
    let all = json!({"sendOpen": true, "sendResolved": true, "sendEscalated": true});
    let at_first = json!({
        "globalMuteUntil": null, "defaultSeverityFilter": "info+", "defaultEventFilters": all, "timezone": "UTC",
    });
    assert_eq!(service.get(PATH).await.expect(200), at_first);
    assert_eq!(service.patch(PATH, &json!({})).await.expect(200)["preferences"], at_first);
    let edit = json!({
        "defaultSeverityFilter": "warning+", "defaultEventFilters": {"sendResolved": false}, "timezone": "Europe/Zurich",
    });
    let edited = service.patch(PATH, &edit).await.expect(200)["preferences"].clone();
    assert_eq!(edited["defaultEventFilters"], json!({"sendOpen": true, "sendResolved": false, "sendEscalated": true}));
    assert_eq!((&edited["defaultSeverityFilter"], &edited["timezone"]), (&json!("warning+"), &json!("Europe/Zurich")));
    assert_eq!(service.get(PATH).await.expect(200), edited);

    let channel = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/hook"}});
    let made = service.post("/channels", &channel).await.expect(201)["channel"].clone();
    assert_eq!((&made["severityFilter"], &made["eventFilters"]), (&json!("warning+"), &edited["defaultEventFilters"]));
    let mut other = channel;
    other["severityFilter"] = "critical".into();
    other["eventFilters"] = json!({"sendOpen": false});
    let made = service.post("/channels", &other).await.expect(201)["channel"].clone();
    assert_eq!(made["eventFilters"], json!({"sendOpen": false, "sendResolved": false, "sendEscalated": true}));
    assert_eq!(made["severityFilter"], "critical", "a field in the body has precedence over the preference");
}

#[tokio::test]
async fn invalid_preferences_return_422_with_pointers() {
    let service = Service::start().await;
    for (edit, pointers) in [
        (json!({"timezone": "Mars/Olympus"}), vec!["/timezone"]),
        (json!({"timezone": null}), vec!["/timezone"]),
        (json!({"defaultSeverityFilter": "error"}), vec!["/defaultSeverityFilter"]),
        (json!({"defaultEventFilters": null}), vec!["/defaultEventFilters"]),
        (json!({"defaultEventFilters": {"sendTests": true}}), vec!["/defaultEventFilters/sendTests"]),
        (json!({"globalMuteUntil": "tomorrow", "locale": "de"}), vec!["/locale", "/globalMuteUntil"]),
        (json!({"globalMuteUntil": "2020-01-01T00:00:00Z"}), vec!["/globalMuteUntil"]),
    ] {
        assert_eq!(service.patch(PATH, &edit).await.problem(422, "invalid"), pointers, "{edit}");
    }
    assert_eq!(service.get(&format!("{PATH}?all=true")).await.problem(422, "invalid"), ["/all"]);
}

#[tokio::test]
async fn global_mute_is_listed_as_a_mute() {
    let service = Service::start().await;
    let rule = service.rule_to("https://example.com/hook").await;
    let edit = async |edit: Value| service.patch(PATH, &edit).await.expect(200)["preferences"].clone();
    let muted = edit(json!({"globalMuteUntil": "2099-01-01T00:00:00+01:00"})).await;
    assert_eq!(muted["globalMuteUntil"], "2098-12-31T23:00:00.000Z");
    let mutes = service.get("/mutes").await.expect(200)["data"].clone();
    assert_eq!((&mutes[0]["scope"], &mutes[0]["expiresAt"]), (&json!("global"), &muted["globalMuteUntil"]));
    service.failed("run-1").await;
    let stopped = service.settled("run-1", &["suppressed"]).await;
    assert_eq!((&stopped[0]["ruleId"], &stopped[0]["suppressedReason"]), (&json!(rule), &json!("muted")));

    service.post("/mutes", &json!({"scope": "global"})).await.expect(201);
    assert_eq!(service.get(PATH).await.expect(200)["globalMuteUntil"], FOREVER, "the longest counts");
    let again = edit(json!({"globalMuteUntil": FOREVER})).await;
    assert_eq!(again["globalMuteUntil"], FOREVER, "a response value is accepted in requests");
    let mutes = service.get("/mutes").await.expect(200)["data"].clone();
    assert_eq!((mutes.as_array().unwrap().len(), &mutes[0]["expiresAt"]), (1, &Value::Null), "it replaces the others");
    assert_eq!(edit(json!({"timezone": "UTC"})).await["globalMuteUntil"], FOREVER);
    assert_eq!(edit(json!({"globalMuteUntil": null})).await["globalMuteUntil"], Value::Null);
    assert_eq!(service.get("/mutes").await.expect(200)["data"], json!([]));
}
