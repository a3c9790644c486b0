//! Bursts to receivers that limit the rate: everything arrives, with few refusals, at the receiver's own pace.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::{Api, failed};
use crate::support::{Receiver, Reply, Setup};

/// Runs that are reported at once.
const BURST: usize = 100;

/// A receiver that takes `limit` requests in each window of time, which begins with the first of them.
struct Window {
    limit: usize,
    length: Duration,
    state: Mutex<(Option<Instant>, usize, usize)>,
}

impl Window {
    const fn new(limit: usize, length: Duration) -> Self {
        Self { limit, length, state: Mutex::new((None, 0, 0)) }
    }

    /// Counts a request. Returns whether it is taken, how many more are, and the time until the window ends.
    fn count(&self) -> (bool, usize, Duration) {
        let (began, taken, refused) = &mut *self.state.lock().unwrap();
        let now = crate::support::now();
        if began.is_none_or(|began| now - began >= self.length) {
            (*began, *taken) = (Some(now), 0);
        }
        let is_taken = *taken < self.limit;
        *(if is_taken { &mut *taken } else { refused }) += 1;
        let left = self.length.saturating_sub(now - began.unwrap_or(now));
        (is_taken, self.limit - *taken, left)
    }

    fn refused(&self) -> usize {
        self.state.lock().unwrap().2
    }

    /// The time that the receiver needs for the burst at the least.
    fn own_pace(&self) -> Duration {
        self.length * (BURST.div_ceil(self.limit) - 1) as u32
    }
}

fn reply(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes())
}

/// Reports the burst and waits until all of it is sent. Returns how long that took.
fn send_burst(api: &Api, channel: &str) -> Duration {
    api.make_rule("backup", channel);
    let began = crate::support::now();
    let runs: Vec<Value> = (0..BURST).map(|number| failed("backup", &number.to_string())).collect();
    api.post("/runs", Value::Array(runs)).expect(202);
    while api.deliveries(&format!("&channel={channel}&status=sent")).len() < BURST {
        assert!(crate::support::now() - began < Duration::from_secs(120), "not all are sent");
        std::thread::sleep(Duration::from_millis(100));
    }
    crate::support::now() - began
}

#[test]
fn burst_to_discord_arrives_at_its_pace_with_few_refusals() {
    let window: &Window = Box::leak(Box::new(Window::new(5, Duration::from_secs(2))));
    let receiver = Receiver::start(move |_, _| {
        let (is_taken, remaining, left) = window.count();
        let after = left.as_secs_f64();
        let headers = format!(
            "x-ratelimit-limit: 5\r\nx-ratelimit-remaining: {remaining}\r\nx-ratelimit-reset-after: {after:.3}\r\n"
        );
        if is_taken {
            return reply("204 No Content", &headers, "");
        }
        let body = json!({"message": "You are being rate limited.", "retry_after": after, "global": false});
        reply("429 Too Many Requests", &format!("{headers}content-type: application/json\r\n"), &body.to_string())
    });
    let server = Setup::new().start();
    let api = server.api();
    let url = format!("{}/api/webhooks/1/token", receiver.url());
    let channel = api.make_channel(json!({"name": "ops", "type": "discord", "config": {"webhookUrl": url}}));
    let took = send_burst(&api, &channel);
    println!("{BURST} in {took:?}, own pace {:?}, {} refusals", window.own_pace(), window.refused());
    assert!(window.refused() <= 10, "{} refusals", window.refused());
    assert!(took <= window.own_pace().mul_f64(1.5), "{took:?}");
}

#[test]
fn burst_to_a_limited_webhook_arrives() {
    let window: &Window = Box::leak(Box::new(Window::new(20, Duration::from_secs(1))));
    let receiver = Receiver::start(move |_, _| match window.count() {
        (true, ..) => Reply::Status(204),
        _ => reply("429 Too Many Requests", "retry-after: 1\r\n", ""),
    });
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1, 1, 2, 4, 8]}));
    let took = send_burst(&api, &channel);
    let refused = window.refused();
    println!("{BURST} in {took:?}, own pace {:?}, {refused} refusals", window.own_pace());
    // The first 64 leave before the first answer arrives, and the window that grows after a pause overshoots.
    assert!(refused <= 2 * BURST, "{refused} refusals");
    assert!(took <= Duration::from_secs(30), "{took:?}");
    let shown = api.get(&format!("/channels/{channel}")).expect(200);
    assert_eq!(shown["health"]["failingSince"], Value::Null, "{shown}");
}
