//! No file descriptors left: a failed attempt is a local error and not the receiver's, and is retried.
//!
//! The limit is set on the running process so that one more connection fits: the one that reports the run and stays open.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::api::failed;
use crate::support::server::{API_KEY, Server};
use crate::support::wire::{self, Wire};
use crate::support::{Receiver, Setup, eventually};

/// Sets the limit on open files of the process.
fn limit_files(server: &Server, limit: &str) {
    let set = Command::new("prlimit").arg(format!("--pid={}", server.pid())).arg(format!("--nofile={limit}:")).status();
    assert!(set.expect("prlimit, of util-linux, is there").success());
}

/// The lowest free file descriptor of the process.
fn first_free(server: &Server) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let mut numbers: Vec<usize> =
        open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    (0..).zip(&numbers).find(|(expected, number)| expected != *number).map_or(numbers.len(), |(free, _)| free)
}

/// Whether the process still has an incoming connection.
fn has_connections(server: &Server) -> bool {
    const LISTENS: &str = "0A";
    let port = format!(":{:04X}", server.address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|parts| {
        // Local address, state, and inode, which is 0 after the process has closed the socket.
        parts.len() > 9 && parts[1].ends_with(&port) && parts[3] != LISTENS && parts[9] != "0"
    })
}

/// Sends a request over a connection that stays open.
fn send(connection: &mut Wire, method: &str, path: &str, body: &str) -> Value {
    let authorization = format!("Bearer {API_KEY}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let target = format!("/api/workspaces/default{path}");
    let answer = connection.exchange(&wire::request(method, &target, &headers, body.as_bytes())).unwrap();
    assert!(answer.first.contains(" 20"), "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn exhausted_open_files_fail_attempts_as_own_network() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1, 1, 1, 1, 1]}));
    api.make_rule("backup", &channel);
    eventually("the connections of those requests are closed", || (!has_connections(&server)).then_some(()));
    let free = first_free(&server);
    limit_files(&server, &(free + 1).to_string());
    let mut connection = Wire::connect(server.address).unwrap();
    let accepted = send(&mut connection, "POST", "/runs", &failed("backup", "1").to_string());
    let event = accepted["eventId"].as_str().unwrap();
    let attempt = eventually("an attempt is recorded", || {
        let shown = send(&mut connection, "GET", &format!("/events/{event}"), "");
        let first = shown["deliveries"][0]["attempts"][0].clone();
        first.is_object().then_some(first)
    });
    assert_eq!((&attempt["errorClass"], &attempt["httpStatus"]), (&json!("own_network"), &Value::Null), "{attempt}");
    let error = attempt["error"].as_str().unwrap();
    assert!(error.starts_with("nothing could be sent to 127.0.0.1:"), "{error}");
    assert!(error.ends_with(" from this machine: too many open files"), "{error}");

    limit_files(&server, "1024");
    drop(connection);
    let delivery = api.delivery_once(event, "sent");
    assert_eq!(receiver.count(), 1);
    assert!(delivery["attemptCount"].as_u64().unwrap() > 1, "{delivery}");
}
