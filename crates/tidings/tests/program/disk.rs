//! A full disk: nothing is accepted that cannot be kept, nothing that was accepted is lost, and when there is room again it
//! goes on.
//!
//! The disk is a limit on the size of files, which needs no privileges: writes beyond it fail, as on a full disk.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::api::failed;
use crate::support::server::{Server, program};
use crate::support::{Receiver, Setup, eventually};

/// The limit, in blocks of 512 bytes: room for the schema and a few hundred runs.
const BLOCKS: usize = 2_400;

/// Starts the service where no file may grow beyond the limit. What ends a process that tries is ignored, so that the
/// write itself fails.
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

/// Reports runs until one is refused; the ids of those accepted and what the refusal said.
fn fill(server: &Server) -> (Vec<String>, Value) {
    let api = server.api();
    let output = "x".repeat(4_000);
    for batch in 0..2_000 {
        let mut report = failed("backup", &batch.to_string());
        report["output"] = json!(output);
        let answer = api.post("/runs", report);
        if answer.status != 202 {
            answer.expect_problem(503, "unavailable");
            assert!(answer.header("retry-after").is_some(), "it says when to come back");
            return ((0..batch).map(|run: usize| run.to_string()).collect(), answer.json());
        }
    }
    panic!("the disk is never full: raise what is written, or lower the limit");
}

#[test]
fn a_full_disk_refuses_new_runs_and_loses_none() {
    let setup = Setup::new();
    let receiver = Receiver::good();
    let server = start_on_small_disk(&setup);
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({}));
    api.make_rule("backup", &channel);
    assert_eq!(api.get_root("/readyz").status, 200);

    let (accepted, problem) = fill(&server);
    println!("full after {} runs: {problem}", accepted.len());
    // A run needs more room than this question, which uses up what is left.
    let unready = eventually("it is not ready", || {
        let answer = api.get_root("/readyz");
        (answer.status != 200).then_some(answer)
    });
    unready.expect_problem(503, "unavailable");
    assert_eq!(api.get_root("/healthz").status, 200, "the process lives");
    api.post("/channels", json!({"name": "n", "type": "webhook", "config": {"url": receiver.url()}}))
        .expect_problem(503, "unavailable");
    let listed = api.get("/runs?limit=1").expect(200);
    assert_eq!(listed["data"][0]["runId"], *accepted.last().unwrap(), "what is kept can be read");

    free_space(&server);
    eventually("it takes runs in again", || (api.get_root("/readyz").status == 200).then_some(()));
    assert_eq!(api.post("/runs", failed("backup", &accepted.len().to_string())).expect(202)["duplicate"], false);
    server.stop();

    // What was sent and could not be written down is sent again when its lease ends, or at the next start.
    let server = setup.start();
    let api = server.api();
    api.wait_until_settled();
    let log = api.deliveries("");
    assert_eq!(log.len(), accepted.len() + 1, "one delivery for each run that was accepted, and none else");
    assert!(log.iter().all(|row| row["status"] == "sent"));
    let told = receiver.webhook_ids_by_run();
    assert!(accepted.iter().all(|run| told.contains_key(run)), "all of them were told");
    server.stop();
}
