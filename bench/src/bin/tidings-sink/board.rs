//! What arrived, by path.

use std::{
    hash::{DefaultHasher, Hasher as _},
    time::Duration,
};

use serde::Serialize;
use tidings_bench::{
    clock,
    latency::{Latencies, Summary},
    stamp,
    wire::Request,
};

/// More paths than this are a mistake, and are answered 404.
const PATHS_MAX: usize = 64;
/// Ids beyond this are not remembered: 256 MiB.
const IDS_MAX: usize = 32 * 1024 * 1024;

/// How a path behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers at once.
    Answer(u16),
    /// Answers 200 after a while.
    Slow(Duration),
    /// Never answers.
    Hang,
}

impl Behaviour {
    fn of(path: &[u8]) -> Option<Self> {
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

/// Everything that is counted.
#[derive(Default)]
pub struct Board {
    paths: Vec<Counts>,
    stamps: stamp::Reader,
}

struct Counts {
    path: Box<[u8]>,
    behaviour: Behaviour,
    requests: u64,
    first_nanos: u64,
    last_nanos: u64,
    latencies: Latencies,
    /// Hashes of webhook-ids in order of arrival: a list grows cheaply, sorting waits until somebody asks.
    ids: Vec<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    path: std::borrow::Cow<'a, str>,
    requests: u64,
    /// How many had a webhook-id.
    with_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct: Option<u64>,
    first_nanos: u64,
    last_nanos: u64,
    latency: Option<Summary>,
}

impl Board {
    /// Counts a request and says how to answer; `None` if its path means nothing.
    pub fn receive(&mut self, request: &Request<'_>) -> Option<Behaviour> {
        let counts = match self.paths.iter().position(|counts| *counts.path == *request.target) {
            Some(known) => &mut self.paths[known],
            None => {
                let behaviour = Behaviour::of(request.target).filter(|_| self.paths.len() < PATHS_MAX)?;
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
        if let Some(then) = self.stamps.nanos(request.body) {
            counts.latencies.record(now.saturating_sub(then));
        }
        Some(counts.behaviour)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.paths.clear();
    }

    /// Everything as JSON. Counting the different ids takes a while when there are many: only if asked.
    pub fn stats(&self, with_distinct: bool) -> Vec<u8> {
        let told: Vec<Told<'_>> = self.paths.iter().map(|counts| counts.told(with_distinct)).collect();
        serde_json::to_vec(&serde_json::json!({ "paths": told })).unwrap_or_default()
    }
}

impl Counts {
    fn new(path: &[u8], behaviour: Behaviour) -> Self {
        let (path, latencies) = (path.into(), Latencies::default());
        Self { path, behaviour, requests: 0, first_nanos: 0, last_nanos: 0, latencies, ids: Vec::new() }
    }

    fn told(&self, with_distinct: bool) -> Told<'_> {
        let distinct = || {
            let mut ids = self.ids.clone();
            ids.sort_unstable();
            ids.dedup();
            ids.len() as u64
        };
        Told {
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
    fn the_path_says_how_it_behaves() {
        assert_eq!(Behaviour::of(b"/ok/a"), Some(Behaviour::Answer(200)));
        assert_eq!(Behaviour::of(b"/status/503"), Some(Behaviour::Answer(503)));
        assert_eq!(Behaviour::of(b"/slow/200/b"), Some(Behaviour::Slow(Duration::from_millis(200))));
        assert_eq!(Behaviour::of(b"/hang"), Some(Behaviour::Hang));
        for path in ["/", "ok", "/status", "/status/99", "/slow/x", "/other"] {
            assert_eq!(Behaviour::of(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn repeats_are_told_from_others_and_paths_from_each_other() {
        let mut board = Board::default();
        for (path, id) in [("/ok/a", "1"), ("/ok/a", "2"), ("/ok/a", "1"), ("/ok/b", "1")] {
            assert_eq!(board.receive(&request(path, id)), Some(Behaviour::Answer(200)));
        }
        assert_eq!(board.receive(&request("/nowhere", "1")), None);
        let stats: serde_json::Value = serde_json::from_slice(&board.stats(true)).unwrap();
        assert_eq!(stats["paths"][0]["requests"], 3);
        assert_eq!(stats["paths"][0]["distinct"], 2);
        assert_eq!(stats["paths"][1]["distinct"], 1);
        board.reset();
        assert_eq!(board.stats(false), br#"{"paths":[]}"#);
    }

    #[test]
    fn there_is_an_end_to_new_paths() {
        let mut board = Board::default();
        for path in 0..PATHS_MAX {
            assert!(board.receive(&request(&format!("/ok/{path}"), "1")).is_some());
        }
        assert!(board.receive(&request("/ok/more", "1")).is_none());
        assert!(board.receive(&request("/ok/0", "1")).is_some());
    }
}
