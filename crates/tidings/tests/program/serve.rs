//! The first start and the next: ready at once, says what to do next, and shows its key once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::receiver::closed_port;
use crate::support::server::{API_KEY, program};
use crate::support::{Api, SURELY, Server, Setup, eventually};

/// The `curl` that the program prints, as somebody would copy it: up to the next empty line.
fn printed_curl(server: &Server) -> String {
    server.wait_for_stdout(|text| {
        let (command, _) = text[text.find("  curl ")?..].split_once("\n\n")?;
        Some(command.to_owned())
    })
}

/// Pastes a command into a shell, with nothing in its environment but what `setup` has.
fn paste(setup: &Setup, command: &str) -> Value {
    let output = setup.command("sh").arg("-c").arg(format!("{command} --silent --show-error")).output().unwrap();
    let (answer, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{command}\nanswered {answer:?} and {complaints:?}"))
}

fn shown_key(stdout: &str) -> Option<String> {
    let (_, rest) = stdout.split_once("shown this once: ")?;
    rest.split_once('\n').map(|(key, _)| key.to_owned())
}

fn opens(server: &Server, key: &str) -> bool {
    match Api::new(server.address, key).get("/runs").status {
        200 => true,
        401 => false,
        other => panic!("the list of runs answered {other}"),
    }
}

#[test]
fn an_empty_directory_is_enough_and_it_is_ready_at_once() {
    let setup = Setup::new();
    let server = setup.start();
    println!("listened {} ms after its start", server.ready_after.as_millis());
    assert!(server.ready_after < SURELY);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.api().get_root(path).status, 200, "{path}");
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&setup.data_dir()), 0o700);
    for file in std::fs::read_dir(setup.data_dir()).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert!(setup.data_dir().join("tidings.db").is_file());
    server.stop();
}

#[test]
fn it_takes_as_many_open_files_as_the_system_grants() {
    let setup = Setup::new();
    for (soft, hard, words) in [(256, 5_000, "files=5000"), (256, 2_000, "LimitNOFILE")] {
        let mut command = setup.command("sh");
        let script = format!("ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$0\" serve");
        command.arg("-c").arg(script).arg(program());
        let server = setup.start_as(command);
        server.wait_for_log(words);
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(files.split_whitespace().nth(3), Some(hard.to_string().as_str()), "{files}");
        server.stop();
    }
}

#[test]
fn the_printed_curl_works_when_it_is_pasted() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    let server = setup.start();
    let key = server.wait_for_stdout(shown_key);
    let curl = printed_curl(&server);
    let answer = paste(&setup, &curl);
    assert_eq!(answer["duplicate"], false, "{answer}");
    assert_eq!(paste(&setup, &curl)["duplicate"], true);
    let runs = Api::new(server.address, &key).get("/runs").expect(200);
    assert_eq!(runs["data"][0]["eventId"], answer["eventId"], "{runs}");
}

#[test]
fn with_a_key_of_the_operators_the_printed_curl_names_its_variable() {
    let setup = Setup::new();
    let server = setup.start();
    let answer = paste(&setup, &printed_curl(&server));
    assert_eq!(answer["duplicate"], false, "{answer}");
    let finished = server.stop();
    assert!(
        !finished.stdout.contains(API_KEY) && shown_key(&finished.stdout).is_none(),
        "a chosen key is not said back"
    );
}

#[test]
fn the_key_is_shown_once_and_goes_on_working() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    let first = setup.start();
    let key = first.wait_for_stdout(shown_key);
    let finished = first.stop();
    assert!(!finished.stderr.contains(&key), "the key is shown, not logged");

    let second = setup.start();
    assert!(opens(&second, &key));
    assert!(!opens(&second, &format!("{key}0")));
    let finished = second.stop();
    assert!(!finished.stdout.contains("tdg_") && !finished.stderr.contains(&key), "{}", finished.stdout);
}

#[test]
fn a_key_that_the_operator_sets_later_opens_too() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    let first = setup.start();
    let made = first.wait_for_stdout(shown_key);
    assert!(!opens(&first, API_KEY));
    first.stop();

    let setup = setup.with("TIDINGS_API_KEY", API_KEY);
    let second = setup.start();
    assert!(opens(&second, API_KEY) && opens(&second, &made));
}

#[test]
fn it_runs_as_well_when_nobody_reads_what_it_writes() {
    // The reader of its output is gone before it says anything.
    let address = closed_port();
    let setup = Setup::new().with("TIDINGS_LISTEN", &address.to_string()).with("TIDINGS_LOG", "trace");
    let mut service = setup.command(&program());
    let mut service = service.arg("serve").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((service.stdout.take(), service.stderr.take()));
    eventually("it listens", || std::net::TcpStream::connect(address).ok());
    let api = Api::new(address, API_KEY);
    api.fail("backup", "1");
    assert_eq!(api.get_root("/readyz").status, 200);
    assert!(service.try_wait().unwrap().is_none(), "it runs");
    service.kill().unwrap();
    service.wait().unwrap();
}

#[test]
fn what_was_told_is_there_after_a_restart() {
    let setup = Setup::new();
    let first = setup.start();
    let api = first.api();
    let event = api.fail("backup", "1");
    let before = api.get(&format!("/events/{event}")).expect(200);
    first.stop();

    let second = setup.start();
    let api = second.api();
    assert_eq!(api.get(&format!("/events/{event}")).expect(200), before);
    let again = api.post("/runs", crate::support::api::failed("backup", "1")).expect(202);
    assert_eq!((&again["eventId"], &again["duplicate"]), (&json!(event), &json!(true)));
}
