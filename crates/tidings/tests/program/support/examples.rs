//! Examples of the documentation, compared with what the real service answers.
//!
//! Ids of examples stand for the real ones: an id that first occurs in an answer is bound to the id in the same position of the
//! real answer. `…` means any number of elements or keys. Instants, durations and secrets are compared by their form only.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Any number of elements or keys.
const REST: &str = "…";

/// An example's words for what only the real service knows, and the real ones.
#[derive(Clone, Default)]
pub struct Bindings(BTreeMap<String, String>);

impl Bindings {
    /// The text with everything that is known put in.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (page, real)| text.replace(page, real))
    }

    /// The text with the page's words in place of the real ones.
    pub fn unfill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (page, real)| text.replace(real, page))
    }

    /// What differs between the page's answer and the real one, by JSON pointer.
    pub fn compare(&mut self, pointer: &str, page: &Value, real: &Value, differences: &mut Vec<String>) {
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
    // The run of a test and a request have shorter ones.
    let is_of_length = match prefix {
        "test" => digits.len() == 12,
        "req" => digits.len() == 16,
        _ => digits.len() == 32,
    };
    let is_id = is_of_length && digits.bytes().all(|it| it.is_ascii_hexdigit());
    (is_id && prefix != "whsec").then_some(prefix)
}

/// What comes before the digits of a secret, if the text ends with one: `whsec_`, `tdg_`, or the rest of a URL.
fn secret_kind(text: &str) -> Option<&str> {
    let kind = text.trim_end_matches(|digit: char| digit.is_ascii_hexdigit());
    (text.len() - kind.len() >= 40).then_some(kind)
}

/// The text with each RFC 3339 instant and each time of day replaced by its form.
fn without_instants(text: &str) -> String {
    let is_word = |it: &&str| !it.is_empty();
    let form = |word: &str| match word.bytes().filter(u8::is_ascii_digit).count() {
        17 if word.ends_with('Z') && word.len() == 24 => "<instant>".to_owned(),
        6 if word.len() == 8 && word.matches(':').count() == 2 => "<time>".to_owned(),
        // Without seconds at a full minute.
        4 if word.len() == 5 && word.matches(':').count() == 1 => "<time>".to_owned(),
        _ => word.to_owned(),
    };
    text.split(' ').filter(is_word).map(form).collect::<Vec<_>>().join(" ")
}

/// JSON as the documents have it: lines that are filled, and of long lists only the first elements.
pub fn format_json(value: &Value) -> String {
    let mut text = String::new();
    write_json(value, &mut text);
    text
}

const WIDTH: usize = 120;
/// Elements that are shown of a list that does not fit a line.
const LIST_MAX: usize = 2;

/// Appends the value to the line that the text ends with; its parts stand below each other where it does not fit.
fn write_json(value: &Value, text: &mut String) {
    let column = |text: &str| text.rsplit('\n').next().unwrap_or_default().chars().count();
    let (open, parts, close) = match value {
        Value::Object(fields) => {
            let parts = fields.iter().map(|(key, value)| (format!("{}: ", Value::from(key.as_str())), value));
            ('{', parts.collect::<Vec<_>>(), '}')
        }
        Value::Array(items) => ('[', items.iter().map(|item| (String::new(), item)).collect(), ']'),
        _ => return text.push_str(&on_one_line(value)),
    };
    // What follows the value at the end of its line: brackets and a comma.
    let fits = |from: usize, part: &str| from + part.chars().count() + 4 <= WIDTH;
    let whole = on_one_line(value);
    if fits(column(text), &whole) {
        return text.push_str(&whole);
    }
    text.push(open);
    let indent = column(text);
    let shown = if value.is_array() { LIST_MAX } else { usize::MAX };
    for (index, (key, part)) in parts.iter().take(shown).enumerate() {
        if index > 0 {
            let is_filled = !fits(column(text) + 2, &format!("{key}{}", on_one_line(part)));
            text.push_str(if is_filled || value.is_array() { ",\n" } else { ", " });
            if text.ends_with('\n') {
                text.push_str(&" ".repeat(indent));
            }
        }
        text.push_str(key);
        write_json(part, text);
    }
    text.push_str(if parts.len() > shown { ", …" } else { "" });
    text.push(close);
}

fn on_one_line(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), on_one_line(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(on_one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
