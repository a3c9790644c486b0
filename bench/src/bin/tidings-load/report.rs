//! What a run of the generator came to.

use serde::Serialize;
use tidings_bench::{
    clock,
    latency::{Latencies, Summary},
};

/// Collected by each connection, then added up.
#[derive(Default)]
pub struct Report {
    /// Requests that were answered 2xx.
    pub requests: u64,
    /// Events in them.
    pub events: u64,
    /// Requests that were answered otherwise or not at all.
    pub errors: u64,
    /// What the first of those was.
    pub first_error: Option<String>,
    /// From the beginning of a request to its answer.
    pub answered: Latencies,
    /// How much later than planned requests left (with a rate only).
    pub late: Latencies,
    /// When the first request began.
    pub start_nanos: u64,
    /// When the last answer had come.
    pub end_nanos: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    requests: u64,
    events: u64,
    errors: u64,
    first_error: Option<&'a str>,
    seconds: f64,
    requests_per_second: f64,
    events_per_second: f64,
    start_nanos: u64,
    end_nanos: u64,
    answered: Option<Summary>,
    late: Option<Summary>,
}

impl Report {
    /// Counts a request that failed; keeps the words of the first.
    pub fn failed(&mut self, why: impl FnOnce() -> String) {
        self.errors += 1;
        self.first_error.get_or_insert_with(why);
    }

    /// Adds what another connection collected.
    pub fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.events += other.events;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.answered.merge(&other.answered);
        self.late.merge(&other.late);
        self.end_nanos = self.end_nanos.max(other.end_nanos);
    }

    /// One line.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let seconds = clock::seconds_between(self.start_nanos, self.end_nanos).max(1e-9);
        serde_json::to_string(&Told {
            requests: self.requests,
            events: self.events,
            errors: self.errors,
            first_error: self.first_error.as_deref(),
            seconds,
            requests_per_second: self.requests as f64 / seconds,
            events_per_second: self.events as f64 / seconds,
            start_nanos: self.start_nanos,
            end_nanos: self.end_nanos,
            answered: self.answered.summary(),
            late: self.late.summary(),
        })
    }
}
