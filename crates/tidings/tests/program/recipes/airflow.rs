//! `tidings_airflow.py` and the DAG that uses it. Airflow itself is too large to install: plain objects take its place.

use serde_json::{Value, json};

use super::{World, run};

const LOG_URL: &str = "https://airflow.example.com/dags/nightly_import/grid?x=1";

impl World {
    /// Calls the callbacks; returns what was logged.
    fn call_airflow(&self, calls: &Value) -> String {
        self.write("calls.json", &calls.to_string());
        self.write("airflow_calls.py", include_str!("drivers/airflow_calls.py"));
        let snippet = self.install("tidings_airflow.py", "tidings_airflow.py");
        let ended = run(self.command("python3", &["airflow_calls.py", "calls.json"]));
        assert_eq!(ended.code, Some(0), "{snippet}: {}", ended.stderr);
        ended.stderr
    }
}

fn dag_run(run_id: &str, start: &str) -> Value {
    json!({"dag_id": "nightly_import", "run_id": run_id, "run_type": {"value": "scheduled"},
           "start_date": format!("@2026-05-02T{start}:00+00:00"), "end_date": format!("@2026-05-02T{start}:30+00:00")})
}

fn task() -> Value {
    json!({"task_id": "load", "map_index": -1, "try_number": 2, "log_url": LOG_URL,
           "start_date": "@2026-05-02T03:00:00+00:00", "end_date": "@2026-05-02T03:01:01.500000+00:00"})
}

#[test]
fn airflow_callbacks_report_dag_runs() {
    let world = World::start();
    let first = dag_run("scheduled__2026-05-02", "03:00");
    let succeeded = json!(["dag_succeeded", {"dag_run": first, "ti": task(), "reason": "success"}]);
    assert_eq!(world.call_airflow(&json!([succeeded])), "");
    let reported = world.newest("flow", "nightly_import");
    assert_eq!((&reported["status"], &reported["triggerType"]), (&json!("success"), &json!("scheduled")), "{reported}");
    assert_eq!((&reported["durationMs"], &reported["deepLink"]), (&json!(30_000), &json!(LOG_URL)), "{reported}");

    let failed = json!(["dag_failed", {"dag_run": first, "ti": task(), "reason": "task_failure"}]);
    let cleared = json!(["dag_failed", {"dag_run": dag_run("scheduled__2026-05-02", "04:00"), "ti": task()}]);
    assert_eq!(world.call_airflow(&json!([failed, failed, cleared])), "");
    let runs = world.runs("flow", "nightly_import");
    assert_eq!(runs.len(), 3, "the same run twice is one; cleared, it runs again: {runs:?}");
    assert_eq!(
        (&runs[1]["errorMessage"], &runs[0]["errorMessage"]),
        (&json!("task_failure"), &json!("the DAG run failed"))
    );

    let long = dag_run(&"é".repeat(240), "05:00");
    assert_eq!(world.call_airflow(&json!([["dag_succeeded", {"dag_run": long}]])), "");
    assert!(world.newest("flow", "nightly_import")["runId"].as_str().unwrap().len() <= 200);
}

#[test]
fn airflow_callbacks_report_tasks() {
    let world = World::start();
    let run = dag_run("scheduled__2026-05-02", "03:00");
    let failed =
        json!(["task_failed", {"dag_run": run, "task_instance": task(), "exception": "!bad \"value\" \u{1b}[31m"}]);
    assert_eq!(world.call_airflow(&json!([failed])), "");
    let reported = world.newest_job("nightly_import.load");
    assert!(reported["errorMessage"].as_str().unwrap().starts_with("ValueError: bad \"value\""), "{reported}");
    assert_eq!(reported["durationMs"], 61_500, "{reported}");
    assert!(reported["runId"].as_str().unwrap().ends_with("/-1/2"), "{reported}");
    assert_eq!(world.call_airflow(&json!([["task_succeeded", {"dag_run": run, "ti": task()}]])), "");
    assert_eq!(world.newest_job("nightly_import.load")["status"], "success");
    let logged = world.call_airflow(&json!([["dag_failed", {}]]));
    assert!(logged.contains("was not reported"), "an unusable context is logged, and no exception: {logged}");
}

#[test]
fn airflow_dag_names_the_callbacks() {
    let world = World::start();
    world.install("tidings_airflow.py", "tidings_airflow.py");
    let snippet = world.install("nightly_import.py", "nightly_import.py");
    world.write("airflow_stub.py", include_str!("drivers/airflow_stub.py"));
    snippet.output_of(world.command("python3", &["airflow_stub.py"]));
    assert_eq!(world.newest("flow", "nightly_import")["runId"], "stub", "{snippet}");
    assert_eq!(world.newest_job("nightly_import.load")["status"], "failure", "{snippet}");
}
