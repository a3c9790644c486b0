//! `tidings-cron` and the crontab.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{Ended, SHELLS, World, run};
use crate::support::snippets;
use crate::support::{Receiver, Reply, eventually};

/// Every byte that JSON, a shell or a terminal might take for something else.
const NASTY: &[u8] =
    b"quote \" backslash \\ tab\tcr\rnul\0 bell\x07 esc\x1b[31mred\x1b[0m bad \xff\xfe\x80 \xc3( good \xc3\xa9 \
    \xe2\x82\xac \xf0\x9f\x98\x80 C1 \xc2\x85 del\x7f $(touch x) `id` \\u0000 %s %d\nlast line without its end";

/// A command of the wrapper in this shell.
fn wrapped(world: &World, shell: &[&str], arguments: &[&str]) -> Command {
    let arguments = [&shell[1..], &["tidings-cron"], arguments].concat();
    world.command(shell[0], &arguments)
}

/// A directory with these programs and no others.
fn make_path(world: &World, name: &str, programs: &[&str]) -> String {
    let directory = world.path(name);
    fs::create_dir(&directory).unwrap();
    for program in programs {
        let found = run(world.command("sh", &["-c", &format!("command -v {program}")]));
        std::os::unix::fs::symlink(found.stdout.trim(), directory.join(program)).unwrap();
    }
    directory.display().to_string()
}

const PROGRAMS: [&str; 13] =
    ["sh", "mktemp", "touch", "rm", "date", "cat", "tail", "tr", "sed", "awk", "uname", "bash", "printf"];

#[test]
fn cron_wrapper_reports_how_the_command_ended() {
    let world = World::start();
    world.make_first_channel();
    world.receiver.wait_for(1);
    let snippet = world.install("tidings-cron", "tidings-cron");
    fs::write(world.path("nasty"), NASTY).unwrap();
    let bare = make_path(&world, "bare", &[&PROGRAMS[..], &["curl"]].concat());
    for shell in SHELLS {
        let job = |what: &str| format!("{} {what}", shell[0]);
        let call = |what: &str, arguments: &[&str]| run(wrapped(&world, shell, &[&[&*job(what)], arguments].concat()));

        let ended = call("succeeds", &["sh", "-c", "echo out; echo err >&2; cat"]);
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "out\n", "err\n"), "{snippet}");
        let reported = world.newest_job(&job("succeeds"));
        assert_eq!((&reported["status"], &reported["triggerType"]), (&json!("success"), &json!("scheduled")));
        assert!(reported["durationMs"].as_u64().is_some_and(|ms| ms < 30_000), "{reported}");

        let ended = call("says \"no\" \\ é", &["sh", "-c", "cat nasty >&2; exit 42"]);
        assert_eq!(ended.code, Some(42), "{ended:?}");
        let reported = world.newest_job(&job("says \"no\" \\ é"));
        let text = reported["errorMessage"].as_str().unwrap();
        assert!(text.starts_with("exit code 42\n") && reported["status"] == "failure", "{reported}");
        for part in
            ["quote \" backslash \\ tab cr\nnul", "escred", "good é € 😀", "$(touch x) `id` \\u0000 %s %d", "last line"]
        {
            assert!(text.contains(part), "{snippet}: {part:?} is not in {text:?}");
        }

        let mut command = wrapped(&world, shell, &[&*job("without iconv"), "sh", "-c", "cat nasty >&2; exit 5"]);
        command.env("PATH", &bare);
        assert_eq!(run(command).code, Some(5));
        let reported = world.newest_job(&job("without iconv"));
        assert!(reported["errorMessage"].as_str().unwrap().contains("good"), "{reported}");

        // The end of a long output, cut within a character.
        let python = "import sys; sys.stderr.write('x€' * 20000 + 'END'); sys.exit(3)";
        assert_eq!(call("is long", &["python3", "-c", python]).code, Some(3));
        let reported = world.newest_job(&job("is long"));
        let text = reported["errorMessage"].as_str().unwrap();
        assert!(text.ends_with("x€END") && (3_900..4_100).contains(&text.len()), "{} bytes", text.len());

        for (what, arguments, code) in [
            ("fails silently", &["false"][..], 1),
            ("is missing", &["/nonexistent/command"], 127),
            ("is killed", &["sh", "-c", "kill -9 $$"], 137),
        ] {
            assert_eq!(call(what, arguments).code, Some(code), "{snippet}");
            let reported = world.newest_job(&job(what));
            assert!(reported["errorMessage"].as_str().unwrap().starts_with(&format!("exit code {code}")), "{reported}");
        }
    }
    let webhook = eventually("the failure arrives", || {
        let requests = world.receiver.requests();
        requests.into_iter().find(|request| String::from_utf8_lossy(request.body()).contains("exit code 42"))
    });
    assert_eq!(webhook.json()["trigger"], "failure");
    let left = fs::read_dir(world.setup.directory()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("tmp.")), "no temporary files are left");
}

#[test]
fn cron_wrapper_keeps_the_exit_code_when_it_cannot_report() {
    let world = World::start();
    let snippet = world.install("tidings-cron", "tidings-cron");
    let bare = make_path(&world, "bare", &PROGRAMS);
    for shell in SHELLS {
        let call = |code: &str, variable: &str, value: &str| {
            let mut command = wrapped(&world, shell, &["unreported", "sh", "-c", &format!("exit {code}")]);
            command.env(variable, value);
            run(command)
        };
        let is_noted = |ended: &Ended| ended.stderr.contains("was not reported");
        let refused = call("7", "TIDINGS_API_KEY", "tdg_wrong-0123456789abcdef-0123456789");
        assert!(refused.code == Some(7) && is_noted(&refused), "{snippet}: {refused:?}");
        let unset = call("8", "TIDINGS_URL", "");
        assert!(unset.code == Some(8) && is_noted(&unset), "{snippet}: {unset:?}");
        let no_place = call("11", "TMPDIR", "/nonexistent");
        assert_eq!(no_place.code, Some(11), "{snippet}: {no_place:?}");
        let no_curl = call("12", "PATH", &bare);
        assert!(no_curl.code == Some(12) && is_noted(&no_curl), "{snippet}: {no_curl:?}");
        assert_eq!(run(wrapped(&world, shell, &["unreported"])).code, Some(64), "{snippet}: a call without a command");
    }
    assert!(world.runs("job", "unreported").is_empty());
}

#[test]
fn cron_wrapper_reports_again_when_tidings_is_unavailable() {
    let world = World::start();
    let snippet = world.install("tidings-cron", "tidings-cron");
    let tidings = Receiver::start(|_, number| Reply::Status(if number == 1 { 503 } else { 202 }));
    let mut command = wrapped(&world, &["sh"], &["nightly", "false"]);
    command.env("TIDINGS_URL", format!("http://{}", tidings.address()));
    let ended = run(command);
    assert_eq!(ended.code, Some(1), "{snippet}: {ended:?}");
    let requests = tidings.wait_for(2);
    assert_eq!(requests[0].json(), requests[1].json(), "the same run, so that it counts once");
}

#[test]
fn cron_wrapper_reports_a_command_that_a_signal_ended() {
    let world = World::start();
    let snippet = world.install("tidings-cron", "tidings-cron");
    for shell in SHELLS {
        let marker = world.path(&format!("{} has started", shell[0]));
        let lines = format!("touch '{}'; exec sleep 60", marker.display());
        let mut command = wrapped(&world, shell, &[shell[0], "sh", "-c", &lines]);
        let child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the command has started", || marker.exists().then_some(()));
        // To the group, as a terminal or a service manager does.
        let kill = format!("kill -TERM -{}", child.id());
        assert_eq!(run(world.command("sh", &["-c", &kill])).code, Some(0));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{snippet}: {output:?}");
        assert_eq!(world.newest_job(shell[0])["status"], "failure", "{snippet}");
    }
}

#[test]
fn crontab_lines_report_their_jobs() {
    let world = World::start();
    let wrapper = world.path("tidings-cron").display().to_string();
    world.install("tidings-cron", "tidings-cron");
    let snippet = snippets::titled(super::DOCUMENT, "crontab");
    let lines: Vec<_> =
        snippet.text.lines().filter(|line| line.starts_with(|char: char| char.is_ascii_digit())).collect();
    assert_eq!(lines.len(), 2, "{snippet}");
    for line in lines {
        let command = line.splitn(6, ' ').last().unwrap();
        let command = command
            .replace("/usr/local/bin/tidings-cron", &wrapper)
            .replace("/usr/local/bin/backup.sh --full", "true")
            .replace("cd /srv/sync && ./pull && ./push", "cd / && true && false");
        let ended = run(world.command("sh", &["-c", &command]));
        assert_eq!(ended.code, Some(i32::from(command.contains("false"))), "{snippet}: {ended:?}");
    }
    assert_eq!(world.newest_job("nightly-backup")["status"], "success");
    assert_eq!(world.newest_job("hourly-sync")["status"], "failure");
}
