//! Messages as receivers get them: the workspace's time zone, names, labels and foreign text are the same in every channel.

use serde_json::{Value, json};

use crate::support::{Api, Mailbox, Receiver, Reply, Setup};

/// A receiver of each channel type, and the channels' ids.
struct Channels {
    mailbox: Mailbox,
    slack: Receiver,
    discord: Receiver,
    webhook: Receiver,
    ids: Vec<String>,
}

impl Channels {
    fn make(api: &Api) -> Self {
        let mailbox = Mailbox::start();
        let [slack, discord, webhook] = [(); 3].map(|()| Receiver::always(200));
        let smtp = json!({"host": "127.0.0.1", "port": mailbox.port, "tls": "none", "from": "tidings@example.com"});
        let at = |receiver: &Receiver, path: &str| format!("http://{}{path}", receiver.address());
        let configs = [
            ("email", json!({"recipients": ["ops@example.com"], "smtp": smtp})),
            ("slack", json!({"webhookUrl": at(&slack, "/services/T0/B0/xyz")})),
            ("discord", json!({"webhookUrl": at(&discord, "/api/webhooks/1/xyz")})),
            ("webhook", json!({"url": webhook.url()})),
        ];
        let make = |(kind, config): (&str, Value)| {
            api.make_channel(json!({"name": format!("to {kind}"), "type": kind, "config": config}))
        };
        let ids = configs.into_iter().map(make).collect();
        Self { mailbox, slack, discord, webhook, ids }
    }

    /// What each receiver got as its message with this number, as text.
    fn received(&self, number: usize) -> [String; 4] {
        let text = |receiver: &Receiver| {
            let body = receiver.wait_for(number)[number - 1].json();
            serde_json::to_string(&body).unwrap()
        };
        let mail = self.mailbox.wait_for(number)[number - 1].text();
        [mail, text(&self.slack), text(&self.discord), text(&self.webhook)]
    }
}

#[test]
fn messages_have_the_workspaces_time_zone_and_tests_name_their_channel() {
    let server = Setup::new().start();
    let api = server.api();
    let channels = Channels::make(&api);
    api.patch("/notification-preferences", json!({"timezone": "Asia/Kathmandu"})).expect(200);
    for channel in &channels.ids {
        api.make_rule("j1", channel);
    }
    let run = json!({"resourceType": "job", "resourceId": "j1", "resourceName": " ", "runId": "r1", "status": "failure",
        "triggerType": "schedule", "completedAt": "2026-05-02T04:00:12Z"});
    api.post("/runs", run).expect(202);
    let [mail, slack, discord, webhook] = channels.received(1);
    assert!(webhook.contains(r#""resourceName":null"#), "{webhook}");
    for text in [mail, slack, discord] {
        assert!(text.contains("2026-05-02 09:45:12 UTC+0545"), "{text}");
        assert!(text.contains("j1 failed"), "a blank name falls back to the id: {text}");
        assert!(text.contains("Trigger") && !text.contains("Started"), "{text}");
    }
    for id in &channels.ids {
        api.post(&format!("/channels/{id}/test"), json!({})).expect(200);
    }
    for (text, kind) in channels.received(2).iter().zip(["email", "slack", "discord", "webhook"]) {
        assert!(text.contains(&format!("Test notification from Tidings: to {kind}")), "{text}");
        assert!(text.contains("UTC+0545"), "{text}");
    }
}

#[test]
fn foreign_text_is_cleaned_alike_in_every_channel() {
    let server = Setup::new().start();
    let api = server.api();
    let channels = Channels::make(&api);
    for channel in &channels.ids {
        api.make_rule("j1", channel);
    }
    let error = "\u{1b}[1;31mERROR\u{1b}[0m\u{1b}(B in\u{1b}]0;title\u{7}voice\u{202e}fdp.exe\r50 %\r100 %";
    let run =
        json!({"resourceType": "job", "resourceId": "j1", "runId": "r1", "status": "failure", "errorMessage": error});
    api.post("/runs", run).expect(202);
    let [mail, slack, discord, _] = channels.received(1);
    for text in [mail, slack.replace("\\n", "\n"), discord.replace("\\n", "\n")] {
        let lines: Vec<_> = text.lines().map(|line| line.trim_start().trim_end_matches("</pre>")).collect();
        let at =
            lines.iter().position(|line| line.ends_with("ERROR invoicefdp.exe")).unwrap_or_else(|| panic!("{text}"));
        assert!(lines[at + 1].ends_with("50 %") && lines[at + 2].starts_with("100 %"), "{text}");
    }
}

#[test]
fn refused_embed_arrives_as_plain_text_and_the_attempt_notes_it() {
    let server = Setup::new().start();
    let api = server.api();
    // The receiver refuses whatever has an embed, as Discord does with one that it finds malformed.
    let discord = Receiver::start(|request, _| match request.json().get("embeds") {
        Some(_) => {
            let body = r#"{"message": "Invalid Form Body", "code": 50035}"#;
            Reply::Bytes(format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into())
        }
        None => Reply::Status(204),
    });
    let url = format!("http://{}/api/webhooks/1/xyz", discord.address());
    let channel = api.make_channel(json!({"name": "d", "type": "discord", "config": {"webhookUrl": url}}));
    api.make_rule("j1", &channel);
    let event = api.fail("j1", "r1");
    let delivery = api.delivery_once(&event, "sent");
    assert!(discord.wait_for(2)[1].json()["content"].as_str().unwrap().contains("j1 failed"));
    let attempts = delivery["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["error"]), (1, &Value::Null), "{delivery}");
    assert!(attempts[0]["note"].as_str().unwrap().contains("plain text"), "{delivery}");
}

#[test]
fn test_event_of_a_use_case_has_an_output() {
    let server = Setup::new().start();
    let (api, receiver) = (server.api(), Receiver::always(200));
    let body = json!({"url": receiver.url(), "events": ["workflow.completed"]});
    let rule = api.post("/use-cases/uc1/webhooks", body).expect(201)["rule"]["id"].as_str().unwrap().to_owned();
    api.post(&format!("/use-cases/uc1/webhooks/{rule}/test"), json!({})).expect(200);
    let sample = receiver.wait_for(1)[0].json();
    assert_eq!((&sample["test"], sample["output"].is_object()), (&json!(true), true), "{sample}");
}
