//! Recipes while Tidings cannot be reached. All at once, because each waits for its retries.

use super::{World, run};
use crate::support::receiver::closed_port;

#[test]
fn recipes_that_cannot_reach_tidings_change_nothing_else() {
    let world = World::start();
    for title in ["tidings-cron", "tidings-unit", "tidings_dbt.py", "tidings_airflow.py"] {
        world.install(title, title);
    }
    world.write("airflow_calls.py", include_str!("drivers/airflow_calls.py"));
    world.write("calls.json", r#"[["dag_failed", {"dag_run": {"dag_id": "nightly", "run_id": "1"}}]]"#);
    let nowhere = format!("http://{}", closed_port());
    let commands: [(&[&str], i32); 4] = [
        (&["sh", "tidings-cron", "nightly", "sh", "-c", "exit 9"], 9),
        (&["sh", "tidings-unit", "nightly.service"], 0),
        (&["python3", "tidings_dbt.py", "nightly", "1"], 0),
        (&["python3", "airflow_calls.py", "calls.json"], 0),
    ];
    std::thread::scope(|scope| {
        for (words, code) in commands {
            let mut command = world.command(words[0], &words[1..]);
            command.env("TIDINGS_URL", &nowhere).env("TIDINGS_ENV_FILE", "/nonexistent");
            scope.spawn(move || {
                let ended = run(command);
                assert_eq!(ended.code, Some(code), "{words:?}: {ended:?}");
                assert!(ended.stderr.contains("not reported"), "{words:?}: {ended:?}");
            });
        }
    });
}
