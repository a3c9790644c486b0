//! The step for GitHub Actions: its script, with the variables of a runner.

use serde_json::json;

use super::{World, run};
use crate::support::snippets;

const RUNNER: [(&str, &str); 12] = [
    ("GITHUB_REPOSITORY", "octo/shop"),
    ("GITHUB_WORKFLOW", "Nightly \"build\""),
    ("GITHUB_JOB", "test"),
    ("GITHUB_RUN_ID", "1658821493"),
    ("GITHUB_RUN_ATTEMPT", "1"),
    ("GITHUB_EVENT_NAME", "schedule"),
    ("GITHUB_SERVER_URL", "https://github.com"),
    ("GITHUB_REF_NAME", "main"),
    ("GITHUB_SHA", "ffac537e6cbbf934b08745a378932722df287a53"),
    ("GITHUB_ACTOR", "octocat"),
    ("JOB_INDEX", "0"),
    ("JOB_STATUS", "success"),
];

#[test]
fn github_actions_step_reports_the_job() {
    let world = World::start();
    let snippet = snippets::titled(super::DOCUMENT, "github-actions-step");
    for setting in ["  if: always()\n", "  continue-on-error: true\n", "  shell: bash\n"] {
        assert!(snippet.text.contains(setting), "{snippet}: {setting}");
    }
    let (_, script) = snippet.text.split_once("  run: |\n").expect("a script");
    world.write("step.sh", script);
    let step = |variables: &[(&str, &str)]| {
        // As GitHub calls a script whose shell is bash.
        let mut command = world.command("bash", &["--noprofile", "--norc", "-eo", "pipefail", "step.sh"]);
        command.envs(RUNNER).envs(variables.iter().copied());
        run(command)
    };
    let ended = step(&[]);
    assert_eq!(ended.code, Some(0), "{snippet}: {ended:?}");
    let id = "octo/shop/Nightly \"build\"/test";
    let reported = world.newest("flow", id);
    assert_eq!((&reported["status"], &reported["triggerType"]), (&json!("success"), &json!("scheduled")), "{reported}");
    let link = "https://github.com/octo/shop/actions/runs/1658821493/attempts/1";
    assert_eq!((&reported["runId"], &reported["deepLink"]), (&json!("1658821493-1-0"), &json!(link)), "{reported}");

    for (status, event, how) in [("failure", "push", "push"), ("cancelled", "workflow_dispatch", "manual")] {
        let ended = step(&[("JOB_STATUS", status), ("GITHUB_EVENT_NAME", event), ("GITHUB_RUN_ATTEMPT", status)]);
        assert_eq!(ended.code, Some(0), "{snippet}: {ended:?}");
        let reported = world.newest("flow", id);
        assert_eq!((&reported["status"], &reported["triggerType"]), (&json!("failure"), &json!(how)), "{reported}");
        let message = format!("{status}: main at ffac537e6cbb, started by octocat");
        assert_eq!(reported["errorMessage"], message, "{reported}");
    }
    assert_ne!(step(&[("TIDINGS_API_KEY", "")]).code, Some(0), "{snippet}: without a key the step fails");
}
