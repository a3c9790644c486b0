//! A full disk: what cannot be stored is not accepted, what was accepted is not lost, and the service recovers when there is
//! space again.
//!
//! The disk is simulated by a limit on the size of files, which needs no privileges: writes beyond it fail likewise.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::api::failed;
use crate::support::server::{Server, program};
use crate::support::{Receiver, Setup, eventually};

/// The limit in blocks of 512 bytes: enough for the schema and a few hundred runs.
const BLOCKS: usize = 2_400;

/// Starts the service with the limit. SIGXFSZ, which would kill it, is ignored, so that the write fails instead.
fn start_on_small_disk(setup: &Setup) -> Server {
    let mut command = setup.command("sh");
    command.arg("-c").arg(format!("trap '' XFSZ; ulimit -S -f {BLOCKS}; exec \"$0\" serve")).arg(program());
    setup.start_as(command)
}

/// Lifts the limit of the running process.
fn free_space(server: &Server) {
    let lifted = Command::new("prlimit").arg(format!("--pid={}", server.pid())).arg("--fsize=unlimited:").status();
    assert!(lifted.expect("prlimit, of util-linux, is there").success());
}

/// Reports runs until one is rejected. Returns the accepted ids and the problem.
fn fill(server: &Server) -> (Vec<String>, Value) {
    let api = server.api();
    let output = "x".repeat(4_000);
    for batch in 0..2_000 {
        let mut report = failed("backup", &batch.to_string());
        report["output"] = json!(output);
        let answer = api.post("/runs", report);
        if answer.status != 202 {
            answer.expect_problem(503, "unavailable");
            assert!(answer.header("retry-after").is_some(), "it has Retry-After");
            return ((0..batch).map(|run: usize| run.to_string()).collect(), answer.json());
        }
    }
    panic!("the disk does not become full: lower the limit");
}

#[test]
fn full_disk_rejects_new_runs_and_loses_none() {
    let setup = Setup::new();
    let receiver = Receiver::good();
    let server = start_on_small_disk(&setup);
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({}));
    api.make_rule("backup", &channel);
    assert_eq!(api.get_root("/readyz").status, 200);

    let (accepted, problem) = fill(&server);
    println!("full after {} runs: {problem}", accepted.len());
    // A run needs more space than this check, whose writes use up the rest.
    let unready = eventually("it is not ready", || {
        let answer = api.get_root("/readyz");
        (answer.status != 200).then_some(answer)
    });
    unready.expect_problem(503, "unavailable");
    assert_eq!(api.get_root("/healthz").status, 200, "the process lives");
    api.post("/channels", json!({"name": "n", "type": "webhook", "config": {"url": receiver.url()}}))
        .expect_problem(503, "unavailable");
    let listed = api.get("/runs?limit=1").expect(200);
    assert_eq!(listed["data"][0]["runId"], *accepted.last().unwrap(), "stored runs can be read");

    free_space(&server);
    eventually("it is ready again", || (api.get_root("/readyz").status == 200).then_some(()));
    assert_eq!(api.post("/runs", failed("backup", &accepted.len().to_string())).expect(202)["duplicate"], false);
    server.stop();

    // Deliveries that were sent but could not be settled are sent again when their lease expires, or at the next start.
    let server = setup.start();
    let api = server.api();
    api.wait_until_settled();
    let log = api.deliveries("");
    assert_eq!(log.len(), accepted.len() + 1, "one delivery for each accepted run");
    assert!(log.iter().all(|row| row["status"] == "sent"));
    let sent = receiver.webhook_ids_by_run();
    assert!(accepted.iter().all(|run| sent.contains_key(run)), "all of them were sent");
    server.stop();
}
