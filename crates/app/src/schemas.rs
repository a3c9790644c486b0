//! Schemas of fields whose type alone says less than what is accepted.

use tidings_domain::resource::ResourceType;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

/// One of these words.
pub(crate) fn word(words: impl IntoIterator<Item = &'static str>, about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).description(Some(about))
}

/// The type of a resource that has runs.
pub(crate) fn run_type() -> Schema {
    word(ResourceType::OF_RUNS.map(ResourceType::as_str), "The type of the resource.").into()
}

/// The type of a resource that rules are about.
pub(crate) fn rule_type() -> Schema {
    word(ResourceType::OF_RULES.map(ResourceType::as_str), "The type of the resource.").into()
}

/// A caller's own id: a text, or an integer, which is taken as its digits.
fn external_id(about: &str, example: &str) -> Schema {
    let types = SchemaType::from_iter([Type::String, Type::Integer]);
    let text = ObjectBuilder::new().schema_type(types).min_length(Some(1)).max_length(Some(200));
    text.description(Some(about)).examples([example]).into()
}

/// The id of one resource.
pub(crate) fn resource_id() -> Schema {
    external_id("Your own id of the resource: at most 200 bytes. An integer is taken as its digits.", "import-orders")
}

/// The id of one resource, or all of them.
pub(crate) fn resource_selector() -> Schema {
    let about =
        "Your own id of the resource, or `*` for every resource of the type. An integer is taken as its digits.";
    external_id(about, "import-orders")
}

/// The id of a run.
pub(crate) fn run_id() -> Schema {
    let about = "Your own id of the run: at most 200 bytes. A repeated report of a run changes nothing. An integer is taken \
        as its digits.";
    external_id(about, "2026-05-02T04:00")
}
