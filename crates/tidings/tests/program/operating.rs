//! The configuration, the commands and the unit of `docs/OPERATING.md`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::server::program;
use crate::support::{Mailbox, Setup, snippets};

const DOCUMENT: &str = "docs/OPERATING.md";

#[test]
fn configuration_file_is_accepted() {
    let snippet = snippets::titled(DOCUMENT, "tidings.toml");
    let setup = Setup::new().without("TIDINGS_LISTEN").without("TIDINGS_DATA_DIR").without("TIDINGS_ALLOW_TARGETS");
    snippet.save(setup.directory().join("tidings.toml"));
    let finished = setup.run(&["check-config", "--config", "tidings.toml"]);
    assert_eq!(finished.code, Some(0), "{snippet}: {}", finished.stderr);
    assert!(finished.stdout.contains("10.1.0.0/16,fd12::/48"), "{snippet}: {}", finished.stdout);
    assert!(!finished.stdout.contains("user:password"), "{snippet}: {}", finished.stdout);
}

#[test]
fn environment_file_is_accepted() {
    let snippet = snippets::titled(DOCUMENT, "tidings.env");
    let mut setup = Setup::new();
    for line in snippet.text.lines() {
        // Also what is commented out has to be right.
        let (name, value) = line.trim_start_matches('#').split_once('=').unwrap_or_else(|| panic!("{snippet}: {line}"));
        setup = setup.with(name, value);
    }
    let finished = setup.run(&["check-config"]);
    assert_eq!(finished.code, Some(0), "{snippet}: {}", finished.stderr);
    assert!(finished.stdout.contains("https://tidings.example.com"), "{snippet}: {}", finished.stdout);
}

#[test]
fn email_channel_uses_its_own_server_and_then_the_instances() {
    let snippet = snippets::titled(DOCUMENT, "email-own-server");
    let mailbox = Mailbox::start();
    let setup = Setup::new()
        .with("TIDINGS_SMTP_URL", &format!("smtp://127.0.0.1:{}?tls=opportunistic", mailbox.port))
        .with("TIDINGS_MAIL_FROM", "Tidings <tidings@example.com>");
    let server = setup.start();
    let api = server.api();
    let made = api.post("/channels", serde_json::from_str(&snippet.text).unwrap()).expect(201)["channel"].clone();
    assert_eq!(made["config"]["smtp"]["password"], "•••", "{snippet}: {made}");
    let path = format!("/channels/{}", made["id"].as_str().unwrap());
    let change = |smtp: Value| api.patch(&path, json!({"config": {"smtp": smtp}}));
    let pointers = change(json!({"host": "other.example.com"})).expect_problem(422, "invalid");
    assert_eq!(pointers, ["/config/smtp/password"]);
    assert_eq!(change(json!({"tls": "none"})).expect_problem(422, "invalid"), ["/config/smtp/tls"]);
    let certificate = snippets::titled(DOCUMENT, "email-own-certificate");
    let with = api.post("/channels", serde_json::from_str(&certificate.text).unwrap()).expect(201);
    assert_eq!(with["channel"]["config"]["smtp"]["tls"]["serverName"], "mail.internal.example", "{with}");
    let own = change(json!({"host": "127.0.0.1", "port": mailbox.port, "tls": "none", "username": null})).expect(200);
    assert!(own["channel"]["config"]["smtp"].get("password").is_none(), "{own}");
    let test = || assert_eq!(api.post(&format!("{path}/test"), json!({})).expect(200)["ok"], true);
    test();
    assert_eq!(mailbox.wait_for(2)[0].header("From"), "Alerts <alerts@example.com>");
    change(Value::Null).expect(200);
    test();
    assert_eq!(mailbox.wait_for(4)[2].header("From"), "Tidings <tidings@example.com>");
}

#[test]
fn backup_of_a_running_server_is_restored() {
    let (backup, restore) = (snippets::titled(DOCUMENT, "backup"), snippets::titled(DOCUMENT, "restore"));
    let mut setup = Setup::new();
    let place = setup.directory().display().to_string();
    let server = setup.start();
    let channel = server.api().make_channel(json!({"name": "ops", "type": "webhook",
                                                   "config": {"url": "https://example.com/hook"}}));
    let script = backup.text.replace("/var/lib/tidings", &format!("{place}/data")).replace("/var/backups", &place);
    let mut command = setup.command("sh");
    command.args(["-euc", &script]);
    backup.output_of(command);
    let copies = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
    let copy = copies.into_iter().find(|path| path.extension().is_some_and(|it| it == "db")).expect("a copy");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600, "{backup}");
    server.stop();

    fs::copy(setup.data_dir().join("secret.key"), setup.directory().join("tidings-secret.key")).unwrap();
    let script = restore
        .text
        .replace(" -o tidings -g tidings", "")
        .replace("/var/lib/tidings", &format!("{place}/restored"))
        .replace("/root/", &format!("{place}/"))
        .replace("/var/backups/tidings-2026-05-02.db", &copy.display().to_string());
    let mut command = setup.command("sh");
    command.args(["-euc", &script]);
    restore.output_of(command);
    setup = setup.with("TIDINGS_DATA_DIR", "restored");
    let listed = setup.start().api().get("/channels").expect(200);
    assert_eq!(listed["data"][0]["id"], channel, "{restore}: {listed}");
}

#[test]
fn systemd_unit_is_valid_and_confined() {
    let snippet = snippets::titled(DOCUMENT, "tidings.service");
    let setup = Setup::new();
    let binary = fs::canonicalize(program()).unwrap().display().to_string();
    let text = snippet.text.replace("/usr/local/bin/tidings", &binary);
    fs::write(setup.directory().join("tidings.service"), text).unwrap();
    let analyze = |arguments: &[&str]| {
        let mut command = setup.command("systemd-analyze");
        command.args(arguments).arg("./tidings.service");
        command
    };
    snippet.output_of(analyze(&["verify", "--man=no"]));
    let judged = snippet.output_of(analyze(&["security", "--offline=true", "--no-pager"]));
    let (_, exposure) = judged.rsplit_once("Overall exposure level").unwrap_or_else(|| panic!("{judged}"));
    let exposure: f64 = exposure.split_whitespace().find_map(|word| word.parse().ok()).expect("a number");
    assert!(exposure < 2.0, "{snippet}: exposure {exposure}");
    let setting = |name: &str| snippet.text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<u32>();
    assert!(setting("TimeoutStopSec=").unwrap() >= 20 + 10, "{snippet}: --drain-seconds and 10 s");
}
