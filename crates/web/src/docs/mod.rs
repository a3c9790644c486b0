//! The pages of the API's description, below `/docs`: rendered from it on the server, without script and without anything
//! from elsewhere.
//!
//! One page lists the operations by tag and searches them, one page shows an operation, one a named schema.

mod fields;
mod frame;
mod operation;
mod routes;

use std::collections::HashMap;

use maud::{Markup, html};
use serde_json::{Map, Value};

use self::fields::Direction;
use self::frame::{frame, method_badge, prose};
use self::operation::Operation;

pub(crate) use self::routes::router;

/// The styles of all pages.
const STYLE: &str = include_str!("style.css");

/// An OpenAPI description, read for these pages.
struct Description {
    document: Value,
    /// What the search looks through, in lower case, by operation.
    texts: HashMap<String, String>,
}

impl Description {
    /// Of an OpenAPI 3.1 document.
    fn new(document: Value) -> Self {
        let mut description = Self { document, texts: HashMap::new() };
        description.texts = description.operations().map(|it| (it.id().to_owned(), it.search_text())).collect();
        description
    }

    fn info(&self, field: &str) -> &str {
        self.document["info"][field].as_str().unwrap_or_default()
    }

    fn schema(&self, name: &str) -> Option<&Value> {
        self.schemas()?.get(name)
    }

    fn schemas(&self) -> Option<&Map<String, Value>> {
        self.document["components"]["schemas"].as_object()
    }

    /// What `$ref` refers to, or the value itself.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|target| self.document.pointer(target.strip_prefix('#')?));
        target.unwrap_or(value)
    }

    /// Every operation, in the order of the document.
    fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        paths.flat_map(|(path, item)| Operation::all_of(self, path, item))
    }

    /// The operations by tag: the tags in the order of the document, their operations in that of `listed`.
    fn by_tag<'a>(&'a self, listed: &[Operation<'a>]) -> Vec<(&'a Value, Vec<Operation<'a>>)> {
        let tags = self.document["tags"].as_array().into_iter().flatten();
        let of_tag = |tag: &Value| listed.iter().filter(|it| it.tag() == tag["name"]).copied().collect::<Vec<_>>();
        tags.map(|tag| (tag, of_tag(tag))).filter(|(_, operations)| !operations.is_empty()).collect()
    }

    /// The first page: what the API is, and its operations, only those that contain each word of `search` if it is given.
    fn index(&self, search: &str) -> Markup {
        let all: Vec<_> = self.operations().collect();
        let words: Vec<_> = search.split_whitespace().map(str::to_lowercase).collect();
        let found: Vec<_> = all.iter().filter(|it| it.contains(&words)).copied().collect();
        let title = self.info("title");
        let content = html! {
            h1 { (title) " " span.version { (self.info("version")) } }
            @if words.is_empty() {
                (prose(self.info("description")))
                p { "As a file: " a href="/api/openapi.json" { code { "/api/openapi.json" } } " (OpenAPI 3.1)." }
            } @else {
                p role="status" {
                    @match found.len() {
                        0 => { "No operation contains " q { (search) } ". " }
                        1 => { "One operation contains " q { (search) } ". " }
                        number => { (number) " operations contain " q { (search) } ". " }
                    }
                    a href="/docs" { "All operations" }
                }
            }
            @for (tag, operations) in self.by_tag(&found) {
                section id=(anchor(tag)) {
                    h2 { (name(tag)) }
                    @if words.is_empty() { (prose(tag["description"].as_str().unwrap_or_default())) }
                    ul.operations {
                        @for operation in &operations {
                            li {
                                a href=(operation.href()) {
                                    (method_badge(operation.method)) code { (operation.short_path()) }
                                    span.summary { (operation.summary()) }
                                }
                            }
                        }
                    }
                }
            }
        };
        frame(self, title, None, search, &content)
    }

    /// The page of an operation; none if there is no such operation.
    fn operation(&self, id: &str) -> Option<Markup> {
        let operation = self.operations().find(|it| it.id() == id)?;
        Some(frame(self, operation.summary(), Some(operation), "", &operation.page()))
    }

    /// The page of a named schema; none if there is no such schema.
    fn named_schema(&self, name: &str) -> Option<Markup> {
        let schema = self.schema(name)?;
        // Only what is read refuses unknown fields.
        let is_read = schema["additionalProperties"] == false;
        let direction = if is_read { Direction::Request } else { Direction::Answer };
        let users: Vec<_> = self.operations().filter(|it| it.refers_to(name)).collect();
        let content = html! {
            p.kind { "Schema" }
            h1 { (name) }
            (fields::schema(self, schema, direction))
            @if !users.is_empty() {
                h2 { "Used by" }
                ul { @for user in users { li { a href=(user.href()) { (user.summary()) } } } }
            }
        };
        Some(frame(self, name, None, "", &content))
    }

    /// The page for a path that does not exist.
    fn missing(&self) -> Markup {
        let content = html! {
            h1 { "There is no such page" }
            p { a href="/docs" { "All operations" } }
        };
        frame(self, "There is no such page", None, "", &content)
    }
}

fn name(tag: &Value) -> &str {
    tag["name"].as_str().unwrap_or_default()
}

/// The fragment of a tag's section.
fn anchor(tag: &Value) -> String {
    name(tag).to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests;
