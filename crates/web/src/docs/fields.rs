//! Schemas as lists of fields: name, type, bounds, meaning, and below them the fields of objects.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::Description;
use super::frame::{line, prose};

/// Whether required fields are marked: in what a caller sends. In answers the others are absent rarely, and say so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Answer,
}

/// Objects within objects are written out to this depth, and then named only.
const DEPTH_MAX: usize = 4;

/// A schema: what it is, and its fields.
pub(super) fn schema(description: &Description, schema: &Value, direction: Direction) -> Markup {
    let resolved = description.resolve(schema);
    let text = resolved["description"].as_str().unwrap_or_default();
    html! {
        p.type { (type_of(description, schema)) (bounds(resolved)) }
        (prose(text))
        (members(description, schema, direction, 0, &mut Vec::new()))
    }
}

/// A parameter of the path, the query or a header.
pub(super) fn parameter(description: &Description, parameter: &Value) -> Markup {
    let shown = Field {
        name: parameter["name"].as_str().unwrap_or_default(),
        schema: &parameter["schema"],
        text: parameter["description"].as_str(),
        is_marked: parameter["required"] == true && parameter["in"] != "path",
    };
    field(description, &shown, Direction::Request, 0, &mut Vec::new())
}

/// A field, or a parameter.
struct Field<'a> {
    name: &'a str,
    schema: &'a Value,
    /// Instead of the description of its schema.
    text: Option<&'a str>,
    /// Whether it is marked as required.
    is_marked: bool,
}

fn field<'a>(
    description: &'a Description,
    shown: &Field<'a>,
    direction: Direction,
    depth: usize,
    within: &mut Vec<&'a str>,
) -> Markup {
    let Field { name, schema, text, is_marked } = *shown;
    let resolved = description.resolve(schema);
    let text = text.or(schema["description"].as_str()).or(resolved["description"].as_str()).unwrap_or_default();
    let below = if depth < DEPTH_MAX {
        members(description, schema, direction, depth + 1, within)
    } else {
        html! {}
    };
    html! {
        li {
            code.name { (name) } " "
            span.type { (type_of(description, schema)) (bounds(resolved)) }
            @if is_marked { " " span.required { "required" } }
            @if !text.is_empty() { div.text { (line(text)) } }
            @if !below.0.is_empty() {
                // The first level is what one came for; the others are opened when they are wanted.
                details open[depth == 0 && below.0.len() < 4_000] { summary { "Fields of " code { (name) } } (below) }
            }
        }
    }
}

/// The fields of an object, of the objects of a list, or of each of several choices; nothing for anything else. `within` has
/// the names of the schemas around it, so that one that contains itself ends.
fn members<'a>(
    description: &'a Description,
    schema: &'a Value,
    direction: Direction,
    depth: usize,
    within: &mut Vec<&'a str>,
) -> Markup {
    if let Some(reference) = schema["$ref"].as_str() {
        if within.contains(&reference) {
            return html! {};
        }
        within.push(reference);
        let markup = members(description, description.resolve(schema), direction, depth, within);
        within.pop();
        return markup;
    }
    let required = schema["required"].as_array();
    let is_required =
        |name: &str| direction == Direction::Request && required.is_some_and(|names| names.iter().any(|it| it == name));
    let choices: Vec<_> = choices(schema).filter(|it| it["type"] != "null").collect();
    html! {
        @if let Some(properties) = schema["properties"].as_object().filter(|it| !it.is_empty()) {
            ul.fields {
                @for (name, property) in properties {
                    (field(
                        description,
                        &Field { name, schema: property, text: None, is_marked: is_required(name) },
                        direction,
                        depth,
                        within,
                    ))
                }
            }
        }
        @for part in schema["allOf"].as_array().into_iter().flatten() { (members(description, part, direction, depth, within)) }
        @if let [only] = choices[..] {
            (members(description, only, direction, depth, within))
        } @else {
            @for (choice, below) in alternatives(description, &choices, direction, depth, within) {
                div.choice { p.type { (title_of(description, choice)) } (below) }
            }
        }
        @if schema["items"].is_object() { (members(description, &schema["items"], direction, depth, within)) }
        @if schema["additionalProperties"].is_object() {
            (members(description, &schema["additionalProperties"], direction, depth, within))
        }
    }
}

fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten()
}

/// The choices that have fields, each with them. A list of what is a choice itself has the same fields, and is left out.
fn alternatives<'a>(
    description: &'a Description,
    choices: &[&'a Value],
    direction: Direction,
    depth: usize,
    within: &mut Vec<&'a str>,
) -> Vec<(&'a Value, Markup)> {
    let mut found: Vec<(&Value, Markup)> = Vec::new();
    for choice in choices {
        let below = members(description, choice, direction, depth, within);
        if !below.0.is_empty() && found.iter().all(|(_, known)| known.0 != below.0) {
            found.push((choice, below));
        }
    }
    found
}

fn title_of(description: &Description, schema: &Value) -> Markup {
    match schema["title"].as_str().or(schema["description"].as_str()) {
        Some(title) => line(title),
        None => type_of(description, schema),
    }
}

/// The type in words, with links to the schemas that it names.
fn type_of(description: &Description, schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/components/schemas/")) {
        let named = description.resolve(schema);
        if named["enum"].is_array() {
            return type_of(description, named);
        }
        return html! { a href=(format!("/docs/schemas/{name}")) { (name) } };
    }
    if let Some(words) = schema["enum"].as_array() {
        return html! { @for (number, word) in words.iter().enumerate() { @if number > 0 { " | " } code { (word_of(word)) } } };
    }
    if let Some(word) = schema.get("const") {
        return html! { code { (word_of(word)) } };
    }
    let choices: Vec<_> = choices(schema).collect();
    if !choices.is_empty() {
        return html! {
            @for (number, choice) in choices.iter().enumerate() { @if number > 0 { " or " } (type_of(description, choice)) }
        };
    }
    if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice) {
        return type_of(description, only);
    }
    let names: Vec<_> = match &schema["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ if schema["properties"].is_object() || schema["allOf"].is_array() => vec!["object"],
        _ => vec!["any value"],
    };
    html! {
        @for (number, name) in names.iter().enumerate() {
            @if number > 0 { " or " }
            @match *name {
                "array" => { "list of " (type_of(description, &schema["items"])) }
                "object" if schema["additionalProperties"].is_object() => {
                    "object of " (type_of(description, &schema["additionalProperties"]))
                }
                name => (name)
            }
        }
    }
}

fn word_of(word: &Value) -> String {
    word.as_str().map_or_else(|| word.to_string(), str::to_owned)
}

/// The bounds of a value, and its default.
fn bounds(schema: &Value) -> Markup {
    let mut words = Vec::new();
    let format = schema["format"].as_str().filter(|it| !it.starts_with("int") && !it.starts_with("uint"));
    words.extend(format.map(str::to_owned));
    words.extend(range(schema, "minimum", "maximum", ""));
    words.extend(range(schema, "minLength", "maxLength", " characters"));
    words.extend(range(schema, "minItems", "maxItems", " elements"));
    let example = schema["examples"][0].as_str().map(|example| format!("such as {example}"));
    words.extend(schema["pattern"].as_str().map(|pattern| example.unwrap_or_else(|| format!("matches {pattern}"))));
    let default = schema.get("default").filter(|it| !it.is_null());
    words.extend(default.map(|it| format!("default {}", thousands(it).unwrap_or_else(|| word_of(it)))));
    html! { @for word in &words { ", " (word) } }
}

fn range(schema: &Value, least: &str, most: &str, unit: &str) -> Option<String> {
    let number = |key: &str| schema.as_object().and_then(|schema: &Map<_, _>| schema.get(key)).and_then(thousands);
    match (number(least), number(most)) {
        (None, None) => None,
        (Some(least), None) if least == "0" => None,
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (Some(least), Some(most)) if least == most => Some(format!("{least}{unit}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
    }
}

/// A whole number with commas between its thousands, other numbers as they are.
fn thousands(number: &Value) -> Option<String> {
    let Some(whole) = number.as_u64() else { return number.is_number().then(|| number.to_string()) };
    let digits = whole.to_string();
    let grouped = digits.bytes().enumerate().flat_map(|(index, digit)| {
        let comma = (index > 0 && (digits.len() - index) % 3 == 0).then_some(',');
        comma.into_iter().chain([char::from(digit)])
    });
    Some(grouped.collect())
}
