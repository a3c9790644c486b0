//! The page of an operation: what it takes, what it answers, and an example.

use maud::{Markup, html};
use serde_json::{Map, Value};
use tidings_domain::access::{Grants, Permission, Role};

use super::Description;
use super::fields::{self, Direction};
use super::frame::{line, method_badge, prose};

/// The methods that OpenAPI knows, in the order in which they are listed.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// What the paths of a workspace have in common; lists leave it out.
const WORKSPACE: &str = "/api/workspaces/{workspace}";

/// An operation of a description.
#[derive(Clone, Copy)]
pub(super) struct Operation<'a> {
    description: &'a Description,
    pub(super) method: &'static str,
    path: &'a str,
    item: &'a Value,
    operation: &'a Value,
}

impl<'a> Operation<'a> {
    /// Those of a path.
    pub(super) fn all_of(description: &'a Description, path: &'a str, item: &'a Value) -> impl Iterator<Item = Self> {
        METHODS
            .into_iter()
            .filter_map(move |method| Some(Self { description, method, path, item, operation: item.get(method)? }))
    }

    fn text(&self, field: &str) -> &'a str {
        self.operation[field].as_str().unwrap_or_default()
    }

    pub(super) fn id(&self) -> &'a str {
        self.text("operationId")
    }

    pub(super) fn summary(&self) -> &'a str {
        self.text("summary")
    }

    /// The name of its first tag.
    pub(super) fn tag(&self) -> &'a str {
        self.operation["tags"][0].as_str().unwrap_or_default()
    }

    pub(super) fn tag_object(&self) -> &'a Value {
        let tags = self.description.document["tags"].as_array().into_iter().flatten();
        tags.into_iter().find(|tag| tag["name"] == self.tag()).unwrap_or(&Value::Null)
    }

    pub(super) fn href(&self) -> String {
        format!("/docs/operations/{}", self.id())
    }

    /// The path without what is the same for all of a workspace.
    pub(super) fn short_path(&self) -> &'a str {
        self.path.strip_prefix(WORKSPACE).filter(|rest| !rest.is_empty()).unwrap_or(self.path)
    }

    /// Everything that the search finds it by, in lower case.
    pub(super) fn search_text(&self) -> String {
        format!("{} {} {}", self.method, self.path, self.operation).to_lowercase()
    }

    /// Whether each of the words, in lower case, is in its text.
    pub(super) fn contains(&self, words: &[String]) -> bool {
        let text = self.description.texts.get(self.id()).map_or("", String::as_str);
        words.iter().all(|word| text.contains(word.as_str()))
    }

    /// Whether it names the schema.
    pub(super) fn refers_to(&self, schema: &str) -> bool {
        contains_reference(self.operation, &format!("#/components/schemas/{schema}"))
    }

    /// The parameters of the path and of the operation.
    fn parameters(&self) -> Vec<&'a Value> {
        let own = self.operation["parameters"].as_array().into_iter().flatten();
        let shared = self.item["parameters"].as_array().into_iter().flatten();
        shared.chain(own).map(|it| self.description.resolve(it)).collect()
    }

    /// The media type and the content of its body.
    fn body(&self) -> Option<(&'a str, &'a Value)> {
        let body = self.description.resolve(self.operation.get("requestBody")?);
        first_content(body)
    }

    pub(super) fn page(&self) -> Markup {
        let parameters = self.parameters();
        let responses = self.operation["responses"].as_object().into_iter().flatten();
        let (fine, problems): (Vec<_>, Vec<_>) = responses
            .map(|(status, it)| (status.as_str(), self.description.resolve(it)))
            .partition(|(status, _)| status.starts_with('2'));
        html! {
            h1 { (self.summary()) }
            p.route { (method_badge(self.method)) code { (self.path) } }
            (prose(self.text("description")))
            @if let Some(permission) = self.permission() { p.soft { (permission) } }
            @for place in ["path", "query", "header"] {
                @let of_place: Vec<_> = parameters.iter().filter(|it| it["in"] == place).collect();
                @if !of_place.is_empty() {
                    h2 { @match place { "path" => "Path", "query" => "Query parameters", _ => "Headers" } }
                    ul.fields { @for parameter in of_place { (fields::parameter(self.description, parameter)) } }
                }
            }
            @if let Some((media_type, content)) = self.body() {
                h2 { "Body" }
                p.media { code { (media_type) } @if self.is_body_optional() { " · may be left out" } }
                (fields::schema(self.description, &content["schema"], Direction::Request))
            }
            h2 { "Example" }
            pre { code { (self.example_request()) } }
            h2 { "Answers" }
            @for (status, response) in fine { (self.response(status, response)) }
            @if !problems.is_empty() { (self.problems(&problems)) }
        }
    }

    /// Who may call it.
    fn permission(&self) -> Option<String> {
        let name = self.operation["x-permission"].as_str()?;
        let permission = Permission::ALL.into_iter().find(|permission| permission.as_str() == name)?;
        let Grants { role, key, read_only_key } = permission.grants();
        let roles = Role::ALL.into_iter().filter(|other| *other >= role).map(|role| format!("{}s", role.as_str()));
        let keys = match (key, read_only_key) {
            (_, true) => Some("API keys"),
            (true, false) => Some("API keys that are not read-only"),
            (false, false) => None,
        };
        let who: Vec<_> = roles.chain(keys.map(str::to_owned)).collect();
        Some(format!("Needs the permission {}: {}.", name.replace('_', " "), who.join(", ")))
    }

    fn is_body_optional(&self) -> bool {
        let body = self.description.resolve(&self.operation["requestBody"]);
        body["required"] != true
    }

    fn response(&self, status: &str, response: &Value) -> Markup {
        let headers = response["headers"].as_object();
        html! {
            section.answer {
                h3 { (status) " " span.soft { (line(response["description"].as_str().unwrap_or_default())) } }
                @if let Some(headers) = headers.filter(|headers| !headers.is_empty()) { (self.headers(headers)) }
                @if let Some((media_type, content)) = first_content(response) {
                    p.media { code { (media_type) } }
                    (fields::schema(self.description, &content["schema"], Direction::Answer))
                    @if let Some(example) = example_of(content) {
                        details open { summary { "Example" } pre { code { (pretty(example)) } } }
                    }
                }
            }
        }
    }

    fn headers(&self, headers: &Map<String, Value>) -> Markup {
        html! {
            ul.fields {
                @for (name, header) in headers {
                    @let header = self.description.resolve(header);
                    li { code { (name) } " " (line(header["description"].as_str().unwrap_or_default())) }
                }
            }
        }
    }

    fn problems(&self, problems: &[(&str, &Value)]) -> Markup {
        html! {
            h3 { "Problems" }
            p { "Each is " code { "application/problem+json" } ": " a href="/docs/schemas/Problem" { "Problem" } "." }
            table {
                thead { tr { th scope="col" { "Status" } th scope="col" { "Meaning" } } }
                tbody {
                    @for (status, response) in problems {
                        tr { td { (status) } td { (line(response["description"].as_str().unwrap_or_default())) } }
                    }
                }
            }
        }
    }

    /// A command that sends the example.
    fn example_request(&self) -> String {
        let mut path = self.path.to_owned();
        for parameter in self.parameters().iter().filter(|it| it["in"] == "path") {
            let name = parameter["name"].as_str().unwrap_or_default();
            if let Some(example) = example_of(parameter).or_else(|| example_of(&parameter["schema"])) {
                path = path.replace(&format!("{{{name}}}"), &plain(example));
            }
        }
        let method = self.method.to_uppercase();
        let mut command = format!("curl -sS -X {method} \"$TIDINGS_URL{path}\"");
        if self.operation["security"] != Value::Array(Vec::new()) {
            command.push_str(" \\\n  -H \"Authorization: Bearer $TIDINGS_API_KEY\"");
        }
        if let Some((media_type, content)) = self.body()
            && let Some(example) = example_of(content)
        {
            let body = pretty(example).replace('\'', "'\\''");
            command.push_str(&format!(" \\\n  -H \"Content-Type: {media_type}\" \\\n  -d '{body}'"));
        }
        command
    }
}

fn first_content(value: &Value) -> Option<(&str, &Value)> {
    value["content"].as_object()?.iter().next().map(|(media_type, content)| (media_type.as_str(), content))
}

/// The first example of a schema, a parameter or a content.
pub(super) fn example_of(value: &Value) -> Option<&Value> {
    let named = || value["examples"].as_object()?.values().next()?.get("value");
    let listed = || value["examples"].as_array()?.first();
    value.get("example").or_else(named).or_else(listed).or_else(|| value.get("schema").and_then(example_of))
}

fn pretty(example: &Value) -> String {
    match example {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn contains_reference(value: &Value, reference: &str) -> bool {
    match value {
        Value::Object(fields) => {
            fields.get("$ref").is_some_and(|it| it == reference)
                || fields.values().any(|it| contains_reference(it, reference))
        }
        Value::Array(items) => items.iter().any(|it| contains_reference(it, reference)),
        _ => false,
    }
}
