//! Starts: readiness, the startup banner, and the API key that the first start generates.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::receiver::closed_port;
use crate::support::server::{API_KEY, program};
use crate::support::{Api, Server, Setup, WAIT_MAX, eventually};

/// The `curl` command of the banner, up to the next empty line.
fn printed_curl(server: &Server) -> String {
    server.wait_for_stdout(|text| {
        let (command, _) = text[text.find("  curl ")?..].split_once("\n\n")?;
        Some(command.to_owned())
    })
}

/// Runs a command in a shell with the environment of `setup`, as a user would paste it.
fn paste(setup: &Setup, command: &str) -> Value {
    let output = setup.command("sh").arg("-c").arg(format!("{command} --silent --show-error")).output().unwrap();
    let (answer, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{command}\nanswered {answer:?} and {complaints:?}"))
}

/// The file for the initial API key.
fn key_file(setup: &Setup) -> PathBuf {
    setup.data_dir().join("initial-api-key")
}

fn read_key(setup: &Setup) -> String {
    std::fs::read_to_string(key_file(setup)).unwrap().trim_end().to_owned()
}

/// Starts the service with a pseudo-terminal as its standard output, which a child process copies to the pipe of the test.
fn start_in_terminal(setup: &Setup) -> Server {
    const SCRIPT: &str = r"
import os, sys, termios
terminal, stdout = os.openpty()
mode = termios.tcgetattr(stdout)
mode[1] &= ~termios.OPOST
termios.tcsetattr(stdout, termios.TCSANOW, mode)
if os.fork() == 0:
    os.close(stdout)
    try:
        while data := os.read(terminal, 4096):
            os.write(1, data)
    except OSError:
        pass  # The service has ended.
    os._exit(0)
os.close(terminal)
os.dup2(stdout, 1)
os.close(stdout)
os.execv(sys.argv[1], sys.argv[1:])
";
    let python = std::env::var("TIDINGS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = setup.command(&python);
    command.args(["-c", SCRIPT, &program(), "serve"]);
    setup.start_as(command)
}

fn opens(server: &Server, key: &str) -> bool {
    match Api::new(server.address, key).get("/runs").status {
        200 => true,
        401 => false,
        other => panic!("the list of runs answered {other}"),
    }
}

#[test]
fn first_start_in_an_empty_directory_is_ready_at_once() {
    let setup = Setup::new();
    let server = setup.start();
    println!("listened {} ms after its start", server.ready_after.as_millis());
    assert!(server.ready_after < WAIT_MAX);
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
fn open_file_limit_is_raised_to_the_hard_limit() {
    let setup = Setup::new();
    for (soft, hard, expected) in [(256, 5_000, "files=5000"), (256, 2_000, "LimitNOFILE")] {
        let mut command = setup.command("sh");
        let script = format!("ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$0\" serve");
        command.arg("-c").arg(script).arg(program());
        let server = setup.start_as(command);
        server.wait_for_log(expected);
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(files.split_whitespace().nth(3), Some(hard.to_string().as_str()), "{files}");
        server.stop();
    }
}

#[test]
fn printed_curl_command_works() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    let server = setup.start();
    let curl = printed_curl(&server);
    let answer = paste(&setup, &curl);
    assert_eq!(answer["duplicate"], false, "{answer}");
    assert_eq!(paste(&setup, &curl)["duplicate"], true);
    let runs = Api::new(server.address, &read_key(&setup)).get("/runs").expect(200);
    assert_eq!(runs["data"][0]["eventId"], answer["eventId"], "{runs}");
}

#[test]
fn printed_curl_command_uses_the_variable_of_a_configured_key() {
    let setup = Setup::new();
    let server = setup.start();
    let answer = paste(&setup, &printed_curl(&server));
    assert_eq!(answer["duplicate"], false, "{answer}");
    let finished = server.stop();
    assert!(!finished.stdout.contains(API_KEY) && !finished.stderr.contains(API_KEY), "{}", finished.stdout);
    assert!(!key_file(&setup).exists(), "a configured key is not written to a file");
}

#[test]
fn first_start_without_terminal_writes_the_key_to_a_private_file_that_the_log_names() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    let server = setup.start();
    let key = read_key(&setup);
    assert!(opens(&server, &key));
    assert_eq!(key_file(&setup).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let finished = server.stop();
    let path = key_file(&setup).canonicalize().unwrap().display().to_string();
    assert!(finished.stderr.contains(&path), "the log names the file: {}", finished.stderr);
    assert!(finished.stdout.contains(&path), "the banner names the file: {}", finished.stdout);
    assert!(!finished.stderr.contains("tdg_") && !finished.stdout.contains("tdg_"), "{finished:?}");
}

#[test]
fn first_start_in_a_terminal_prints_the_key_once_and_writes_no_file() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    let first = start_in_terminal(&setup);
    let printed = |text: &str| {
        let (_, rest) = text.split_once("which is not shown again: ")?;
        rest.split_once('\n').map(|(key, _)| key.to_owned())
    };
    let key = first.wait_for_stdout(printed);
    assert!(opens(&first, &key));
    assert_eq!(paste(&setup, &printed_curl(&first))["duplicate"], false);
    assert!(!key_file(&setup).exists());
    let finished = first.stop();
    assert!(!finished.stderr.contains(&key), "the key is printed, not logged");

    let second = start_in_terminal(&setup);
    assert!(opens(&second, &key));
    assert!(!second.stop().stdout.contains("tdg_"));
}

#[test]
fn initial_key_in_its_file_works_after_restarts() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    setup.start().stop();
    let key = read_key(&setup);

    let second = setup.start();
    assert!(opens(&second, &key));
    assert!(!opens(&second, &format!("{key}0")));
    let finished = second.stop();
    assert_eq!(read_key(&setup), key, "the file is not overwritten");
    assert!(finished.stderr.contains("still exists"), "the log asks for its removal: {}", finished.stderr);
    assert!(!finished.stdout.contains("tdg_") && !finished.stderr.contains(&key), "{}", finished.stdout);

    std::fs::remove_file(key_file(&setup)).unwrap();
    let third = setup.start();
    assert!(opens(&third, &key));
    assert!(!third.stop().stderr.contains("initial-api-key"));
    assert!(!key_file(&setup).exists(), "no key is generated for an existing workspace");
}

#[test]
fn initial_key_that_cannot_be_written_fails_the_start_and_the_next_one_writes_it() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    let obstacle = setup.data_dir().join("initial-api-key.new");
    std::fs::create_dir_all(&obstacle).unwrap();
    let failed = setup.run(&["serve"]);
    assert_eq!(failed.code, Some(1));
    for expected in ["initial-api-key", "TIDINGS_API_KEY"] {
        assert!(failed.stderr.contains(expected), "{}", failed.stderr);
    }
    assert!(!failed.stdout.contains("listens on"), "{}", failed.stdout);
    assert!(!key_file(&setup).exists());

    std::fs::remove_dir(&obstacle).unwrap();
    let server = setup.start();
    assert!(opens(&server, &read_key(&setup)));
}

#[test]
fn key_file_of_an_interrupted_first_start_is_used_by_the_next() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    // As after a crash between the creation of the file and that of the workspace.
    std::fs::create_dir(setup.data_dir()).unwrap();
    std::fs::write(key_file(&setup), format!("{API_KEY}\n")).unwrap();
    std::fs::set_permissions(key_file(&setup), std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = start_in_terminal(&setup);
    assert!(opens(&server, API_KEY));
    let finished = server.stop();
    assert!(finished.stderr.contains("initial-api-key"), "{}", finished.stderr);
    assert!(!finished.stdout.contains(API_KEY), "{}", finished.stdout);
}

#[test]
fn key_configured_later_works_beside_the_initial_one() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    let first = setup.start();
    let initial = read_key(&setup);
    assert!(!opens(&first, API_KEY));
    first.stop();

    let setup = setup.with("TIDINGS_API_KEY", API_KEY);
    let second = setup.start();
    assert!(opens(&second, API_KEY) && opens(&second, &initial));
}

#[test]
fn service_runs_with_closed_output() {
    // The pipes are closed before it writes.
    let address = closed_port();
    let setup = Setup::new().with("TIDINGS_LISTEN", &address.to_string()).with("TIDINGS_LOG", "trace");
    let mut service = setup.command(&program());
    let mut service = service.arg("serve").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((service.stdout.take(), service.stderr.take()));
    eventually("it listens", || std::net::TcpStream::connect(address).ok());
    let api = Api::new(address, API_KEY);
    api.fail("backup", "1");
    assert_eq!(api.get_root("/readyz").status, 200);
    assert!(service.try_wait().unwrap().is_none(), "it still runs");
    service.kill().unwrap();
    service.wait().unwrap();
}

#[test]
fn events_survive_a_restart() {
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
