//! `tidings-unit`, its drop-ins and its template unit.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{DOCUMENT, Ended, SHELLS, World, run};
use crate::support::server::API_KEY;
use crate::support::snippets;

/// Replaces the journal; it records its arguments.
const JOURNALCTL: &str = r#"#!/bin/sh
echo "$@" > "$JOURNAL_ARGUMENTS"
printf 'connecting\nerror: "disk" full \033[1m\377\n'
"#;

fn unit_command(world: &World, shell: &[&str], unit: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = world.command(shell[0], &[&shell[1..], &["tidings-unit", unit]].concat());
    let path = format!("{}:{}", world.path("stub").display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("JOURNAL_ARGUMENTS", world.path("journal-arguments"));
    command.env("TIDINGS_ENV_FILE", "/nonexistent").envs(variables.iter().copied());
    command
}

#[test]
fn systemd_script_reports_how_the_service_ended() {
    let world = World::start();
    let snippet = world.install("tidings-unit", "tidings-unit");
    world.write_script("stub/journalctl", JOURNALCTL);
    for shell in SHELLS {
        let name = |what: &str| format!("{}-{what}.service", shell[0]);
        let end = |what: &str, variables: &[(&str, &str)]| {
            let Ended { code, stderr, .. } = run(unit_command(&world, shell, &name(what), variables));
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{snippet}: {what}");
        };
        let message = |what: &str| world.newest_job(&name(what))["errorMessage"].as_str().unwrap().to_owned();

        let invocation = format!("{:0>32}", "1a");
        let facts = [("SERVICE_RESULT", "success"), ("EXIT_CODE", "exited"), ("EXIT_STATUS", "0")];
        end("good", &[&facts[..], &[("INVOCATION_ID", &*invocation), ("TRIGGER_UNIT", "good.timer")]].concat());
        let reported = world.newest_job(&name("good"));
        assert_eq!((&reported["status"], &reported["triggerType"]), (&json!("success"), &json!("scheduled")));
        assert_eq!(reported["runId"], invocation, "{snippet}");

        let facts = [("SERVICE_RESULT", "exit-code"), ("EXIT_CODE", "exited"), ("EXIT_STATUS", "3")];
        end("bad", &[&facts[..], &[("INVOCATION_ID", "2b")]].concat());
        assert_eq!(message("bad"), "exit-code: exited, 3\nconnecting\nerror: \"disk\" full ");
        let arguments = fs::read_to_string(world.path("journal-arguments")).unwrap();
        assert!(arguments.contains("_SYSTEMD_INVOCATION_ID=2b"), "{arguments}");

        end("killed", &[("SERVICE_RESULT", "signal"), ("EXIT_CODE", "killed"), ("EXIT_STATUS", "KILL")]);
        assert!(message("killed").starts_with("signal: killed, KILL"), "{}", message("killed"));

        end("skipped", &[("SERVICE_RESULT", "exec-condition"), ("EXIT_CODE", "exited"), ("EXIT_STATUS", "1")]);
        assert!(world.runs("job", &name("skipped")).is_empty(), "what ExecCondition= skips did not run");

        // For OnFailure=, systemd names the unit that failed in other variables; its invocation is not the reporter's.
        let monitored = [
            ("MONITOR_SERVICE_RESULT", "core-dump"),
            ("MONITOR_EXIT_CODE", "dumped"),
            ("MONITOR_EXIT_STATUS", "SEGV"),
            ("MONITOR_INVOCATION_ID", "3c"),
        ];
        for reporter in ["4d", "5e"] {
            end("monitored", &[&monitored[..], &[("INVOCATION_ID", reporter)]].concat());
        }
        assert_eq!(world.runs("job", &name("monitored")).len(), 1, "reported twice, it is one run");
        assert!(message("monitored").starts_with("core-dump: dumped, SEGV"), "{}", message("monitored"));

        end("of-an-older-systemd", &[("INVOCATION_ID", "6f")]);
        assert!(message("of-an-older-systemd").starts_with("failed"), "{}", message("of-an-older-systemd"));
    }
}

#[test]
fn systemd_script_reads_its_environment_file() {
    let world = World::start();
    world.install("tidings-unit", "tidings-unit");
    let snippet = world.install("report.env", "report.env");
    let text = snippet.text.replace("https://tidings.example.com", &world.url()).replace("tdg_…", API_KEY);
    fs::write(world.path("report.env"), text).unwrap();
    let file = world.path("report.env").display().to_string();
    let variables = [("TIDINGS_URL", ""), ("TIDINGS_API_KEY", ""), ("TIDINGS_ENV_FILE", &*file)];
    let variables = [&variables[..], &[("SERVICE_RESULT", "success"), ("INVOCATION_ID", "1a")]].concat();
    let ended = run(unit_command(&world, &["sh"], "backup.service", &variables));
    assert_eq!(ended.code, Some(0), "{snippet}: {ended:?}");
    assert_eq!(world.newest_job("backup.service")["status"], "success", "{snippet}");
}

#[test]
fn systemd_units_are_valid() {
    let world = World::start();
    world.install("tidings-unit", "tidings-unit");
    let script = world.path("tidings-unit").display().to_string();
    world.write("units/backup.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    for title in ["backup.service.d/tidings.conf", "backup.service.d/on-failure.conf", "tidings-unit@.service"] {
        let snippet = snippets::titled(DOCUMENT, title);
        assert!(snippet.text.contains("tidings-unit"), "{snippet}");
        world.write(&format!("units/{title}"), &snippet.text.replace("/usr/local/bin/tidings-unit", &script));
    }
    let units = ["units/backup.service", "units/tidings-unit@.service"];
    let mut command = world.command("systemd-analyze", &["verify", "--man=no"]);
    command.args(units).env("SYSTEMD_UNIT_PATH", format!("{}:", world.path("units").display()));
    let ended = run(command);
    // The machine's own units may have faults, too.
    let faults: Vec<_> =
        ended.stderr.lines().filter(|line| line.contains("tidings") || line.contains("backup")).collect();
    assert!(ended.code == Some(0) && faults.is_empty(), "{ended:?}");
}
