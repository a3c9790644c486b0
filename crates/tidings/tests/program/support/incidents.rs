//! Shortcuts for endpoints, incidents and their deliveries. Unless timing is tested, checks are reported over the API, so
//! that the test determines when an incident begins and ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Api, id};
use super::receiver::Receiver;
use super::{ahead, eventually};

/// Quiet hours that include the present and the next hours, with these fields merged over them.
pub fn quiet_now(more: Value) -> Value {
    let at = |hours: u64| ahead(Duration::from_secs(hours * 3_600)).to_string()[11..16].to_owned();
    let mut hours = json!({"start": at(18), "end": at(6), "timezone": "UTC"});
    hours.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    json!({"quietHours": hours})
}

impl Api {
    /// Creates an endpoint with these fields merged over the defaults here: one check opens or resolves an incident.
    #[track_caller]
    pub fn make_monitored(&self, url: &str, more: Value) -> String {
        let mut body = json!({"name": "Production API", "type": "http", "url": url, "intervalSeconds": 86_400,
                              "failureThreshold": 1, "recoveryThreshold": 1});
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        id(&self.post("/endpoints", body).expect(201)["endpoint"])
    }

    /// Creates an endpoint for reported checks: its own probe finds it healthy once, and then runs only after a day.
    #[track_caller]
    pub fn make_endpoint(&self, more: Value) -> String {
        let page = super::Page::answering(200);
        let endpoint = self.make_monitored(&page.url(), more);
        self.endpoint_once(&endpoint, "healthy");
        endpoint
    }

    /// The endpoint, once it has this status.
    #[track_caller]
    pub fn endpoint_once(&self, endpoint: &str, status: &str) -> Value {
        eventually(&format!("it is {status}"), || {
            let endpoint = self.get(&format!("/endpoints/{endpoint}")).expect(200);
            (endpoint["status"] == status).then_some(endpoint)
        })
    }

    /// Wires channels to an endpoint.
    #[track_caller]
    pub fn wire(&self, endpoint: &str, channels: &[&str]) {
        let wired = |channel: &&str| json!({"channelId": channel, "wired": true});
        let wires: Vec<_> = channels.iter().map(wired).collect();
        self.put(&format!("/endpoints/{endpoint}/notifications"), json!({"channels": wires})).expect(200);
    }

    /// Pauses or resumes a channel for an endpoint.
    #[track_caller]
    pub fn pause(&self, endpoint: &str, channel: &str, paused: bool) {
        let wires = json!({"channels": [{"channelId": channel, "paused": paused}]});
        self.put(&format!("/endpoints/{endpoint}/notifications"), wires).expect(200);
    }

    /// Reports a check, and returns the incident in the response.
    #[track_caller]
    pub fn check(&self, endpoint: &str, status: &str) -> Value {
        let (reason, code) = match status {
            "down" => (json!("HTTP 502 — expected 200"), 502),
            "degraded" => (json!("slow"), 200),
            _ => (Value::Null, 200),
        };
        let check = json!({"status": status, "statusReason": reason, "statusCode": code, "responseTimeMs": 81});
        self.post(&format!("/endpoints/{endpoint}/checks"), check).expect(202)["incident"].clone()
    }

    /// Reports a check that opens an incident, and returns its id.
    #[track_caller]
    pub fn open(&self, endpoint: &str, status: &str) -> String {
        let incident = self.check(endpoint, status);
        assert_eq!(incident["transition"], "opened", "{incident}");
        id(&incident)
    }

    /// Reports a check that resolves the incident.
    #[track_caller]
    pub fn resolve(&self, endpoint: &str) {
        let incident = self.check(endpoint, "healthy");
        assert_eq!(incident["transition"], "resolved", "{incident}");
    }

    /// The incident.
    #[track_caller]
    pub fn incident(&self, incident: &str) -> Value {
        self.get(&format!("/incidents/{incident}")).expect(200)
    }

    /// The deliveries of an incident with this trigger through a channel, oldest first.
    #[track_caller]
    pub fn incident_deliveries(&self, incident: &str, trigger: &str, channel: &str) -> Vec<Value> {
        let mut all = self.deliveries(&format!("&incident={incident}&channel={channel}"));
        all.retain(|delivery| delivery["trigger"] == trigger);
        all.reverse();
        all
    }

    /// The only delivery of an incident with this trigger through a channel, once it has this status.
    #[track_caller]
    pub fn incident_delivery_once(&self, incident: &str, trigger: &str, channel: &str, status: &str) -> Value {
        eventually(&format!("{trigger} is {status}"), || {
            let deliveries = self.incident_deliveries(incident, trigger, channel);
            assert!(deliveries.len() <= 1, "{deliveries:?}");
            let delivery = deliveries.into_iter().next()?;
            let settled = ["sent", "failed", "suppressed", "skipped"].contains(&delivery["status"].as_str().unwrap());
            let is_reached = delivery["status"] == status;
            assert!(is_reached || !settled, "it will never be {status}: {delivery}");
            is_reached.then_some(delivery)
        })
    }

    /// Asserts that the delivery was suppressed for this reason, and returns the verdict that stopped it.
    #[track_caller]
    pub fn stopped(&self, incident: &str, trigger: &str, channel: &str, reason: &str) -> Value {
        let delivery = self.incident_delivery_once(incident, trigger, channel, "suppressed");
        assert_eq!(delivery["suppressedReason"], reason, "{delivery}");
        let verdict = delivery["verdicts"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(verdict["verdict"], "suppress", "{delivery}");
        verdict
    }

    /// Creates a Slack channel, which supports digests, to this receiver with these policies, and returns its id.
    #[track_caller]
    pub fn make_slack(&self, receiver: &Receiver, policies: Value) -> String {
        let url = format!("http://{}/services/T0/B0/xyz", receiver.address());
        let mut body = json!({"name": "#ops", "type": "slack", "config": {"webhookUrl": url}});
        body.as_object_mut().unwrap().extend(policies.as_object().cloned().unwrap_or_default());
        self.make_channel(body)
    }

    /// Edits policies of a channel.
    #[track_caller]
    pub fn edit_channel(&self, channel: &str, policies: Value) {
        self.patch(&format!("/channels/{channel}"), policies).expect(200);
    }
}
