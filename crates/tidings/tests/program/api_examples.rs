//! The requests of `docs/API.md`, sent in their order to the real service, and their answers compared with the page.
//!
//! An `http` block titled `x` is a request, and the `jsonc` block titled `x-answer` its answer, whose first line names the
//! status. Ids on the page stand for
//! the real ones: an id that first occurs in an answer is bound to the id in the same position of the real answer. `…`
//! means any number of elements or keys. Instants, durations and secrets are compared by their form only.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::support::api::Answer;
use crate::support::observed::Observed;
use crate::support::{POLL_INTERVAL, Receiver, Reply, Setup, WAIT_MAX, eventually, now, snippets};

const DOCUMENT: &str = "docs/API.md";
/// The receiver and the monitored endpoint on the page, which the test replaces by its own.
const HOOKS: &str = "https://hooks.example.com";
const MONITORED: &str = "https://api.example.com";
const PUBLIC_URL: &str = "https://tidings.example.com";
/// Marks a `…` in the parsed answer of the page.
const REST: &str = "…";

/// The page's words for what only the real service knows.
#[derive(Clone, Default)]
struct Bindings(BTreeMap<String, String>);

impl Bindings {
    /// The text with everything that is known put in.
    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (page, real)| text.replace(page, real))
    }

    /// What differs between the page's answer and the real one, by JSON pointer.
    fn compare(&mut self, pointer: &str, page: &Value, real: &Value, differences: &mut Vec<String>) {
        match (page, real) {
            (Value::Object(page), Value::Object(real)) => self.compare_objects(pointer, page, real, differences),
            (Value::Array(page), Value::Array(real)) => {
                let rest = page.iter().position(|it| it == REST);
                let (head, tail) = rest.map_or((&page[..], &page[..0]), |at| (&page[..at], &page[at + 1..]));
                let fits = head.len() + tail.len() <= real.len() && (rest.is_some() || head.len() == real.len());
                if !fits {
                    differences.push(format!("{pointer}: {} elements instead of {}", real.len(), page.len()));
                    return;
                }
                let from = real.len() - tail.len();
                for (index, (page, real)) in head.iter().zip(real).chain(tail.iter().zip(&real[from..])).enumerate() {
                    self.compare(&format!("{pointer}/{index}"), page, real, differences);
                }
            }
            (Value::String(page), Value::String(real)) if self.is_same_text(page, real) => {}
            (Value::Number(_), Value::Number(_)) if pointer.ends_with("Ms") => {}
            _ if page == real => {}
            _ => differences.push(format!("{pointer}: {real} instead of {page}")),
        }
    }

    fn compare_objects(
        &mut self,
        pointer: &str,
        page: &Map<String, Value>,
        real: &Map<String, Value>,
        differences: &mut Vec<String>,
    ) {
        for (key, page) in page.iter().filter(|(key, _)| *key != REST) {
            match real.get(key) {
                Some(real) => self.compare(&format!("{pointer}/{key}"), page, real, differences),
                None => differences.push(format!("{pointer}/{key}: is not answered")),
            }
        }
        if !page.contains_key(REST) {
            let unknown = real.keys().filter(|key| !page.contains_key(*key));
            differences.extend(unknown.map(|key| format!("{pointer}/{key}: is not on the page")));
        }
    }

    fn is_same_text(&mut self, page: &str, real: &str) -> bool {
        if let (Some(prefix), Some(same)) = (id_prefix(page), id_prefix(real)) {
            return prefix == same && self.0.entry(page.to_owned()).or_insert_with(|| real.to_owned()) == real;
        }
        if let (Some(kind), Some(same)) = (secret_kind(page), secret_kind(real)) {
            self.0.insert(page.to_owned(), real.to_owned());
            return kind == same;
        }
        // Instants that a request names are answered as they are; the others are those of this run.
        self.fill(page) == real || without_instants(page) == without_instants(real)
    }
}

/// The prefix of an id, if the text is one.
fn id_prefix(text: &str) -> Option<&str> {
    let (prefix, digits) = text.split_once('_')?;
    let is_id = digits.len() == 32 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    (is_id && prefix != "whsec").then_some(prefix)
}

/// What kind of secret the text is, if it is one.
fn secret_kind(text: &str) -> Option<&str> {
    let is_signing_secret = text.strip_prefix("whsec_").is_some_and(|it| it.len() == 64);
    let inbound = "/in/alertmanager/";
    is_signing_secret.then_some("whsec_").or_else(|| text.split_once(inbound).map(|(base, _)| base))
}

/// The text with each RFC 3339 instant and each time of day replaced by its form.
fn without_instants(text: &str) -> String {
    let is_word = |it: &&str| !it.is_empty();
    let form = |word: &str| match word.bytes().filter(u8::is_ascii_digit).count() {
        17 if word.ends_with('Z') && word.len() == 24 => "<instant>".to_owned(),
        6 if word.len() == 8 && word.matches(':').count() == 2 => "<time>".to_owned(),
        _ => word.to_owned(),
    };
    text.split(' ').filter(is_word).map(form).collect::<Vec<_>>().join(" ")
}

/// The status and the body of an answer on the page: a comment, then JSON with `…`.
fn page_answer(snippet: &snippets::Snippet) -> (u16, Value) {
    let (status, json) = snippet.text.split_once('\n').unwrap_or_else(|| panic!("{snippet} is empty"));
    let status = status.strip_prefix("// ").and_then(|it| it.parse().ok());
    let json = json.replace("…]", "\"…\"]").replace("…,", "\"…\",").replace("…}", "\"…\": null}");
    let body = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{snippet}: {error}"));
    (status.unwrap_or_else(|| panic!("{snippet} does not begin with its status, such as `// 201`")), body)
}

#[test]
fn api_page_requests_are_answered_as_documented() {
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
    let [hooks, monitored] = [&receiver, &page].map(|it| format!("http://{}", it.address()));
    let service = Setup::new().with("TIDINGS_PUBLIC_URL", PUBLIC_URL).start();
    let api = service.api();
    let here = |text: &str| text.replace(HOOKS, &hooks).replace(MONITORED, &monitored);
    let there = |text: &str| text.replace(&hooks, HOOKS).replace(&monitored, MONITORED);

    let mut bindings = Bindings::default();
    let requests: Vec<_> = snippets::of(DOCUMENT).into_iter().filter(|it| it.language == "http").collect();
    assert!(requests.len() >= 20, "{} requests are on the page", requests.len());
    for request in requests {
        let title = request.title.as_deref().unwrap_or_else(|| panic!("{request} has no title"));
        let (status, expected) = page_answer(&snippets::titled(DOCUMENT, &format!("{title}-answer")));
        let text = bindings.fill(&here(&request.text));
        let (line, body) = text.split_once("\n\n").unwrap_or((text.as_str(), ""));
        let (method, path) = line.trim().split_once(' ').unwrap_or_else(|| panic!("{request}: {line}"));
        let target = path.strip_prefix(PUBLIC_URL).map_or_else(|| format!("{}{path}", api.base()), str::to_owned);
        let headers: &[_] = if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
        let send = || api.send(method, &target, headers, body.as_bytes());
        let differences = |answer: &Answer| {
            let mut bound = bindings.clone();
            let real: Value = serde_json::from_str(&there(&answer.text())).unwrap_or_default();
            let mut found = Vec::new();
            if answer.status != status {
                found.push(format!("status {} instead of {status}", answer.status));
            }
            bound.compare("", &expected, &real, &mut found);
            (bound, found, real)
        };
        let mut answer = send();
        // What happens in the background, such as sending, is polled for. A request that writes is sent once.
        let deadline = now() + WAIT_MAX;
        while method == "GET" && !differences(&answer).1.is_empty() && now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
            answer = send();
        }
        let (bound, found, real) = differences(&answer);
        assert!(found.is_empty(), "{request}\n{}\nthe answer is {real:#}", found.join("\n"));
        bindings = bound;
        if title == "api-endpoint-create" {
            is_created.change(|is_created| *is_created = true);
            // The endpoint's own first probe must not come between the checks that the page submits.
            let path = format!("/endpoints/{}", bindings.fill(expected["endpoint"]["id"].as_str().unwrap()));
            eventually("the first check", || (!api.get(&path).expect(200)["lastCheck"].is_null()).then_some(()));
        }
    }
}
