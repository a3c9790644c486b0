//! A Python client that is generated from the description works: it makes a channel and a rule, reports a run, and reads what
//! became of the delivery.

use std::process::Command;

use serde_json::Value;

use super::{Description, printed, python};
use crate::support::server::API_KEY;
use crate::support::{Receiver, Setup};

/// The generator's settings: it would format the code, which no test reads.
const CONFIGURATION: &str = "post_hooks: []\n";

#[test]
fn generated_python_client_reports_a_run_and_reads_its_delivery() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let description = Description::of(&server);
    let file = |name: &str, text: &str| std::fs::write(description.directory().join(name), text).unwrap();
    file("generator.yaml", CONFIGURATION);
    file("driver.py", include_str!("client.py"));

    let mut generator = Command::new(python());
    generator.args(["-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none"]);
    // It warns of what it leaves out: the stream of changes, and the metrics, which are no JSON.
    generator.args(["--output-path", "tidings_client", "--config", "generator.yaml"]);
    let generated = description.run(generator);
    assert!(generated.status.success(), "{}", printed(&generated));

    let mut driver = Command::new(python());
    driver.arg("driver.py").arg(format!("http://{}", server.address)).arg(API_KEY).arg(receiver.url());
    let output = description.run(driver);
    assert!(output.status.success(), "{}", printed(&output));
    let delivery: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", printed(&output)));
    assert_eq!((&delivery["status"], &delivery["runId"]), (&"sent".into(), &"run-1".into()), "{delivery}");
    assert_eq!(delivery["attempts"][0]["httpStatus"], 204, "{delivery}");
}
