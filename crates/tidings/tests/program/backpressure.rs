//! Backpressure: a report for a congested but fast channel is delayed a little; reports for other channels are not.

use std::time::Duration;

use serde_json::json;

use crate::support::api::{Api, failed};
use crate::support::{Receiver, Reply, Setup, now};

/// Requests that the receiver answers at once, so that the channel counts as fast.
const FAST: usize = 32;
/// Deliveries that congest a channel: more than 1,024 in memory and store together.
const CROWD: usize = 1_100;
/// The maximum delay of a report with one delivery: 100 ms, and 30 ms for the delivery.
const PATIENCE: Duration = Duration::from_millis(130);

/// The response time of a report of one run.
fn timed(api: &Api, job: &str, run: usize) -> Duration {
    let began = now();
    api.fail(job, &run.to_string());
    began.elapsed()
}

#[test]
fn report_for_congested_channel_is_delayed_and_accepted() {
    let busy = Receiver::start(|_, number| if number <= FAST { Reply::Status(204) } else { Reply::Held });
    let idle = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let patient = json!({"timeoutMs": 60_000});
    api.make_rule("busy", &api.make_webhook(&busy, patient.clone()));
    api.make_rule("idle", &api.make_webhook(&idle, patient));
    (0..FAST).for_each(|run| drop(api.fail("busy", &run.to_string())));
    busy.wait_for(FAST);
    let crowd: Vec<_> = (FAST..FAST + CROWD).map(|run| failed("busy", &run.to_string())).collect();
    for part in crowd.chunks(550) {
        api.post("/runs", json!(part)).expect(202);
    }
    busy.wait_for(FAST + 64);

    let last = FAST + CROWD;
    let waited = timed(&api, "busy", last);
    assert!(waited >= PATIENCE, "{waited:?}: it was not delayed");
    // The minimum of several: other load may delay some of them, but backpressure would delay all.
    let quickest = (0..5).map(|run| timed(&api, "idle", run)).min().unwrap();
    assert!(quickest < PATIENCE, "{quickest:?}: held back for a channel that is not its own");

    busy.release();
    busy.wait_for(last + 1);
    idle.wait_for(5);
    let mut ids: Vec<_> = busy.requests().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), last + 1, "each was sent once");
}
