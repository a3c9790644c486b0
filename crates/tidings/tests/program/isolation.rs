//! Isolation: slow and failing receivers do not delay the others.

use serde_json::json;

use crate::support::receiver::closed_port;
use crate::support::{Receiver, Reply, Setup};

/// Backlog of each bad channel: more than its slots.
const PILE: usize = 150;
/// Deliveries to the healthy channel.
const GOOD: usize = 100;

#[test]
fn healthy_channel_is_not_delayed_by_slow_and_failing_ones() {
    let hanging = Receiver::start(|_, _| Reply::Hang);
    let dripping = Receiver::start(|_, _| Reply::Drip);
    let closing = Receiver::start(|_, _| Reply::Close);
    let good = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let patient = json!({"timeoutMs": 60_000, "retryDelaysSeconds": [60]});
    for (job, receiver) in [("hangs", &hanging), ("drips", &dripping), ("closes", &closing)] {
        api.make_rule(job, &api.make_webhook(receiver, patient.clone()));
    }
    let nowhere = json!({"name": "nowhere", "type": "webhook", "retryDelaysSeconds": [60],
                         "config": {"url": format!("http://{}/", closed_port())}});
    api.make_rule("nowhere", &api.make_channel(nowhere));
    api.make_rule("good", &api.make_webhook(&good, json!({})));
    let report = |job: &str, run: usize| crate::support::api::failed(job, &run.to_string());
    for job in ["hangs", "drips", "closes", "nowhere"] {
        let pile: Vec<_> = (0..PILE).map(|run| report(job, run)).collect();
        api.post("/runs", json!(pile)).expect(202);
    }
    hanging.wait_for(64);
    dripping.wait_for(64);

    let runs: Vec<_> = (0..GOOD).map(|run| report("good", run)).collect();
    let accepted = api.post("/runs", json!(runs)).expect(202);
    good.wait_for(GOOD);
    for event in accepted.as_array().unwrap() {
        let delivery = api.delivery_once(event["eventId"].as_str().unwrap(), "sent");
        assert_eq!(delivery["attemptCount"], 1, "{delivery}");
    }
    for job in ["hangs", "drips"] {
        let sent =
            api.get(&format!("/deliveries?resourceType=job&resourceId={job}&status=sending&limit=1")).expect(200);
        assert!(!sent["data"].as_array().unwrap().is_empty(), "{job}: still under way");
        let failed =
            api.get(&format!("/deliveries?resourceType=job&resourceId={job}&status=failed&limit=1")).expect(200);
        assert!(failed["data"].as_array().unwrap().is_empty(), "{job}: none has given up");
    }
}
