//! A real Prometheus with a firing rule, and a real Alertmanager that sends the alert.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::foreign::Foreign;
use crate::support::{Receiver, Setup};

/// The rule file; `fires` determines whether the rule fires.
fn write_rules(directory: &Path, fires: bool) {
    let expr = if fires { "vector(1)" } else { "vector(1) > 1" };
    let rules = format!(
        "groups:\n- name: shop\n  rules:\n  - alert: CheckoutSlow\n    expr: {expr}\n    for: 0s\n    \
         labels: {{severity: critical, instance: 'web-1:9100', team: shop}}\n    \
         annotations: {{summary: Checkout takes 3 s}}\n"
    );
    fs::write(directory.join("rules.yml"), rules).unwrap();
}

/// Starts Alertmanager with this webhook URL. Returns its address.
fn start_alertmanager(setup: &Setup, url: &str) -> (Foreign, String) {
    let config = format!(
        "route: {{receiver: tidings, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers:\n- name: tidings\n  webhook_configs: [{{url: '{url}'}}]\n"
    );
    fs::write(setup.directory().join("alertmanager.yml"), config).unwrap();
    let mut command = setup.command("prometheus-alertmanager");
    command.args([
        "--config.file=alertmanager.yml",
        "--storage.path=alertmanager",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
    ]);
    let alertmanager = Foreign::start(command);
    let address = alertmanager.wait_for_stderr(|log| {
        let (_, rest) = log.split_once("msg=\"Listening on\" address=")?;
        rest.split_once('\n').map(|(address, _)| address.trim().to_owned())
    });
    (alertmanager, address)
}

fn start_prometheus(setup: &Setup, alertmanager: &str) -> Foreign {
    let config = format!(
        "global: {{evaluation_interval: 200ms}}\nrule_files: [rules.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n"
    );
    fs::write(setup.directory().join("prometheus.yml"), config).unwrap();
    let mut command = setup.command("prometheus");
    command.args([
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=prometheus",
        "--web.listen-address=127.0.0.1:0",
        "--rules.alert.resend-delay=1s",
    ]);
    Foreign::start(command)
}

#[test]
fn alert_of_prometheus_opens_and_resolves_an_incident() {
    let setup = Setup::new();
    let server = setup.start();
    let api = server.api();
    let receiver = Receiver::good();
    let channel = api.make_webhook(&receiver, json!({}));
    let rule = json!({
        "resourceType": "alert", "resourceId": "*", "triggers": ["opened", "resolved"], "channelId": channel,
    });
    api.post("/notification-rules", rule).expect(201);
    let webhook = api.post("/inbound-webhooks", json!({"type": "alertmanager", "name": "Prometheus"})).expect(201);
    let url = webhook["url"].as_str().unwrap();
    let path = &url[url.find("/in/").unwrap()..];

    let (_alertmanager, alertmanager_at) = start_alertmanager(&setup, &format!("http://{}{path}", server.address));
    write_rules(setup.directory(), true);
    let prometheus = start_prometheus(&setup, &alertmanager_at);
    let opened = receiver.wait_for(1)[0].json();
    assert_eq!((&opened["event"], &opened["severity"]), (&json!("incident_opened"), &json!("critical")), "{opened}");
    assert!(opened["title"].as_str().unwrap().contains("CheckoutSlow (web-1:9100)"), "{opened}");
    assert_eq!(opened["detail"], "Checkout takes 3 s");
    assert!(opened["link"].as_str().unwrap().contains("/graph?"), "the link leads to Prometheus: {opened}");
    assert!(opened["tags"].as_array().unwrap().contains(&json!("team=shop")), "{opened}");

    write_rules(setup.directory(), false);
    prometheus.reload();
    let resolved = receiver.wait_for(2)[1].json();
    assert_eq!((&resolved["event"], &resolved["severity"]), (&json!("incident_resolved"), &json!("success")));
    assert_eq!(resolved["incident"]["id"], opened["incident"]["id"]);
    let incidents = api.get("/incidents").expect(200);
    assert_eq!(incidents["data"].as_array().map(Vec::len), Some(1), "{incidents}");
    assert_eq!((&incidents["data"][0]["status"], receiver.count()), (&json!("resolved"), 2));
}
