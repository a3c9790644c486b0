//! `tidings workspace`: another tenant, made while the service is stopped.

use crate::support::{Api, Setup};

/// The key in what `workspace create` prints.
fn key(stdout: &str) -> String {
    stdout.split_whitespace().find(|word| word.starts_with("tdg_")).expect("it shows the key").to_owned()
}

#[test]
fn another_workspace_has_its_own_key_and_sees_nothing_of_the_first() {
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
    assert!(!listed.stdout.contains("tdg_"), "keys are not kept, so they cannot be listed");

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
fn it_is_refused_while_the_service_runs() {
    let setup = Setup::new();
    let server = setup.start();
    for command in [["workspace", "create", "acme"].as_slice(), &["workspace", "list"]] {
        let refused = setup.run(command);
        assert_eq!(refused.code, Some(1), "{command:?}");
        assert!(refused.stderr.contains("stop the server"), "{}", refused.stderr);
    }
    server.api().within("acme").get("/runs").expect_problem(404, "not_found");
}

#[test]
fn a_slug_is_taken_once_and_has_a_form() {
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
