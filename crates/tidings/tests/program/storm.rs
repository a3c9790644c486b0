//! Two thousand endpoints fail in the same second. A channel with a limit of 30 messages a minute gets 30 and one digest of
//! the rest, one without a limit gets all messages, and the log is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::spawn;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::id;
use crate::support::server::API_KEY;
use crate::support::wire::{self, Wire};
use crate::support::{Api, Page, Receiver, Server, Setup, now};

const ENDPOINTS: usize = 2_000;
/// The rate limit of the limited channel, in messages a minute.
const PER_MINUTE: usize = 30;
/// Concurrent clients that report the checks.
const CLIENTS: usize = 16;
/// A minute until the rate limit has capacity again, and time for the digest.
const PATIENCE: Duration = Duration::from_secs(75);

/// Posts each of these bodies to its path, by concurrent clients with a connection each.
fn post_all(server: &Server, requests: Vec<(String, Value)>, status: &str) -> Vec<Value> {
    let (address, share) = (server.address, requests.len().div_ceil(CLIENTS));
    let client = |requests: Vec<(String, Value)>, status: String| {
        spawn(move || {
            let mut wire = Wire::connect(address).unwrap();
            let key = format!("Bearer {API_KEY}");
            let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
            let post = |(path, body): (String, Value)| {
                let target = format!("/api/workspaces/default{path}");
                let request = wire::request("POST", &target, &headers, body.to_string().as_bytes());
                let answer = wire.exchange(&request).unwrap();
                assert!(answer.first.contains(&status), "{} {}", answer.first, String::from_utf8_lossy(&answer.body));
                serde_json::from_slice(&answer.body).unwrap()
            };
            requests.into_iter().map(post).collect::<Vec<Value>>()
        })
    };
    let clients: Vec<_> = requests.chunks(share).map(|share| client(share.to_vec(), status.to_owned())).collect();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

/// The number of deliveries of a channel by kind and status.
fn states(api: &Api, channel: &str) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for delivery in api.deliveries(&format!("&channel={channel}")) {
        let state = format!("{} {}", delivery["kind"].as_str().unwrap(), delivery["status"].as_str().unwrap());
        *states.entry(state).or_default() += 1;
    }
    states
}

fn counted<const N: usize>(states: [(&str, usize); N]) -> BTreeMap<String, usize> {
    BTreeMap::from(states.map(|(state, count)| (state.to_owned(), count)))
}

#[test]
fn two_thousand_incidents_at_once_are_thirty_messages_and_one_digest() {
    let (page, discord, hook) = (Page::answering(200), Receiver::good(), Receiver::good());
    let server = Setup::new().start();
    let api = server.api();
    let url = format!("http://{}/api/webhooks/1/xyz", discord.address());
    let limited = api.make_channel(json!({"name": "#ops", "type": "discord", "config": {"webhookUrl": url},
        "rateLimit": {"maxPerMinute": PER_MINUTE, "action": "digest"}}));
    let unlimited = api.make_webhook(&hook, json!({}));
    for channel in [&limited, &unlimited] {
        let rule = json!({"resourceType": "endpoint", "resourceId": "*", "channelId": channel});
        api.post("/notification-rules", rule).expect(201);
    }
    let began = now();
    // Their own probes are healthy, and resolve nothing.
    let endpoint = |number| {
        json!({"name": format!("Shop {number:04}"), "type": "http", "url": page.url(),
        "intervalSeconds": 86_400, "failureThreshold": 1, "recoveryThreshold": 1_000})
    };
    let made = post_all(&server, (0..ENDPOINTS).map(|number| ("/endpoints".into(), endpoint(number))).collect(), "201");
    let made_after = began.elapsed();

    let began = now();
    let down = json!({"status": "down", "statusReason": "HTTP 502 — expected 200"});
    let check = |made: &Value| (format!("/endpoints/{}/checks", id(&made["endpoint"])), down.clone());
    let answers = post_all(&server, made.iter().map(check).collect(), "202");
    let reported_after = began.elapsed();
    let incidents: BTreeSet<_> = answers.iter().map(|answer| id(&answer["incident"])).collect();
    assert_eq!(incidents.len(), ENDPOINTS, "each has an incident of its own");

    let requests = hook.wait_for(ENDPOINTS);
    let received_after = began.elapsed();
    let notified: BTreeSet<_> = requests.iter().map(|request| id(&request.json()["incident"])).collect();
    assert_eq!((notified.len(), hook.count()), (ENDPOINTS, ENDPOINTS), "one message for each, through the webhook");
    discord.wait_for(PER_MINUTE);
    api.wait_until_settled();
    assert_eq!(states(&api, &unlimited), counted([("incident_opened sent", ENDPOINTS)]));
    let held = ENDPOINTS - PER_MINUTE;
    let expected = counted([("incident_opened held", held), ("incident_opened sent", PER_MINUTE)]);
    assert_eq!(states(&api, &limited), expected, "what is too much waits");

    let requests = discord.wait_longer_for(PER_MINUTE + 1, PATIENCE);
    let waited = requests[PER_MINUTE].at - began;
    assert!(waited >= Duration::from_secs(59), "not before the rate limit has capacity: {waited:?}");
    api.wait_until_settled();
    let expected = counted([("digest sent", 1), ("incident_opened sent", ENDPOINTS)]);
    assert_eq!(states(&api, &limited), expected, "the log is complete, and each has come to its end");
    assert_eq!(discord.count(), PER_MINUTE + 1, "one digest");
    let digest = requests[PER_MINUTE].json().to_string();
    assert!(digest.contains("1,970"), "{digest}");
    let digest = &api.deliveries(&format!("&channel={limited}&kind=digest"))[0];
    let carried = api.deliveries(&format!("&digest={}", id(digest)));
    let carried: BTreeSet<_> = carried.iter().map(|delivery| delivery["runId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(carried.len(), held, "it carries all the others");
    assert!(carried.is_subset(&incidents));
    assert!(incidents.iter().take(50).all(|incident| api.incident(incident)["notificationsSent"] == 2));
    println!(
        "{ENDPOINTS} endpoints created in {made_after:?}, their incidents reported in {reported_after:?}, all received after \
         {received_after:?}; the digest came after {waited:?}"
    );
}
