//! The examples of the documents: each is run by a test, or parsed here, or listed below with the reason why not.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::snippets::{self, Snippet};

/// Languages whose examples a reader runs or copies.
const LANGUAGES: [&str; 17] = [
    "sh",
    "bash",
    "python",
    "js",
    "javascript",
    "go",
    "php",
    "ruby",
    "json",
    "jsonc",
    "yaml",
    "ini",
    "systemd",
    "nginx",
    "toml",
    "caddyfile",
    "jinja",
];

/// What is not run: the document, the title of the example (or the heading above it, if it has none), and why.
const NOT_RUN: &[(&str, &str, &str)] = &[
    ("README.md", "Tidings", "it builds the program and runs this test suite"),
    ("docs/COMING_FROM.md", "Before you start", "it sets two variables, which every recipe's test sets"),
    ("docs/COMING_FROM.md", "cron", "it installs the wrapper below /usr/local"),
    ("docs/COMING_FROM.md", "systemd", "it installs files below /etc and /usr/local"),
    ("docs/CONCEPTS.md", "Why was I not notified?", "a GET whose answer the next example reads"),
    ("docs/OPERATING.md", "install", "it creates a user and a service"),
    ("docs/OPERATING.md", "private-ca", "it changes what the machine trusts"),
    ("docs/OPERATING.md", "sysctl-icmp", "it sets a sysctl"),
    ("docs/OPERATING.md", "nginx", "`nginx -t` accepted it when it was written; Debian's package starts a server"),
    (
        "docs/OPERATING.md",
        "caddy",
        "`caddy validate` accepted it when it was written; Debian's package starts a server",
    ),
    ("docs/TEMPLATES.md", "Variables", "a part of a template; the complete ones hold it"),
    ("docs/TEMPLATES.md", "Examples", "it posts a template from a file, as the tests of the examples do"),
    ("docs/API.md", "api-curl", "a GET with a key; the page's other requests are sent by `api_examples`"),
];

fn all() -> Vec<Snippet> {
    let snippets = snippets::documents().iter().flat_map(|file| snippets::of(file)).collect::<Vec<_>>();
    assert!(snippets.len() > 20, "{} snippets are found", snippets.len());
    snippets
}

/// The sources of these tests, without this file.
fn test_sources() -> String {
    let mut directories = vec![snippets::root().join("crates/tidings/tests/program")];
    let mut sources = String::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("documents.rs") {
                sources += &fs::read_to_string(path).unwrap();
            }
        }
    }
    sources
}

/// The row of [`NOT_RUN`] for this example.
fn row(snippet: &Snippet) -> Option<usize> {
    let name = snippet.title.as_ref().unwrap_or(&snippet.heading);
    NOT_RUN.iter().position(|(file, of, _)| *file == snippet.file && of == name)
}

#[test]
fn every_example_is_run_or_parsed_or_listed_as_not_run() {
    let sources = test_sources();
    let mut missing = Vec::new();
    let mut is_row_used = vec![false; NOT_RUN.len()];
    for snippet in all().iter().filter(|snippet| LANGUAGES.contains(&snippet.language.as_str())) {
        let is_parsed = ["json", "jsonc", "yaml"].contains(&snippet.language.as_str());
        let is_run = snippet.title.as_ref().is_some_and(|title| sources.contains(&format!("\"{title}\"")));
        match row(snippet) {
            Some(row) if is_run => missing.push(format!("{snippet} is run: remove {:?}", NOT_RUN[row])),
            Some(row) => is_row_used[row] = true,
            None if is_parsed || is_run => {}
            None => {
                missing.push(format!("{snippet}: {} without a test; add one, or a row to NOT_RUN", snippet.language))
            }
        }
    }
    for (row, _) in NOT_RUN.iter().zip(is_row_used).filter(|(_, is_used)| !is_used) {
        missing.push(format!("there is no example for {row:?}"));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn titles_of_examples_are_unique() {
    let mut titles: Vec<_> = all().into_iter().filter_map(|snippet| Some((snippet.file, snippet.title?))).collect();
    titles.sort();
    let twice: Vec<_> = titles.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// JSON without what documents add to it: `…` for more of the same, and comments.
fn plain_json(text: &str, may_have_comments: bool) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    let mut is_in_string = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' if is_in_string => plain.extend([Some(char), chars.next()].into_iter().flatten()),
            '"' => {
                is_in_string = !is_in_string;
                plain.push(char);
            }
            '/' if may_have_comments && !is_in_string && chars.peek() == Some(&'/') => {
                while chars.next_if(|next| *next != '\n').is_some() {}
            }
            '…' if !is_in_string => {
                // `"key": …` is a value; `, …]` and `{…}` are nothing.
                let kept = plain.trim_end().trim_end_matches(',').len();
                if plain.trim_end().ends_with(':') { plain.push_str("null") } else { plain.truncate(kept) }
            }
            _ => plain.push(char),
        }
    }
    plain
}

#[test]
fn shell_examples_parse() {
    for snippet in all().iter().filter(|snippet| ["sh", "bash"].contains(&snippet.language.as_str())) {
        let mut shell = Command::new(&snippet.language);
        shell.arg("-n");
        snippet.run(tempfile::tempdir().unwrap().path(), shell);
    }
}

#[test]
fn json_examples_parse() {
    let mut faults = Vec::new();
    for snippet in all().iter().filter(|snippet| ["json", "jsonc"].contains(&snippet.language.as_str())) {
        let text = plain_json(&snippet.text, snippet.language == "jsonc");
        if let Err(error) = serde_json::from_str::<Value>(&text) {
            faults.push(format!("{snippet}: {error}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn yaml_examples_parse() {
    for snippet in all().iter().filter(|snippet| snippet.language == "yaml") {
        let mut ruby = Command::new("ruby");
        ruby.args(["-r", "yaml", "-e", "YAML.safe_load_file(ARGV.fetch(0))"]);
        snippet.run(tempfile::tempdir().unwrap().path(), ruby);
    }
}

#[test]
fn snippets_are_found_with_title_heading_and_line() {
    let text = "# One\n\n```sh title=\"first\"\necho 1\n# not a heading\n```\n\n## Two words\n\n1. x\n\n   ````python\n   \
                if x:\n       ```\n   ````\n~~~\n```\n~~~\n";
    let found = snippets::parse("a.md", text);
    let facts: Vec<_> = found
        .iter()
        .map(|it| (it.line, it.heading.as_str(), it.language.as_str(), it.title.as_deref(), it.text.as_str()))
        .collect();
    assert_eq!(
        facts,
        [
            (3, "One", "sh", Some("first"), "echo 1\n# not a heading\n"),
            (12, "Two words", "python", None, "if x:\n    ```\n"),
            (16, "Two words", "", None, "```\n"),
        ]
    );
    assert_eq!(found[0].to_string(), "a.md:3 (first)");
}

#[test]
fn ellipses_and_comments_are_taken_out_of_json() {
    let text = r#"{"a": […], "b": {…}, "c": …, "d": [1, …], "e": "… // \"…", // and so on
                   "f": {"x": 1, …}}"#;
    let value: Value = serde_json::from_str(&plain_json(text, true)).unwrap();
    assert_eq!(value, serde_json::json!({"a": [], "b": {}, "c": null, "d": [1], "e": "… // \"…", "f": {"x": 1}}));
}
