//! Received requests by path.

use std::{
    hash::{DefaultHasher, Hasher as _},
    time::Duration,
};

use serde::Serialize;
use tidings_bench::{
    clock,
    latency::{Latencies, Summary},
    send_time,
    wire::Request,
};

/// Paths at most; requests for more are answered 404.
const PATHS_MAX: usize = 64;
/// Webhook ids that are kept, at most: 256 MiB.
const IDS_MAX: usize = 32 * 1024 * 1024;

/// How a path behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers immediately with this status.
    Answer(u16),
    /// Answers 200 after this time.
    Slow(Duration),
    /// Never answers.
    Hang,
}

impl Behaviour {
    fn from_path(path: &[u8]) -> Option<Self> {
        let mut parts = str::from_utf8(path).ok()?.strip_prefix('/')?.split('/');
        match parts.next()? {
            "ok" => Some(Self::Answer(200)),
            "hang" => Some(Self::Hang),
            "status" => parts.next()?.parse().ok().filter(|status| (200..600).contains(status)).map(Self::Answer),
            "slow" => parts.next()?.parse().ok().map(|ms| Self::Slow(Duration::from_millis(ms))),
            _ => None,
        }
    }
}

/// All counters.
#[derive(Default)]
pub struct Stats {
    paths: Vec<Counts>,
    send_times: send_time::Reader,
}

struct Counts {
    path: Box<[u8]>,
    behaviour: Behaviour,
    requests: u64,
    first_nanos: u64,
    last_nanos: u64,
    latencies: Latencies,
    /// Hashes of webhook-ids in order of arrival. Appending is cheap; they are sorted only when the distinct ones are
    /// queried.
    ids: Vec<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PathStats<'a> {
    path: std::borrow::Cow<'a, str>,
    requests: u64,
    with_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct: Option<u64>,
    first_nanos: u64,
    last_nanos: u64,
    latency: Option<Summary>,
}

impl Stats {
    /// Counts a request and returns how to answer it; `None` for an unknown path.
    pub fn receive(&mut self, request: &Request<'_>) -> Option<Behaviour> {
        let counts = match self.paths.iter().position(|counts| *counts.path == *request.target) {
            Some(known) => &mut self.paths[known],
            None => {
                let behaviour = Behaviour::from_path(request.target).filter(|_| self.paths.len() < PATHS_MAX)?;
                self.paths.push(Counts::new(request.target, behaviour));
                self.paths.last_mut()?
            }
        };
        let now = clock::now_nanos();
        counts.requests += 1;
        counts.last_nanos = now;
        if counts.requests == 1 {
            counts.first_nanos = now;
        }
        if let Some(id) = request.webhook_id
            && counts.ids.len() < IDS_MAX
        {
            let mut hasher = DefaultHasher::new();
            hasher.write(id);
            counts.ids.push(hasher.finish());
        }
        if let Some(then) = self.send_times.nanos(request.body) {
            counts.latencies.record(now.saturating_sub(then));
        }
        Some(counts.behaviour)
    }

    /// Resets all counters.
    pub fn reset(&mut self) {
        self.paths.clear();
    }

    /// All counters as JSON. Counting distinct ids is slow if there are many.
    pub fn to_json(&self, with_distinct: bool) -> Vec<u8> {
        let paths: Vec<PathStats<'_>> = self.paths.iter().map(|counts| counts.stats(with_distinct)).collect();
        serde_json::to_vec(&serde_json::json!({ "paths": paths })).unwrap_or_default()
    }
}

impl Counts {
    fn new(path: &[u8], behaviour: Behaviour) -> Self {
        let (path, latencies) = (path.into(), Latencies::default());
        Self { path, behaviour, requests: 0, first_nanos: 0, last_nanos: 0, latencies, ids: Vec::new() }
    }

    fn stats(&self, with_distinct: bool) -> PathStats<'_> {
        let distinct = || {
            let mut ids = self.ids.clone();
            ids.sort_unstable();
            ids.dedup();
            ids.len() as u64
        };
        PathStats {
            path: String::from_utf8_lossy(&self.path),
            requests: self.requests,
            with_id: self.ids.len() as u64,
            distinct: with_distinct.then(distinct),
            first_nanos: self.first_nanos,
            last_nanos: self.last_nanos,
            latency: self.latencies.summary(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(target: &'a str, id: &'a str) -> Request<'a> {
        Request { method: b"POST", target: target.as_bytes(), webhook_id: Some(id.as_bytes()), body: b"{}", length: 0 }
    }

    #[test]
    fn behaviour_is_parsed_from_the_path() {
        assert_eq!(Behaviour::from_path(b"/ok/a"), Some(Behaviour::Answer(200)));
        assert_eq!(Behaviour::from_path(b"/status/503"), Some(Behaviour::Answer(503)));
        assert_eq!(Behaviour::from_path(b"/slow/200/b"), Some(Behaviour::Slow(Duration::from_millis(200))));
        assert_eq!(Behaviour::from_path(b"/hang"), Some(Behaviour::Hang));
        for path in ["/", "ok", "/status", "/status/99", "/slow/x", "/other"] {
            assert_eq!(Behaviour::from_path(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn stats_count_distinct_ids_per_path() {
        let mut stats = Stats::default();
        for (path, id) in [("/ok/a", "1"), ("/ok/a", "2"), ("/ok/a", "1"), ("/ok/b", "1")] {
            assert_eq!(stats.receive(&request(path, id)), Some(Behaviour::Answer(200)));
        }
        assert_eq!(stats.receive(&request("/nowhere", "1")), None);
        let json: serde_json::Value = serde_json::from_slice(&stats.to_json(true)).unwrap();
        assert_eq!(json["paths"][0]["requests"], 3);
        assert_eq!(json["paths"][0]["distinct"], 2);
        assert_eq!(json["paths"][1]["distinct"], 1);
        stats.reset();
        assert_eq!(stats.to_json(false), br#"{"paths":[]}"#);
    }

    #[test]
    fn receive_too_many_paths_returns_none() {
        let mut stats = Stats::default();
        for path in 0..PATHS_MAX {
            assert!(stats.receive(&request(&format!("/ok/{path}"), "1")).is_some());
        }
        assert!(stats.receive(&request("/ok/more", "1")).is_none());
        assert!(stats.receive(&request("/ok/0", "1")).is_some());
    }
}
