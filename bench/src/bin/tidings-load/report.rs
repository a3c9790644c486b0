//! The generator's report.

use serde::Serialize;
use tidings_bench::{
    clock,
    latency::{Latencies, Summary},
};

/// Results of one connection, or of all after merging.
#[derive(Default)]
pub struct Report {
    /// Requests with a 2xx response.
    pub requests: u64,
    /// Events in these requests.
    pub events: u64,
    /// Requests with another response or none.
    pub errors: u64,
    pub first_error: Option<String>,
    /// Latency from the start of a request to its response.
    pub answered: Latencies,
    /// Delay of requests after their planned time (open loop only).
    pub late: Latencies,
    /// Start of the first request.
    pub start_nanos: u64,
    /// End of the last response.
    pub end_nanos: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportJson<'a> {
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
    /// Counts a failed request and keeps the first message.
    pub fn failed(&mut self, why: impl FnOnce() -> String) {
        self.errors += 1;
        self.first_error.get_or_insert_with(why);
    }

    /// Adds the results of another connection.
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
        serde_json::to_string(&ReportJson {
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
