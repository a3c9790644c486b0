//! `tidings_dbt.py` and `dbt-nightly`, with results in the form of dbt's `run_results.json`, version 6.

use std::fs;

use serde_json::{Value, json};

use super::{World, run};

fn result(id: &str, status: &str, message: &str, more: Value) -> Value {
    let at = |second: &str| format!("2026-05-02T04:00:{second}Z");
    let mut result = json!({
        "unique_id": id, "status": status, "message": message, "execution_time": 1.25, "failures": null,
        "thread_id": "Thread-1", "adapter_response": {}, "compiled": true,
        "timing": [{"name": "compile", "started_at": at("10.000000"), "completed_at": at("10.100000")},
                   {"name": "execute", "started_at": at("10.100000"), "completed_at": at("12.345678")}],
    });
    result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    result
}

fn document(invocation: &str, results: &[Value]) -> Value {
    json!({
        "metadata": {"dbt_version": "1.8.3", "invocation_id": invocation, "generated_at": "2026-05-02T04:00:13.000000Z"},
        "results": results, "elapsed_time": 3.5, "args": {"which": "build"},
    })
}

#[test]
fn dbt_script_reports_the_invocation_and_its_nodes() {
    let world = World::start();
    let snippet = world.install("tidings_dbt.py", "tidings_dbt.py");
    let report = |name: &str, code: &str, text: &str| {
        fs::write(world.path("results.json"), text).unwrap();
        let ended = run(world.command("python3", &["tidings_dbt.py", name, code, "--nodes", "results.json"]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{snippet}");
    };
    let long_id = format!("test.shop.{}1a2b", "very_long_test_name_".repeat(15));
    let results = [
        result("model.shop.orders", "success", "SELECT 42", json!({"adapter_response": {"rows_affected": 42}})),
        result("seed.shop.countries", "success", "INSERT", json!({"adapter_response": {"rows_affected": -1}})),
        result("model.shop.events", "error", "Database Error\n  relation \"raw\" does not exist SURROGATE", json!({})),
        result("model.shop.report", "skipped", "Skipping", json!({"timing": []})),
        result("test.shop.not_null.abc", "fail", "Got 3 results", json!({"failures": 3})),
        result("test.shop.accepted.def", "warn", "Got 1 result", json!({"failures": 1})),
        result(&long_id, "pass", "", json!({})),
        result("model.shop.micro", "partial success", "1 of 2 batches failed", json!({})),
        result("model.shop.noop", "no-op", "", json!({})),
    ];
    // Python writes a lone surrogate into JSON, which is no text.
    let text = document("inv-1", &results).to_string().replace("SURROGATE", "\\ud800");
    report("shop", "1", &text);
    let whole = world.newest_job("shop");
    assert_eq!(
        (&whole["status"], &whole["runId"], &whole["durationMs"]),
        (&json!("failure"), &json!("inv-1"), &json!(3500))
    );
    let message = whole["errorMessage"].as_str().unwrap();
    assert!(
        message.starts_with("dbt ended with exit code 1\n") && message.contains("model.shop.events: Database"),
        "{whole}"
    );
    let orders = world.newest_job("model.shop.orders");
    assert_eq!((&orders["rowCount"], &orders["durationMs"]), (&json!(42), &json!(1250)), "{orders}");
    assert_eq!(
        (&orders["resourceName"], &orders["completedAt"]),
        (&json!("orders"), &json!("2026-05-02T04:00:12.345Z"))
    );
    for (id, status) in [
        ("model.shop.events", "failure"),
        ("test.shop.not_null.abc", "failure"),
        ("test.shop.accepted.def", "success"),
        ("model.shop.micro", "failure"),
        ("seed.shop.countries", "success"),
    ] {
        assert_eq!(world.newest_job(id)["status"], status, "{id}");
    }
    assert_eq!(world.newest_job("seed.shop.countries")["rowCount"], Value::Null);
    for id in ["model.shop.report", "model.shop.noop"] {
        assert!(world.runs("job", id).is_empty(), "{id} did not run");
    }
    report("shop", "1", &text);
    assert_eq!(world.runs("job", "model.shop.orders").len(), 1, "reported twice, it is one run");

    // More than one request takes.
    let long_message = "é😀".repeat(5_000);
    let results: Vec<_> =
        (0..120).map(|number| result(&format!("model.shop.m{number}"), "error", &long_message, json!({}))).collect();
    report("shop", "1", &document("inv-2", &results).to_string());
    assert_eq!(world.newest_job("model.shop.m119")["runId"], "inv-2");
}

#[test]
fn dbt_script_that_cannot_report_exits_with_0() {
    let world = World::start();
    let snippet = world.install("tidings_dbt.py", "tidings_dbt.py");
    for (arguments, key) in
        [(&[][..], "x"), (&["shop", "x"], "x"), (&["shop", "1"], "tdg_wrong-0123456789abcdef-0123456789")]
    {
        let mut command = world.command("python3", &[&["tidings_dbt.py"], arguments].concat());
        command.env("TIDINGS_API_KEY", key);
        let ended = run(command);
        assert!(ended.code == Some(0) && ended.stderr.contains("not reported"), "{snippet}: {ended:?}");
    }
}

#[test]
fn dbt_nightly_reports_dbts_exit_code_and_keeps_it() {
    let world = World::start();
    world.install("tidings_dbt.py", "tidings_dbt.py");
    let snippet = world.install("dbt-nightly", "dbt-nightly");
    let dbt = "#!/bin/sh\n[ ! -e target/run_results.json ] || exit 99\n\
               if [ -n \"$RESULTS\" ]; then cp \"$RESULTS\" target/run_results.json; fi\nexit \"$DBT_CODE\"\n";
    world.write_script("stub/dbt", dbt);
    let results = document("inv-3", &[result("model.shop.orders", "success", "", json!({}))]);
    world.write("results.json", &results.to_string());
    fs::create_dir_all(world.path("project/target")).unwrap();
    let nightly = |results: &str, code: &str| {
        let mut command = world.command("sh", &["dbt-nightly", "--select", "orders"]);
        let path = format!("{}:{}", world.path("stub").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("DBT_PROJECT_DIR", world.path("project"));
        command.env("TIDINGS_DBT", world.path("tidings_dbt.py")).env("DBT_CODE", code).env("RESULTS", results);
        run(command)
    };
    let ended = nightly(&world.path("results.json").display().to_string(), "0");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{snippet}");
    assert_eq!(world.newest_job("nightly-dbt")["runId"], "inv-3");
    assert_eq!(world.newest_job("model.shop.orders")["runId"], "inv-3");
    // This time dbt fails before it writes results; those of the last time must not count.
    let ended = nightly("", "2");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), ""), "{snippet}");
    let message = "dbt ended with exit code 2 and wrote no run_results.json";
    assert_eq!(world.newest_job("nightly-dbt")["errorMessage"], message, "{snippet}");
}
