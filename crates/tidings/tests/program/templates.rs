//! The body templates of `docs/TEMPLATES.md`: each renders every kind of event into what its vendor documents.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Api, Receiver, Request, Setup, snippets};

const DOCUMENT: &str = "docs/TEMPLATES.md";

/// Text that breaks a template which puts it in without `tojson`.
const NASTY: &str = "It was \"no\" \\ and 'yes'\r\nline 2\ttab \u{1}\u{1b}[31m 💥👩‍🚀 é \u{2028} \u{202e} <b>&amp;</b> *md* _x_ \
                     {{ 7 * 7 }} {% if %} {# c #} }} { } {{ end";

/// Whether an object has no keys but these.
#[track_caller]
fn assert_keys(object: &Value, known: &[&str]) {
    let unknown: Vec<_> = object.as_object().unwrap().keys().filter(|key| !known.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?} in {object}");
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("no text: {value}"))
}

/// <https://core.telegram.org/bots/api#sendmessage>. Returns what a reader sees.
fn telegram(request: &Request) -> String {
    let body = request.json();
    assert!(request.line().starts_with("POST /bot") && request.line().contains("/sendMessage "), "{}", request.line());
    assert_keys(&body, &["chat_id", "text", "link_preview_options"]);
    assert_eq!(
        (&body["chat_id"], &body["link_preview_options"]),
        (&json!("-1001234567890"), &json!({"is_disabled": true}))
    );
    let text = text(&body["text"]);
    assert!(text.encode_utf16().count() <= 4_096, "too long for Telegram: {text}");
    text.to_owned()
}

/// <https://docs.ntfy.sh/publish/#publish-as-json>.
fn ntfy(request: &Request) -> String {
    let body = request.json();
    assert!(request.line().starts_with("POST / "), "{}", request.line());
    assert!(request.header("authorization").starts_with("Bearer tk_"));
    assert_keys(&body, &["topic", "message", "title", "tags", "priority", "click"]);
    assert_eq!(body["topic"], "tidings-alerts");
    assert!(text(&body["message"]).len() <= 4_096, "too long for ntfy: {body}");
    assert!((1..=5).contains(&body["priority"].as_u64().unwrap()), "{body}");
    assert!(body["tags"].as_array().unwrap().iter().all(|tag| !text(tag).is_empty()), "{body}");
    assert!(body.get("click").is_none_or(|url| text(url).starts_with("http")), "{body}");
    format!("{}\n{}", text(&body["title"]), text(&body["message"]))
}

/// <https://adaptivecards.io/explorer/>, version 1.4, within a message for a Workflows webhook.
fn teams(request: &Request) -> String {
    let body = request.json();
    assert!(request.body().len() <= 28 * 1_024, "too large for Teams: {} bytes", request.body().len());
    assert_keys(&body, &["type", "attachments"]);
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    let card = &attachment["content"];
    assert_keys(card, &["$schema", "type", "version", "msteams", "body", "actions", "fallbackText"]);
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    let mut seen = Vec::new();
    for element in card["body"].as_array().unwrap() {
        match text(&element["type"]) {
            "TextBlock" => {
                let color = element.get("color").map_or("Default", text);
                assert!(["Default", "Attention", "Warning", "Good"].contains(&color), "{element}");
                seen.push(text(&element["text"]).to_owned());
            }
            "RichTextBlock" => {
                for inline in element["inlines"].as_array().unwrap() {
                    assert_eq!(inline["type"], "TextRun");
                    seen.push(text(&inline["text"]).to_owned());
                }
            }
            "FactSet" => {
                let facts = element["facts"].as_array().unwrap();
                assert!(!facts.is_empty(), "{element}");
                for fact in facts {
                    assert_keys(fact, &["title", "value"]);
                    assert!(fact["title"].is_string() && fact["value"].is_string(), "{fact}");
                }
            }
            other => panic!("an element of type {other}"),
        }
    }
    for action in card["actions"].as_array().into_iter().flatten() {
        assert_keys(action, &["type", "title", "url"]);
        assert_eq!(action["type"], "Action.OpenUrl");
    }
    seen.join("\n")
}

/// Reports runs of every type; returns how many.
fn report_runs(api: &Api) -> usize {
    let longest = format!("{NASTY}{}", "💥".repeat(3_900));
    let outcomes = [
        json!({"status": "failure", "errorMessage": NASTY, "resourceName": "Rollup \"x\" {{ y }} \\ 🚀", "durationMs": 1842,
               "rowCount": 124, "triggerType": "scheduled", "deepLink": "https://example.com/r?a=1&b=\"2\""}),
        json!({"status": "failure", "errorMessage": longest}),
        json!({"status": "failure"}),
        json!({"status": "success"}),
        json!({"status": "failure", "errorMessage": "   "}),
    ];
    let mut count = 0;
    for resource_type in ["scheduled_query", "flow", "job", "use_case"] {
        for outcome in &outcomes {
            let mut run = outcome.clone();
            run["resourceType"] = json!(resource_type);
            run["resourceId"] = json!("id \"1\" {{");
            run["runId"] = json!(format!("{count} \\ \""));
            if resource_type == "use_case" && run["status"] == "success" {
                run["output"] = json!({"none": null, "text": NASTY, "list": [1, 2.5]});
            }
            let accepted = api.post("/runs", run).expect(202);
            assert_eq!(accepted["deliveries"]["pending"], 1, "{accepted}");
            count += 1;
        }
    }
    count
}

/// Opens and resolves an endpoint's incident and opens an alert's; returns the number of notifications.
fn cause_incidents(api: &Api, channel: &str) -> usize {
    let endpoint = api.make_endpoint(json!({"name": "API \"prod\" {{ x }} \\ 🚀", "tags": ["\"prod\"", "}}"]}));
    api.wire(&endpoint, &[channel]);
    let reason: String = NASTY.replace("\r\n", " ");
    let down = json!({"status": "down", "statusReason": reason, "statusCode": 502});
    let checked = api.post(&format!("/endpoints/{endpoint}/checks"), down).expect(202);
    assert_eq!(checked["incident"]["transition"], "opened", "{checked}");
    api.resolve(&endpoint);

    let inbound = api.post("/inbound-webhooks", json!({"type": "alertmanager", "name": "x"})).expect(201);
    let url = text(&inbound["url"]);
    let mut labels: BTreeMap<_, _> = (0..30).map(|number| (format!("label_{number}"), NASTY)).collect();
    labels.extend([("alertname".to_owned(), "Disk \"full\" {{ }}"), ("severity".to_owned(), "page")]);
    let alert = json!({"status": "firing", "fingerprint": "f1", "labels": labels, "annotations": {"summary": NASTY},
                       "startsAt": "2026-05-02T04:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
                       "generatorURL": "https://prometheus.example.com/graph?g0.expr=a%7Bb%3D%22c%22%7D"});
    let body = json!({"version": "4", "status": "firing", "receiver": "x", "groupLabels": {}, "commonLabels": {},
                      "commonAnnotations": {}, "externalURL": "http://am", "groupKey": "k", "alerts": [alert]});
    let path = &url[url.find("/in/").unwrap()..];
    let answer = api.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes());
    assert!((200..300).contains(&answer.status), "{answer:?}");
    3
}

/// Creates the channel of an example, with its URL led to a receiver, and sends every kind of event through it.
fn prove(title: &str, see: impl Fn(&Request) -> String) {
    let (request, source) = (snippets::titled(DOCUMENT, title), snippets::titled(DOCUMENT, &format!("{title}-source")));
    let mut channel: Value = serde_json::from_str(&request.text).unwrap();
    let template = channel["config"]["bodyTemplate"].as_str().unwrap().to_owned();
    assert_eq!(template, source.text.trim_end(), "{request} holds another template than {source}");
    let receiver = Receiver::always(200);
    let url = text(&channel["config"]["url"]).strip_prefix("https://").unwrap().to_owned();
    let path = &url[url.find('/').unwrap()..];
    channel["config"]["url"] = json!(format!("http://{}{path}", receiver.address()));

    let server = Setup::new().start();
    let api = server.api();
    let made = api.post("/channels", channel).expect(201)["channel"].clone();
    assert!(!made["config"]["url"].to_string().contains("replace"), "{request}: the token is shown: {made}");
    let id = text(&made["id"]);
    let tested = api.post(&format!("/channels/{id}/test"), json!({})).expect(200);
    assert_eq!(tested["ok"], true, "{request}: {tested}");
    for resource_type in ["scheduled_query", "flow", "job", "use_case"] {
        let rule = json!({"resourceType": resource_type, "resourceId": "*", "triggers": ["success", "failure"],
                          "failureSeverity": "critical", "channelId": id});
        api.post("/notification-rules", rule).expect(201);
    }
    api.post("/notification-rules", json!({"resourceType": "alert", "resourceId": "*", "channelId": id})).expect(201);
    let count = 1 + report_runs(&api) + cause_incidents(&api, id);
    let requests = receiver.wait_for(count);
    api.wait_until_settled();
    assert!(api.deliveries("&status=failed").is_empty(), "{request}: {:?}", api.deliveries("&status=failed"));
    assert_eq!(receiver.count(), count, "{request}");
    let seen: Vec<_> = requests.iter().map(see).collect();
    let seen = seen.join("\n");
    for part in [
        "It was \"no\" \\ and",
        "💥👩‍🚀",
        "{{ 7 * 7 }} {% if %} {# c #} }} { } {{",
        "line 2",
        "is down",
        "has recovered",
        "Test notification from Tidings",
        "is firing",
    ] {
        assert!(seen.contains(part), "{request}: {part:?} is not in {seen}");
    }
}

#[test]
fn telegram_template_makes_valid_messages() {
    prove("template-telegram", telegram);
    assert!(snippets::titled(DOCUMENT, "template-telegram-source").text.contains("chat_id"));
}

#[test]
fn ntfy_template_makes_valid_messages() {
    prove("template-ntfy", ntfy);
    assert!(snippets::titled(DOCUMENT, "template-ntfy-source").text.contains("topic"));
}

#[test]
fn teams_template_makes_valid_cards() {
    prove("template-teams", teams);
    assert!(snippets::titled(DOCUMENT, "template-teams-source").text.contains("AdaptiveCard"));
}

#[test]
fn minimal_template_makes_its_body() {
    let snippet = snippets::titled(DOCUMENT, "template-minimal");
    let receiver = Receiver::always(200);
    let mut channel: Value = serde_json::from_str(&snippet.text).unwrap();
    channel["config"]["url"] = json!(receiver.url());
    let server = Setup::new().start();
    let api = server.api();
    let id = api.make_channel(channel);
    api.post(&format!("/channels/{id}/test"), json!({})).expect(200);
    let body = receiver.wait_for(1)[0].json();
    assert_eq!(body["level"], "info", "{snippet}: {body}");
    assert!(text(&body["text"]).contains("Test notification"), "{snippet}: {body}");
}

/// Nothing is lost by a template: the standard body goes out, signed, and the attempt notes why. A test reports the failure.
#[test]
fn failing_template_sends_the_standard_body_with_a_note() {
    let receiver = Receiver::always(200);
    let server = Setup::new().start();
    let api = server.api();
    let template = "{% for item in output.list %}{{ item }};{% endfor %}";
    let config = json!({"url": receiver.url(), "bodyTemplate": template, "headers": {"content-type": "text/plain"}});
    let id = api.make_channel(json!({"name": "loops", "type": "webhook", "config": config}));
    let rule = json!({"resourceType": "use_case", "resourceId": "*", "triggers": ["success"], "channelId": id});
    api.post("/notification-rules", rule).expect(201);
    let report = |run: &str, items: usize| {
        let output = json!({"list": vec![7; items]});
        let run =
            json!({"resourceType": "use_case", "resourceId": "u", "runId": run, "status": "success", "output": output});
        text(&api.post("/runs", run).expect(202)["eventId"]).to_owned()
    };
    let fine = api.delivery_once(&report("short", 2), "sent");
    assert_eq!(fine["attempts"][0].get("note"), None, "{fine}");
    assert_eq!(receiver.wait_for(1)[0].body(), b"7;7;");

    let sent = api.delivery_once(&report("long", 50_000), "sent");
    let attempt = &sent["attempts"][0];
    assert_eq!(
        (&attempt["error"], &attempt["errorClass"], &sent["lastError"]),
        (&json!(null), &json!(null), &json!(null))
    );
    let note = "the body template failed, so the standard body was sent: it takes more than 50000 steps";
    assert_eq!(attempt["note"], note, "{sent}");
    let request = receiver.wait_for(2).remove(1);
    assert_eq!(request.header("content-type"), "application/json");
    assert!(request.header("webhook-signature").starts_with("v1,"));
    assert_eq!(
        (&request.json()["status"], request.json()["output"]["list"].as_array().unwrap().len()),
        (&json!("completed"), 50_000)
    );
}
