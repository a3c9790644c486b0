//! The functions of `docs/WEBHOOKS.md` that verify webhooks, run in their languages against what the program sends.

mod cases;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::support::signed::magone_signature;
use crate::support::snippets::{self, Snippet};
use crate::support::{Receiver, Request, Setup};
use cases::{Case, assert_answers};

const DOCUMENT: &str = "docs/WEBHOOKS.md";

/// A directory with a snippet of the document and the file that applies it to cases.
struct Program {
    snippet: Snippet,
    directory: TempDir,
}

impl Program {
    fn new(title: &str) -> Self {
        Self { snippet: snippets::titled(DOCUMENT, title), directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same with a further file.
    fn with(self, name: &str, text: &str) -> Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        self
    }

    /// The same with the snippet as a file of this name.
    fn with_snippet(self, name: &str) -> Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        self.snippet.save(self.path(name));
        self
    }

    /// A command in the directory.
    fn command(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory.path());
        command
    }

    /// Runs the command on `cases.json` and checks its answers.
    #[track_caller]
    fn check(&self, cases: &[Case], mut command: Command) {
        fs::write(self.path("cases.json"), cases::to_json(cases).to_string()).unwrap();
        command.arg("cases.json");
        assert_answers(cases, &self.snippet.output_of(command));
    }
}

#[test]
fn python_snippet_accepts_only_genuine_webhooks() {
    let program =
        Program::new("verify-python").with_snippet("verify.py").with("driver.py", include_str!("drivers/driver.py"));
    let command = program.command("python3", &["-W", "error", "driver.py", "verify", "is_from_tidings"]);
    program.check(&cases::all(), command);
}

#[test]
fn node_snippet_accepts_only_genuine_webhooks() {
    let program =
        Program::new("verify-node").with_snippet("verify.mjs").with("driver.mjs", include_str!("drivers/driver.mjs"));
    program.check(&cases::all(), program.command("node", &["driver.mjs"]));
}

#[test]
fn go_snippet_accepts_only_genuine_webhooks() {
    let program = Program::new("verify-go")
        .with_snippet("tidings/verify.go")
        .with("main.go", include_str!("drivers/main.go"))
        .with("go.mod", "module example.test/receiver\n\ngo 1.19\n");
    let unformatted = program.snippet.output_of(program.command("gofmt", &["-l", "tidings/verify.go"]));
    assert_eq!(unformatted, "", "{} is not formatted as gofmt does", program.snippet);
    let mut command = program.command("go", &["run", "."]);
    // The cache saves the compilation of the standard library, which takes most of the time; nothing is downloaded.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache");
    command.env("GOCACHE", cache).env("GOFLAGS", "-mod=mod").env("GOPROXY", "off").env("GOTOOLCHAIN", "local");
    program.check(&cases::all(), command);
}

#[test]
fn php_snippet_accepts_only_genuine_webhooks() {
    let program =
        Program::new("verify-php").with_snippet("verify.php").with("driver.php", include_str!("drivers/driver.php"));
    program.check(&cases::all(), program.command("php", &["driver.php"]));
}

#[test]
fn ruby_snippet_accepts_only_genuine_webhooks() {
    let program =
        Program::new("verify-ruby").with_snippet("verify.rb").with("driver.rb", include_str!("drivers/driver.rb"));
    program.check(&cases::all(), program.command("ruby", &["-w", "driver.rb"]));
}

/// The program of the shell snippet, with the cases as directories: a shell reads no JSON.
fn shell_program(cases: &[Case]) -> Program {
    let program =
        Program::new("verify-shell").with_snippet("verify.sh").with("driver.sh", include_str!("drivers/driver.sh"));
    for (number, case) in cases.iter().enumerate() {
        let directory = program.path(&format!("cases/{number:03}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("secret"), &case.secret).unwrap();
        fs::write(directory.join("body"), &case.body).unwrap();
        for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let value = case.headers.get(header).map_or("", String::as_str);
            fs::write(directory.join(header), value).unwrap();
        }
    }
    program
}

#[test]
fn shell_snippet_accepts_only_genuine_webhooks() {
    let cases = cases::all();
    let program = shell_program(&cases);
    for shell in ["sh", "bash"] {
        assert_answers(&cases, &program.snippet.output_of(program.command(shell, &["driver.sh"])));
    }
}

#[test]
fn shell_snippet_with_a_failing_openssl_accepts_nothing() {
    let mut cases = cases::basic();
    // An empty signature must not equal the empty output of a command that failed.
    let empty = cases[0].clone();
    cases.extend(["v1,", ""].map(|signature| {
        let mut case = empty.clone();
        case.headers.insert("webhook-signature".to_owned(), signature.to_owned());
        case
    }));
    cases.iter_mut().for_each(|case| case.is_genuine = false);
    let program = shell_program(&cases).with("failing/openssl", "#!/bin/sh\nexit 1\n");
    let path = std::env::var("PATH").unwrap();
    let mut command = program.command("sh", &["-c", "chmod +x failing/openssl && exec sh driver.sh"]);
    command.env("PATH", format!("{}:{path}", program.path("failing").display()));
    assert_answers(&cases, &program.snippet.output_of(command));
}

#[test]
fn python_library_accepts_only_genuine_webhooks() {
    let python = std::env::var_os("TIDINGS_TEST_PYTHON")
        .expect("TIDINGS_TEST_PYTHON must name a Python that has standardwebhooks; `cargo xtask test` sets it");
    let program = Program::new("verify-library-python")
        .with_snippet("verify.py")
        .with("library.py", include_str!("drivers/library.py"));
    program.check(&cases::basic(), program.command(python, &["library.py"]));
}

#[test]
fn node_libraries_accept_only_genuine_webhooks() {
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-node").join("node_modules");
    assert!(modules.is_dir(), "no {modules:?}: run `cargo xtask tools`");
    let cases = cases::basic();
    for library in ["standardwebhooks", "svix"] {
        let mut program = Program::new("verify-library-node").with("library.mjs", include_str!("drivers/library.mjs"));
        program.snippet.text = program.snippet.text.replace("standardwebhooks", library);
        let program = program.with_snippet("verify.mjs");
        // Node looks for packages beside the importing file and above it.
        std::os::unix::fs::symlink(&modules, program.path("node_modules")).unwrap();
        program.check(&cases, program.command("node", &["library.mjs"]));
    }
}

/// Cases for a vendor's header, which is altered in these ways.
fn vendor_cases(request: &Request, secret: &str, header: &str, altered: &[String]) -> Vec<Case> {
    let genuine = Case {
        name: "as it was sent".to_owned(),
        secret: secret.to_owned(),
        headers: [(header.to_owned(), request.header(header).to_owned())].into(),
        body: request.body().to_vec(),
        is_genuine: true,
    };
    let refused = |name: &str| Case { name: name.to_owned(), is_genuine: false, ..genuine.clone() };
    let mut cases = vec![
        genuine.clone(),
        Case { secret: secret.replace("whsec_", ""), ..refused("another secret") },
        Case { body: [request.body(), b"\n"].concat(), ..refused("another body") },
        Case { headers: [].into(), ..refused("without the header") },
    ];
    cases.extend(altered.iter().map(|value| {
        let headers = [(header.to_owned(), value.clone())].into();
        Case { headers, ..refused(&format!("{header}: {value}")) }
    }));
    cases
}

#[test]
fn vendor_snippet_accepts_only_genuine_webhooks() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let program = Program::new("verify-vendor-python")
        .with_snippet("verify.py")
        .with("driver.py", include_str!("drivers/driver.py"));
    let secret = |answer: &serde_json::Value| answer["signingSecretOnce"].as_str().unwrap().to_owned();

    let rule = json!({"resourceType": "job", "resourceId": "nightly", "triggers": ["failure"],
                      "channelType": "webhook", "url": receiver.url()});
    let created = api.post("/notification-rules", rule).expect(201);
    api.fail("nightly", "1");
    let request = &receiver.wait_for(1)[0];
    let signature = request.header("X-Mako-Signature");
    let altered = ["", "é", "x", &signature[1..]].map(str::to_owned);
    let cases = vendor_cases(request, &secret(&created), "X-Mako-Signature", &altered);
    let arguments = ["-W", "error", "driver.py", "verify", "has_mako_signature"];
    program.check(&cases, program.command("python3", &arguments));

    let subscription = json!({"url": receiver.url(), "events": ["workflow.completed"]});
    let created = api.post("/use-cases/u1/webhooks", subscription).expect(201);
    let run = json!({"resourceType": "use_case", "resourceId": "u1", "runId": "1", "status": "success"});
    api.post("/runs", run).expect(202);
    let request = &receiver.wait_for(2)[1];
    let header = request.header("X-MagOne-Signature");
    let (t, v1) = header.split_once(',').unwrap();
    let altered = ["", "é", "t=,v1=", t, v1, "t=1,v1=é", &header.replace("t=", "t=1"), &header.replace("v1=", "v2=")];
    let old = (t.strip_prefix("t=").unwrap().parse::<i64>().unwrap() - 600).to_string();
    let old = format!("t={old},v1={}", magone_signature(&secret(&created), &old, request.body()));
    let altered = [altered.map(str::to_owned).to_vec(), vec![old]].concat();
    let cases = vendor_cases(request, &secret(&created), "X-MagOne-Signature", &altered);
    let arguments = ["-W", "error", "driver.py", "verify", "has_magone_signature"];
    program.check(&cases, program.command("python3", &arguments));
}
