//! The requests of `docs/API.md`, and those that the OpenAPI description has besides, sent in their order to the real service,
//! and their answers compared with the documents.
//!
//! An `http` block titled `x` is a request, and the `jsonc` block titled `x-answer` its answer, whose first line names the
//! status. [`Bindings`] compares them.
//!
//! With `TIDINGS_RECORD_EXAMPLES=1`, the answers in the second document that differ are written anew instead.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::api::{Answer, Api};
use crate::support::examples::{Bindings, format_json};
use crate::support::observed::Observed;
use crate::support::snippets::{self, Snippet};
use crate::support::{POLL_INTERVAL, Receiver, Reply, Setup, WAIT_MAX, eventually, now};

const DOCUMENT: &str = "docs/API.md";
/// Examples of operations that the page has none for. They use what those of the page make.
const FURTHER: &str = "crates/web/src/openapi/examples.md";
/// The receiver and the monitored endpoint of the documents, which the test replaces by its own.
const HOOKS: &str = "https://hooks.example.com";
const MONITORED: &str = "https://api.example.com";
const PUBLIC_URL: &str = "https://tidings.example.com";

/// The status and the body of an answer in a document: a comment, then JSON with `…`, nothing for an answer without a body.
fn documented_answer(snippet: &Snippet) -> (u16, Value) {
    let (status, json) = snippet.text.split_once('\n').unwrap_or((&snippet.text, ""));
    let status = status.strip_prefix("// ").and_then(|it| it.parse().ok());
    let json = json.replace("…]", "\"…\"]").replace("…,", "\"…\",").replace("…}", "\"…\": null}");
    let json = if json.trim().is_empty() { "null" } else { &json };
    let body = serde_json::from_str(json).unwrap_or_else(|error| panic!("{snippet}: {error}"));
    (status.unwrap_or_else(|| panic!("{snippet} does not begin with its status, such as `// 201`")), body)
}

/// A service, and what is known of it by the documents' names.
struct Conversation {
    api: Api,
    bindings: Bindings,
    /// The documents' addresses and the real ones.
    addresses: [(&'static str, String); 2],
}

impl Conversation {
    fn real_text(&self, text: &str) -> String {
        let text = self.addresses.iter().fold(text.to_owned(), |text, (page, real)| text.replace(page, real));
        self.bindings.fill(&text)
    }

    fn body_of(&self, answer: &Answer) -> Value {
        let text = answer.text();
        let text = self.addresses.iter().fold(text, |text, (page, real)| text.replace(real, page));
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Sends a request until its answer is the expected one, for this long, or, if it writes, once. Returns what differs, and
    /// the answer.
    fn exchange(
        &mut self,
        request: &Snippet,
        expected: Option<&(u16, Value)>,
        patience: Duration,
    ) -> (Vec<String>, Answer) {
        let text = self.real_text(&request.text);
        let (line, body) = text.split_once("\n\n").unwrap_or((text.as_str(), ""));
        let (method, path) = line.trim().split_once(' ').unwrap_or_else(|| panic!("{request}: {line}"));
        let target = path.strip_prefix(PUBLIC_URL).map_or_else(|| format!("{}{path}", self.api.base()), str::to_owned);
        let headers: &[_] = if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
        let differences = |answer: &Answer| {
            let mut bindings = self.bindings.clone();
            let mut found = Vec::new();
            match expected {
                Some((status, expected)) => {
                    if answer.status != *status {
                        found.push(format!("status {} instead of {status}", answer.status));
                    }
                    bindings.compare("", expected, &self.body_of(answer), &mut found);
                }
                None => found.push("there is no answer in the document".to_owned()),
            }
            (bindings, found)
        };
        let deadline = now() + patience;
        loop {
            let answer = self.api.send(method, &target, headers, body.as_bytes());
            let (bindings, found) = differences(&answer);
            // What happens in the background, such as sending, is polled for.
            let is_final = found.is_empty() || method != "GET" || expected.is_none() || now() >= deadline;
            if is_final {
                self.bindings = bindings;
                return (found, answer);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The answer as a document has it.
    fn documented(&self, answer: &Answer) -> String {
        let text = format!("// {}\n", answer.status);
        match self.body_of(answer) {
            Value::Null => text,
            body => text + &self.bindings.unfill(&format_json(&body)) + "\n",
        }
    }
}

#[test]
fn api_examples_are_answered_as_documented() {
    let receiver = Receiver::good();
    let is_created = Arc::new(Observed::of(false));
    let page = Receiver::start({
        let is_created = Arc::clone(&is_created);
        move |_, _| {
            // The first probe of a new endpoint must not end before its creation is answered.
            is_created.wait_for(|is_created| is_created.then_some(()));
            let body = r#"{"status": "ok"}"#;
            Reply::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
        }
    });
    let service = Setup::new().with("TIDINGS_PUBLIC_URL", PUBLIC_URL).start();
    let addresses =
        [(HOOKS, &receiver), (MONITORED, &page)].map(|(name, it)| (name, format!("http://{}", it.address())));
    let mut conversation = Conversation { api: service.api(), bindings: Bindings::default(), addresses };
    let is_recording = std::env::var_os("TIDINGS_RECORD_EXAMPLES").is_some();

    for document in [DOCUMENT, FURTHER] {
        let all = snippets::of(document);
        let requests: Vec<_> = all.iter().filter(|it| it.language == "http").collect();
        assert!(requests.len() >= 20, "{} requests are in {document}", requests.len());
        let mut recorded = Vec::new();
        for request in requests {
            let title = request.title.as_deref().unwrap_or_else(|| panic!("{request} has no title"));
            let answer_title = format!("{title}-answer");
            let documented = all.iter().find(|it| it.title.as_deref() == Some(&answer_title)).map(documented_answer);
            let can_record = is_recording && document == FURTHER;
            if can_record {
                conversation.api.wait_until_settled();
            }
            // What is recorded is what is there after a moment.
            let patience = if can_record { Duration::from_secs(1) } else { WAIT_MAX };
            let (found, answer) = conversation.exchange(request, documented.as_ref(), patience);
            if !found.is_empty() && can_record {
                recorded.push((answer_title, conversation.documented(&answer)));
                continue;
            }
            assert!(found.is_empty(), "{request}\n{}\nthe answer is {}", found.join("\n"), answer.text());
            if title == "api-endpoint-create" {
                is_created.change(|is_created| *is_created = true);
                // The endpoint's own first probe must not come between the checks that the page submits.
                let id = conversation.body_of(&answer)["endpoint"]["id"].as_str().unwrap().to_owned();
                let is_checked =
                    || !conversation.api.get(&format!("/endpoints/{id}")).expect(200)["lastCheck"].is_null();
                eventually("the first check", || is_checked().then_some(()));
            }
        }
        if !recorded.is_empty() {
            record(document, &recorded);
        }
    }
}

/// Writes answers to a document, each in the place of the one with its title or after its request.
fn record(document: &str, answers: &[(String, String)]) {
    let path = snippets::root().join(document);
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (title, answer) in answers {
        let block = format!("```jsonc title=\"{title}\"\n{answer}```\n");
        let end_of = |start: usize| start + text[start..].find("\n```\n").unwrap() + "\n```\n".len();
        let range = match text.find(&format!("```jsonc title=\"{title}\"\n")) {
            Some(start) => start..end_of(start),
            None => {
                let request = format!("```http title=\"{}\"\n", title.trim_end_matches("-answer"));
                let end = end_of(text.find(&request).unwrap());
                text.insert(end, '\n');
                end + 1..end + 1
            }
        };
        text.replace_range(range, &block);
    }
    std::fs::write(path, text).unwrap();
}
