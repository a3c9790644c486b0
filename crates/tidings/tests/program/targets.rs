//! Forbidden targets of channels: private addresses in any notation, unless the operator allows them.

use serde_json::json;

use crate::support::{Receiver, Setup};

#[test]
fn private_target_in_any_notation_is_rejected() {
    let server = Setup::new().without("TIDINGS_ALLOW_TARGETS").start();
    let api = server.api();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0x7f000001",
        "017700000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "localhost.",
        "a.localhost",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "0.0.0.0",
        "[::]",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}/hook");
            let channel = json!({"name": "n", "type": "webhook", "config": {"url": url}});
            let wrong = api.post("/channels", channel).expect_problem(422, "invalid");
            assert_eq!(wrong, ["/config/url"], "{url}");
            let rule = json!({"resourceType": "job", "resourceId": "*", "triggers": ["failure"],
                              "channelType": "webhook", "url": url});
            let wrong = api.post("/notification-rules", rule).expect_problem(422, "invalid");
            assert_eq!(wrong, ["/url"], "{url}");
        }
        let slack =
            json!({"name": "n", "type": "slack", "config": {"webhookUrl": format!("https://{host}/services/x")}});
        assert_eq!(api.post("/channels", slack).expect_problem(422, "invalid"), ["/config/webhookUrl"], "{host}");
        let discord = json!({"name": "n", "type": "discord", "config": {"webhookUrl": format!("https://{host}/api")}});
        assert_eq!(api.post("/channels", discord).expect_problem(422, "invalid"), ["/config/webhookUrl"], "{host}");
    }
    let mail = json!({"name": "n", "type": "email", "config": {"recipients": ["a@example.com"],
                      "smtp": {"host": "127.0.0.1", "from": "a@example.com"}}});
    assert_eq!(api.post("/channels", mail).expect_problem(422, "invalid"), ["/config/smtp/host"]);
    assert_eq!(api.get("/channels").expect(200)["data"].as_array().map(Vec::len), Some(0));
}

#[test]
fn http_is_accepted_for_allowed_targets_only() {
    let server = Setup::new().without("TIDINGS_ALLOW_TARGETS").start();
    let plain = json!({"name": "n", "type": "webhook", "config": {"url": "http://example.com/hook"}});
    let answer = server.api().post("/channels", plain);
    assert_eq!(answer.expect_problem(422, "invalid"), ["/config/url"]);
    assert!(answer.text().contains("https://"), "{}", answer.text());
}

#[test]
fn allowed_network_does_not_open_others() {
    let server = Setup::new().with("TIDINGS_ALLOW_TARGETS", "127.0.0.0/8").start();
    let channel = |url| json!({"name": "n", "type": "webhook", "config": {"url": url}});
    let api = server.api();
    for url in ["http://10.0.0.1/", "http://169.254.169.254/", "https://[::1]/"] {
        assert_eq!(api.post("/channels", channel(url)).expect_problem(422, "invalid"), ["/config/url"], "{url}");
    }
    api.post("/channels", channel("http://0x7f.1/")).expect(201);
}

#[test]
fn channel_loses_access_when_its_network_is_no_longer_allowed() {
    let receiver = Receiver::good();
    let setup = Setup::new();
    let first = setup.start();
    let channel = first.api().make_webhook(&receiver, json!({"retryOnFailure": false}));
    first.api().make_rule("backup", &channel);
    first.stop();

    let setup = setup.without("TIDINGS_ALLOW_TARGETS");
    let server = setup.start();
    let api = server.api();
    let delivery = api.delivery_once(&api.fail("backup", "1"), "failed");
    let attempt = &delivery["attempts"][0];
    assert!(["configuration", "target_refused"].contains(&attempt["errorClass"].as_str().unwrap()), "{attempt}");
    assert!(attempt["error"].as_str().unwrap().contains("a loopback address"), "{attempt}");
    assert_eq!(receiver.count(), 0);
}
