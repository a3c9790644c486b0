//! `tidings workspace`: workspaces and API keys.

use crate::support::server::API_KEY;
use crate::support::{Api, Server, Setup};

/// The key in what `workspace create` prints.
fn key(stdout: &str) -> String {
    stdout.split_whitespace().find(|word| word.starts_with("tdg_")).expect("it prints the key").to_owned()
}

#[test]
fn workspaces_have_separate_keys_and_data() {
    let setup = Setup::new();
    let first = setup.start();
    let event = first.api().fail("backup", "1");
    first.stop();

    let made = setup.run(&["workspace", "create", "acme"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let listed = setup.run(&["workspace", "list"]);
    for slug in ["default", "acme"] {
        assert!(listed.stdout.contains(slug), "{}", listed.stdout);
    }
    assert!(!listed.stdout.contains("tdg_"), "keys are stored as hashes only");

    let server = setup.start();
    let acme = Api::new(server.address, &key(&made.stdout)).within("acme");
    assert_eq!(acme.get("/runs").expect(200)["data"].as_array().map(Vec::len), Some(0));
    acme.get(&format!("/events/{event}")).expect_problem(404, "not_found");
    acme.fail("backup", "1");
    acme.clone().within("default").get("/runs").expect_problem(404, "not_found");
    server.api().within("acme").get("/runs").expect_problem(404, "not_found");
    assert_eq!(server.api().get("/runs").expect(200)["data"].as_array().map(Vec::len), Some(1));
}

#[test]
fn workspace_slug_must_be_unique_and_valid() {
    let setup = Setup::new();
    setup.start().stop();
    assert_eq!(setup.run(&["workspace", "create", "acme"]).code, Some(0));
    for (slug, words) in [("acme", "already"), ("default", "already"), ("Acme Corp", "a-z"), ("", "a-z"), ("-a", "a-z")]
    {
        let refused = setup.run(&["workspace", "create", "--", slug]);
        assert_eq!(refused.code, Some(1), "{slug:?}");
        assert!(refused.stderr.contains(words), "{slug:?}: {}", refused.stderr);
        assert!(!refused.stdout.contains("tdg_"));
    }
}

const OTHER_KEY: &str = "tdg_of-a-test-fedcba9876543210fedcba98765";

fn opens(server: &Server, slug: &str, key: &str) -> bool {
    match Api::new(server.address, key).within(slug).get("/runs").status {
        200 => true,
        401 => false,
        other => panic!("the list of runs answered {other}"),
    }
}

/// Runs a command successfully and returns its output.
fn output(setup: &Setup, command: &[&str]) -> String {
    let finished = setup.run(command);
    assert_eq!(finished.code, Some(0), "{command:?}: {}", finished.stderr);
    finished.stdout
}

/// The ids and names of a workspace's keys, as `workspace list` shows them.
fn listed(setup: &Setup, slug: &str) -> Vec<(String, String)> {
    let text = output(setup, &["workspace", "list"]);
    let lines = text.lines().skip_while(|line| line.split(' ').next() != Some(slug)).skip(1);
    let keys = lines.take_while(|line| line.starts_with("  ")).map(|line| {
        let (name, rest) = line.split_once(" key_").unwrap_or_else(|| panic!("no id in {line:?}"));
        assert!(rest.contains("since 20"), "{line:?}");
        (format!("key_{}", rest.split(' ').next().unwrap()), name.trim().to_owned())
    });
    keys.collect()
}

#[test]
fn api_keys_are_created_listed_and_revoked() {
    let setup = Setup::new();
    setup.start().stop();
    let first = key(&output(&setup, &["workspace", "create", "acme"]));
    let (first_id, name) = listed(&setup, "acme").remove(0);
    assert_eq!(name, "first key");

    let made = output(&setup, &["workspace", "new-key", "acme"]);
    let second = key(&made);
    let keys = listed(&setup, "acme");
    assert_eq!(keys.len(), 2);
    assert!(made.contains(&keys[1].0), "{made}");
    let server = setup.start();
    assert!(opens(&server, "acme", &first) && opens(&server, "acme", &second));
    server.stop();

    // A key of another workspace is not revoked, and a key that is passed in place of its id is not quoted.
    for (command, words) in [
        (["workspace", "revoke-key", "default", &first_id], "has no key"),
        (["workspace", "revoke-key", "unknown", &first_id], "no workspace"),
        (["workspace", "revoke-key", "acme", &first], "workspace list"),
    ] {
        let refused = setup.run(&command);
        assert_eq!(refused.code, Some(1), "{command:?}");
        assert!(refused.stderr.contains(words) && !refused.stderr.contains(&first), "{}", refused.stderr);
    }
    assert_eq!(setup.run(&["workspace", "new-key", "unknown"]).code, Some(1));
    output(&setup, &["workspace", "revoke-key", "acme", &first_id]);
    assert_eq!(listed(&setup, "acme"), keys[1..]);
    let server = setup.start();
    assert!(!opens(&server, "acme", &first) && opens(&server, "acme", &second));
    assert!(opens(&server, "default", API_KEY), "the key of another workspace stays valid");
}

#[test]
fn changed_configured_key_revokes_the_old_one() {
    let setup = Setup::new();
    let server = setup.start();
    assert!(opens(&server, "default", API_KEY));
    server.stop();
    let before = listed(&setup, "default");
    assert!(matches!(before.as_slice(), [(_, name)] if name == "TIDINGS_API_KEY"), "{before:?}");

    let setup = setup.with("TIDINGS_API_KEY", OTHER_KEY);
    for _ in 0..2 {
        let server = setup.start();
        assert!(opens(&server, "default", OTHER_KEY) && !opens(&server, "default", API_KEY));
        server.stop();
    }
    let after = listed(&setup, "default");
    assert!(after.len() == 1 && after[0].1 == "TIDINGS_API_KEY" && after != before, "{after:?}");

    // Without the variable nothing changes. A revoked key is added again by a start with the variable.
    let setup = setup.without("TIDINGS_API_KEY");
    assert!(opens(&setup.start(), "default", OTHER_KEY));
    let revoked = output(&setup, &["workspace", "revoke-key", "default", &after[0].0]);
    assert!(revoked.contains("next start"), "{revoked}");
    assert!(!opens(&setup.start(), "default", OTHER_KEY));
    let setup = setup.with("TIDINGS_API_KEY", OTHER_KEY);
    assert!(opens(&setup.start(), "default", OTHER_KEY));
}

#[test]
fn generated_key_stays_valid_until_revoked() {
    let setup = Setup::new().without("TIDINGS_API_KEY");
    setup.start().stop();
    let made = std::fs::read_to_string(setup.data_dir().join("initial-api-key")).unwrap().trim_end().to_owned();
    let setup = setup.with("TIDINGS_API_KEY", API_KEY);
    setup.start().stop();
    let setup = setup.with("TIDINGS_API_KEY", OTHER_KEY);
    let server = setup.start();
    assert!(opens(&server, "default", &made) && opens(&server, "default", OTHER_KEY));
    server.stop();
    let keys = listed(&setup, "default");
    assert_eq!(keys.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["first key", "TIDINGS_API_KEY"]);
    output(&setup, &["workspace", "revoke-key", "default", &keys[0].0]);
    let server = setup.start();
    assert!(!opens(&server, "default", &made) && opens(&server, "default", OTHER_KEY));
}

#[test]
fn first_start_creates_the_default_workspace_beside_others() {
    let setup = Setup::new();
    let acme = key(&output(&setup, &["workspace", "create", "acme"]));
    let server = setup.start();
    assert!(opens(&server, "default", API_KEY) && opens(&server, "acme", &acme));
    assert!(server.stop().stdout.contains("`default`"));
}

#[test]
fn configured_key_of_another_workspace_fails_the_start() {
    let setup = Setup::new();
    setup.start().stop();
    let acme = key(&output(&setup, &["workspace", "create", "acme"]));
    let setup = setup.with("TIDINGS_API_KEY", &acme);
    let refused = setup.run(&["serve"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("TIDINGS_API_KEY") && refused.stderr.contains("`acme`"), "{}", refused.stderr);
    assert!(!refused.stderr.contains(&acme));
    let setup = setup.with("TIDINGS_API_KEY", API_KEY);
    assert!(opens(&setup.start(), "default", API_KEY), "nothing was changed");
}
