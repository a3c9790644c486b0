//! People: the owner that the first start makes, and `tidings user`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::api::Answer;
use crate::support::server::program;
use crate::support::{Api, Server, Setup, eventually};

const PASSWORD: &str = "correct horse battery staple";

fn sign_in(server: &Server, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password}).to_string();
    server.api().send("POST", "/api/session", &[("content-type", "application/json")], body.as_bytes())
}

/// Who is signed in with this answer's cookie.
fn session(server: &Server, signed_in: &Answer) -> Answer {
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let request = format!("GET /api/session HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
    Api::raw(server.address, request.as_bytes())
}

/// Runs a command with this standard input.
fn with_input(setup: &Setup, arguments: &[&str], input: &str) -> Output {
    let mut command = setup.command(&program());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The command may end without reading it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn first_start_makes_an_owner_whose_password_is_in_a_private_file() {
    let setup = Setup::new();
    let server = setup.start();
    let file = setup.data_dir().join("initial-password");
    let password = std::fs::read_to_string(&file).unwrap().trim_end().to_owned();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let signed_in = sign_in(&server, "admin@localhost", &password);
    let view = signed_in.expect(200);
    assert_eq!((&view["user"]["isOperator"], &view["workspaces"][0]["role"]), (&json!(true), &json!("owner")));
    let cookie = signed_in.header("set-cookie").unwrap();
    assert!(cookie.starts_with("tidings=") && !cookie.contains("Secure"), "plain http: {cookie}");
    let finished = server.stop();
    let path = file.canonicalize().unwrap().display().to_string();
    for output in [&finished.stdout, &finished.stderr] {
        assert!(output.contains(&path) && !output.contains(&password), "{output}");
    }
    assert!(finished.stdout.contains("admin@localhost"));

    let second = setup.start();
    sign_in(&second, "admin@localhost", &password).expect(200);
    let finished = second.stop();
    assert!(finished.stderr.contains("initial password still exists"), "{}", finished.stderr);
}

#[test]
fn first_start_takes_the_configured_owner() {
    let setup = Setup::new().with("TIDINGS_ADMIN_EMAIL", "ana@example.com").with("TIDINGS_ADMIN_PASSWORD", PASSWORD);
    let server = setup.start();
    sign_in(&server, "ana@example.com", PASSWORD).expect(200);
    assert!(!setup.data_dir().join("initial-password").exists());
    let finished = server.stop();
    assert!(!finished.stdout.contains(PASSWORD) && !finished.stderr.contains(PASSWORD));
    // Later starts do not read it.
    let setup = setup.with("TIDINGS_ADMIN_PASSWORD", "another long phrase");
    let server = setup.start();
    sign_in(&server, "ana@example.com", PASSWORD).expect(200);
    sign_in(&server, "ana@example.com", "another long phrase").expect_problem(401, "wrong_credentials");
    server.stop();
    for (name, value) in [("TIDINGS_ADMIN_EMAIL", "ana"), ("TIDINGS_ADMIN_PASSWORD", "short")] {
        let invalid = Setup::new().with(name, value).run(&["serve"]);
        assert_eq!(invalid.code, Some(1));
        assert!(invalid.stderr.contains(name), "{}", invalid.stderr);
    }
}

#[test]
fn users_are_made_and_changed_beside_the_running_server() {
    let setup = Setup::new();
    let server = setup.start();
    let create = ["user", "create", "ben@example.com", "--workspace", "default", "--role", "viewer", "--name", "Ben"];
    let made = succeeded(&with_input(&setup, &create, &format!("{PASSWORD}\n")));
    assert!(made.contains("viewer") && made.contains("usr_") && !made.contains(PASSWORD), "{made}");
    let signed_in = sign_in(&server, "BEN@example.com", PASSWORD);
    assert_eq!(signed_in.expect(200)["workspaces"][0]["role"], "viewer");
    session(&server, &signed_in).expect(200);

    // A new password ends the sessions.
    let changed = with_input(&setup, &["user", "password", "ben@example.com"], "another long phrase\n");
    assert!(succeeded(&changed).contains("signed out everywhere"));
    session(&server, &signed_in).expect_problem(401, "unauthenticated");
    sign_in(&server, "ben@example.com", PASSWORD).expect_problem(401, "wrong_credentials");
    sign_in(&server, "ben@example.com", "another long phrase").expect(200);

    let generated = succeeded(&with_input(&setup, &["user", "password", "ben@example.com", "--generate"], ""));
    let password = generated.lines().find_map(|line| line.strip_prefix("password ")).unwrap();
    let password = password.split_whitespace().next().unwrap();
    sign_in(&server, "ben@example.com", password).expect(200);

    let listed = succeeded(&with_input(&setup, &["user", "list"], ""));
    for expected in ["admin@localhost", "ben@example.com", "viewer", "operator"] {
        assert!(listed.contains(expected), "{listed}");
    }
    for (arguments, input, words) in [
        (&create[..], PASSWORD, "already"),
        (&["user", "create", "nonsense"], PASSWORD, "email"),
        (&["user", "create", "c@example.com"], "short", "8 characters"),
        (&["user", "create", "c@example.com"], "", "standard input"),
        (&["user", "create", "c@example.com", "--workspace", "absent"], PASSWORD, "no workspace"),
        (&["user", "password", "absent@example.com"], PASSWORD, "no user"),
    ] {
        let error = refused(&with_input(&setup, arguments, &format!("{input}\n")));
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn password_is_asked_for_twice_on_a_terminal_and_not_echoed() {
    let setup = Setup::new();
    const SCRIPT: &str = r"
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen = b''
for prompt in (b'New password', b'Again'):
    while prompt not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, sys.argv[1].encode() + b'\n')
try:
    while data := os.read(terminal, 4096):
        seen += data
except OSError:
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let python = std::env::var("TIDINGS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = setup.command(&python);
    command.args(["-c", SCRIPT, PASSWORD, &program(), "user", "create", "ana@example.com"]);
    let output = succeeded(&command.output().unwrap());
    assert!(output.contains("Again: ") && !output.contains("horse"), "{output}");
    let server = setup.start();
    sign_in(&server, "ana@example.com", PASSWORD).expect(200);
}

#[test]
fn first_user_of_a_store_without_users_owns_its_workspaces() {
    let setup = Setup::new();
    // As a store that was made before there were users.
    assert_eq!(setup.run(&["workspace", "create", "acme"]).code, Some(0));
    let made = succeeded(&with_input(&setup, &["user", "create", "ana@example.com"], PASSWORD));
    assert!(made.contains("owner") && made.contains("acme") && made.contains("operator"), "{made}");
    let second = succeeded(&with_input(&setup, &["user", "create", "ben@example.com"], PASSWORD));
    assert!(second.contains("no workspace yet"), "{second}");
    let add = ["workspace", "add-member", "acme", "ben@example.com", "--role", "member"];
    assert!(succeeded(&with_input(&setup, &add, "")).contains("acme"));
    assert!(refused(&with_input(&setup, &add, "")).contains("member already"));
    let server = setup.start();
    let role = |email: &str| -> Value { sign_in(&server, email, PASSWORD).expect(200)["workspaces"][0].clone() };
    assert_eq!((&role("ana@example.com")["slug"], &role("ana@example.com")["role"]), (&json!("acme"), &json!("owner")));
    assert_eq!(role("ben@example.com")["role"], "member");
    assert!(server.stop().stderr.contains("`default`, which does not exist"));
}

#[test]
fn keys_made_and_revoked_beside_the_running_server_take_effect() {
    let setup = Setup::new();
    let server = setup.start();
    let new_key = ["workspace", "new-key", "default", "--name", "ci", "--read-only", "--expires-in", "90d"];
    let made = succeeded(&with_input(&setup, &new_key, ""));
    assert!(made.contains("read-only") && made.contains("expires"), "{made}");
    let key = made.split_whitespace().find(|word| word.starts_with("tdg_")).unwrap().to_owned();
    let id = made.split_whitespace().find(|word| word.starts_with("key_")).unwrap().to_owned();
    let api = Api::new(server.address, &key);
    eventually("the key works", || (api.get("/runs").status == 200).then_some(()));
    api.post("/runs", json!({})).expect_problem(403, "read_only");
    let listed = succeeded(&with_input(&setup, &["workspace", "list"], ""));
    assert!(listed.contains("ci ") && listed.contains("read-only") && listed.contains("expires 20"), "{listed}");
    succeeded(&with_input(&setup, &["workspace", "revoke-key", "default", &id], ""));
    eventually("the key stops working", || (api.get("/runs").status == 401).then_some(()));
    // A workspace appears, and the server goes on.
    let made = succeeded(&with_input(&setup, &["workspace", "create", "acme"], ""));
    let key = made.split_whitespace().find(|word| word.starts_with("tdg_")).unwrap().to_owned();
    let acme = Api::new(server.address, &key).within("acme");
    eventually("the workspace works", || (acme.get("/runs").status == 200).then_some(()));
    server.api().fail("backup", "1");
}
