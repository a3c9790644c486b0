//! The tutorial of `README.md`, with ports of its own and the program that is already built.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::receiver::closed_port;
use crate::support::server::program;
use crate::support::snippets::{self, Snippet};
use crate::support::{Api, Server, Setup, eventually};

fn titled(title: &str) -> Snippet {
    snippets::titled("README.md", title)
}

/// A command that runs until the test ends.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The three terminals.
struct Tutorial {
    setup: Setup,
    server: Server,
    /// The ports of the receiver and of the page.
    ports: [u16; 2],
    _receiver: Background,
}

const RECEIVED: &str = "received.txt";

impl Tutorial {
    fn start() -> Self {
        let setup = Setup::new().without("TIDINGS_API_KEY").without("TIDINGS_ALLOW_TARGETS");
        let snippet = titled("readme-start");
        let script = snippet.text.replace("cargo run --release --", &format!("exec '{}'", program()));
        assert_ne!(script, snippet.text, "{snippet}");
        let mut command = setup.command("sh");
        command.args(["-euc", &script]);
        let server = setup.start_as(command);
        let ports = [(); 2].map(|()| closed_port().port());
        let mut command = setup.command("sh");
        let script = titled("readme-receiver").text.replace("9000", &ports[0].to_string());
        command.args(["-euc", &format!("exec {script}")]).env("PYTHONUNBUFFERED", "1");
        let receiver = Background::spawn(command, File::create(setup.directory().join(RECEIVED)).unwrap().into());
        Self { setup, server, ports, _receiver: receiver }
    }

    /// A snippet with the ports of this test.
    fn text(&self, title: &str) -> String {
        let [receiver, page] = self.ports.map(|port| port.to_string());
        let text = titled(title).text.replace("127.0.0.1:8080", &self.server.address.to_string());
        text.replace("9000", &receiver).replace("9001", &page)
    }

    /// Runs lines in a shell that has the definitions of step 3; returns the lines that they print.
    fn run(&self, title: &str, lines: &str) -> Vec<String> {
        let text = self.text("readme-rule");
        let (definitions, _) = text.split_once("\n\n").expect("definitions, and then a command");
        let mut command = self.setup.command("sh");
        command.args(["-euc", &format!("{definitions}\n{lines}")]);
        titled(title).output_of(command).lines().map(str::to_owned).collect()
    }

    /// The same for a snippet whose commands print JSON.
    fn answers(&self, title: &str) -> Vec<Value> {
        let answer =
            |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{title}: {error}: {line}"));
        self.run(title, &self.text(title)).iter().map(answer).collect()
    }

    fn wait_for_received(&self, part: &str) {
        let path = self.setup.directory().join(RECEIVED);
        eventually(part, || fs::read_to_string(&path).unwrap().contains(part).then_some(()));
    }

    fn api(&self) -> Api {
        let text = titled("readme-start").text;
        let (_, key) = text.split_once("TIDINGS_API_KEY=").unwrap();
        Api::new(self.server.address, key.lines().next().unwrap())
    }
}

impl Background {
    fn spawn(mut command: Command, stdout: Stdio) -> Self {
        Self(command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn().unwrap())
    }
}

#[test]
fn readme_tutorial_from_the_first_run_to_its_delivery() {
    let tutorial = Tutorial::start();
    eventually("the receiver listens", || std::net::TcpStream::connect(("127.0.0.1", tutorial.ports[0])).ok());
    let rule = tutorial.run("readme-rule", tutorial.text("readme-rule").split_once("\n\n").unwrap().1);
    assert!(rule[0].contains("\"signingSecretOnce\":\"whsec_"), "{rule:?}");

    let reported = &tutorial.answers("readme-failure")[0];
    assert_eq!((&reported["duplicate"], &reported["deliveries"]["pending"]), (&json!(false), &json!(1)), "{reported}");
    tutorial.wait_for_received("\"errorMessage\":\"disk full\"");
    tutorial.wait_for_received("webhook-signature: v1,");
    let again = &tutorial.answers("readme-failure")[0];
    assert_eq!((&again["duplicate"], &again["eventId"]), (&json!(true), &reported["eventId"]), "{again}");

    let answers = tutorial.answers("readme-success");
    assert_eq!(answers[1]["data"][0]["notRouted"][0]["reason"], "trigger", "{answers:?}");

    let id = tutorial.api().get("/deliveries").expect(200)["data"][0]["id"].clone();
    let lines = tutorial.text("readme-deliveries").replace("dlv_…", id.as_str().unwrap());
    let printed = tutorial.run("readme-deliveries", &lines);
    let delivery: Value = serde_json::from_str(&printed[1]).unwrap();
    assert!(delivery["verdicts"].is_array() && delivery["attempts"].is_array(), "{delivery}");
}

#[test]
fn readme_tutorial_monitors_an_endpoint() {
    let tutorial = Tutorial::start();
    let mut page = tutorial.setup.command("sh");
    page.args(["-euc", &format!("exec {}", tutorial.text("readme-page"))]);
    let _page = Background::spawn(page, Stdio::null());
    eventually("the page is served", || std::net::TcpStream::connect(("127.0.0.1", tutorial.ports[1])).ok());
    let answers = tutorial.answers("readme-endpoint");
    let endpoint = answers.last().unwrap()["id"].as_str().unwrap_or_else(|| panic!("{answers:?}")).to_owned();
    tutorial.api().endpoint_once(&endpoint, "healthy");

    // Two failed checks, without the 20 seconds that the probes take.
    for _ in 0..2 {
        let check = json!({"status": "down", "statusReason": "connection refused"});
        tutorial.api().post(&format!("/endpoints/{endpoint}/checks"), check).expect(202);
    }
    tutorial.wait_for_received("\"event\":\"incident_opened\"");
    let lines = format!("endpoint={endpoint}\n{}", tutorial.text("readme-ask"));
    let printed = tutorial.run("readme-ask", &lines);
    let answers: Vec<Value> = printed.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[0]["data"][0]["resourceName"], "Local page", "{answers:?}");
    assert_eq!(answers[1]["deliveries"].as_array().map(Vec::len), Some(1), "{answers:?}");
    assert!(answers[2]["data"][0]["id"].as_str().is_some_and(|id| id.starts_with("evt_")), "{answers:?}");
}
