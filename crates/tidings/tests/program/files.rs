//! No open files left: what cannot leave the machine is not the receiver's failure, and is sent when there are files again.
//!
//! The limit is set on the running process, so that just one connection more fits: the one that reports the run, which
//! stays open.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::api::failed;
use crate::support::server::{API_KEY, Server};
use crate::support::wire::{self, Wire};
use crate::support::{Receiver, Setup, eventually};

/// Lets the process open files below this number only.
fn limit_files(server: &Server, limit: &str) {
    let set = Command::new("prlimit").arg(format!("--pid={}", server.pid())).arg(format!("--nofile={limit}:")).status();
    assert!(set.expect("prlimit, of util-linux, is there").success());
}

/// The lowest number that no open file of the process has.
fn first_free(server: &Server) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let mut numbers: Vec<usize> =
        open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    (0..).zip(&numbers).find(|(expected, number)| expected != *number).map_or(numbers.len(), |(free, _)| free)
}

/// Whether the process still holds a connection that came in.
fn has_connections(server: &Server) -> bool {
    const LISTENS: &str = "0A";
    let port = format!(":{:04X}", server.address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|parts| {
        // Local address, state, and the file that holds it: none once the process has closed it.
        parts.len() > 9 && parts[1].ends_with(&port) && parts[3] != LISTENS && parts[9] != "0"
    })
}

/// Asks over a connection that stays open.
fn ask(line: &mut Wire, method: &str, path: &str, body: &str) -> Value {
    let authorization = format!("Bearer {API_KEY}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let target = format!("/api/workspaces/default{path}");
    let answer = line.exchange(&wire::request(method, &target, &headers, body.as_bytes())).unwrap();
    assert!(answer.first.contains(" 20"), "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn without_files_nobody_else_is_to_blame() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1, 1, 1, 1, 1]}));
    api.make_rule("backup", &channel);
    eventually("the connections of those requests are closed", || (!has_connections(&server)).then_some(()));
    let free = first_free(&server);
    limit_files(&server, &(free + 1).to_string());
    let mut line = Wire::connect(server.address).unwrap();
    let accepted = ask(&mut line, "POST", "/runs", &failed("backup", "1").to_string());
    let event = accepted["eventId"].as_str().unwrap();
    let attempt = eventually("it was tried", || {
        let shown = ask(&mut line, "GET", &format!("/events/{event}"), "");
        let first = shown["deliveries"][0]["attempts"][0].clone();
        first.is_object().then_some(first)
    });
    assert_eq!((&attempt["errorClass"], &attempt["httpStatus"]), (&json!("own_network"), &Value::Null), "{attempt}");
    let said = attempt["error"].as_str().unwrap();
    assert!(said.starts_with("nothing could be sent to 127.0.0.1:"), "{said}");
    assert!(said.ends_with(" from this machine: too many open files"), "{said}");

    limit_files(&server, "1024");
    drop(line);
    let delivery = api.delivery_once(event, "sent");
    assert_eq!(receiver.count(), 1);
    assert!(delivery["attemptCount"].as_u64().unwrap() > 1, "{delivery}");
}
