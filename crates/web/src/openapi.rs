//! The OpenAPI 3.1 description, built from the table of routes and the types of their handlers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::problem::Code;

mod examples;
pub(crate) mod service;
mod tags;

/// The description of one operation, to which its arguments and its result add.
#[derive(Debug, Default)]
pub(crate) struct Description {
    parameters: Vec<Value>,
    request_body: Option<Value>,
    /// By status.
    responses: BTreeMap<u16, Value>,
    problems: BTreeSet<Code>,
    security: Vec<Value>,
    permission: Option<&'static str>,
    components: Components,
}

impl Description {
    /// A parameter of the path.
    pub(crate) fn path_parameter<T: ToSchema>(&mut self, name: &str, description: &str) {
        let schema = self.components.reference::<T>();
        self.parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": description, "schema": schema
        }));
    }

    /// The parameters of the query: the fields of `T`.
    pub(crate) fn query_parameters<T: ToSchema>(&mut self) {
        let schema = self.components.inline::<T>();
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let mut field = field.clone();
            let description = field.as_object_mut().and_then(|field| field.remove("description"));
            let mut parameter = json!({
                "name": name, "in": "query", "required": required.contains(&name.as_str()), "schema": without_null(field)
            });
            if parameter["schema"]["type"] == "array" {
                parameter["style"] = "form".into();
                parameter["explode"] = false.into();
            }
            if let Some(description) = description {
                parameter["description"] = description;
            }
            self.parameters.push(parameter);
        }
    }

    /// A header of the request.
    pub(crate) fn header(&mut self, name: &str, description: &str) {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": {"type": "string"}
        }));
    }

    /// A JSON body.
    pub(crate) fn body<T: ToSchema>(&mut self, is_required: bool) {
        let schema = self.components.request::<T>();
        self.request_body = Some(json!({"required": is_required, "content": {"application/json": {"schema": schema}}}));
        self.problems([
            Code::InvalidJson,
            Code::InvalidEncoding,
            Code::RequestTimeout,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::UnsupportedEncoding,
            Code::Invalid,
        ]);
    }

    /// A JSON merge patch (RFC 7396) of `T`.
    pub(crate) fn merge_patch<T: ToSchema>(&mut self) {
        self.body::<T>(true);
        let schema = self.components.patch::<T>();
        let by_type =
            json!({"application/json": {"schema": schema}, "application/merge-patch+json": {"schema": schema}});
        self.request_body = Some(json!({"required": true, "content": by_type}));
    }

    /// One `T`, a list of them, or one a line.
    pub(crate) fn one_or_many<T: ToSchema>(&mut self, items_max: usize) {
        self.body::<T>(true);
        let one = self.components.request::<T>();
        let many = json!({"type": "array", "minItems": 1, "maxItems": items_max, "items": one});
        let lines = json!({"type": "string", "description": format!("One JSON object a line, at most {items_max}.")});
        self.request_body = Some(json!({"required": true, "content": {
            "application/json": {"schema": {"oneOf": [one, many]}},
            "application/x-ndjson": {"schema": lines},
        }}));
    }

    /// A response with a JSON body.
    pub(crate) fn response<T: ToSchema>(&mut self, status: u16, description: &str) {
        let schema = self.components.reference::<T>();
        self.response_content(status, description, json!({"application/json": {"schema": schema}}));
    }

    /// A response with a body of these media types; `null` for none.
    pub(crate) fn response_content(&mut self, status: u16, description: &str, content: Value) {
        let mut response = json!({"description": description, "headers": {
            "x-request-id": {"$ref": "#/components/headers/RequestId"}
        }});
        if !content.is_null() {
            response["content"] = content;
        }
        self.responses.insert(status, response);
    }

    /// Says that the response has an `ETag`.
    pub(crate) fn etag(&mut self, status: u16) {
        if let Some(response) = self.responses.get_mut(&status) {
            response["headers"]["ETag"] = json!({
                "description": "The revision, for If-Match of the next edit.", "schema": {"type": "string"}
            });
        }
    }

    /// Problems with which the operation may fail.
    pub(crate) fn problems(&mut self, codes: impl IntoIterator<Item = Code>) {
        self.problems.extend(codes);
    }

    /// It needs this permission in the workspace of the path.
    pub(crate) fn needs(&mut self, permission: &'static str) {
        self.permission = Some(permission);
        self.parameters.insert(
            0,
            json!({
                "name": "workspace", "in": "path", "required": true, "description": "The id or slug of the workspace.",
                "schema": {"type": "string"}
            }),
        );
        self.authenticated();
        self.problems([Code::NotFound]);
    }

    /// It needs an API key or a session.
    pub(crate) fn authenticated(&mut self) {
        self.security = vec![json!({"apiKey": []}), json!({"session": []})];
        self.problems([Code::Unauthenticated, Code::ReadOnly, Code::Forbidden, Code::CrossSite]);
        self.problems([Code::WorkspaceSuspended]);
    }

    /// It needs a session.
    pub(crate) fn signed_in(&mut self) {
        self.security = vec![json!({"session": []})];
        self.problems([Code::Unauthenticated, Code::CrossSite]);
    }

    fn finish(mut self, operation: &mut Map<String, Value>, components: &mut Components) {
        // Any request may meet a defect, or a store that cannot be used.
        self.problems.extend([Code::Internal, Code::Unavailable]);
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in &self.problems {
            by_status.entry(code.status().as_u16()).or_default().push(*code);
        }
        for (status, codes) in by_status {
            let listed: Vec<_> = codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
            let content = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
            self.response_content(status, &listed.join(" "), content);
        }
        operation.insert("parameters".into(), Value::Array(self.parameters));
        if let Some(body) = self.request_body {
            operation.insert("requestBody".into(), body);
        }
        let responses = self.responses.into_iter().map(|(status, response)| (status.to_string(), response));
        operation.insert("responses".into(), Value::Object(responses.collect()));
        operation.insert("security".into(), Value::Array(self.security));
        if let Some(permission) = self.permission {
            operation.insert("x-permission".into(), permission.into());
        }
        for (name, schema) in self.components.0 {
            // As a part of an answer, a request's schema does not say that it refuses unknown fields.
            let is_closed = |schema: &Value| schema["additionalProperties"] == false;
            let known = components.0.get(&name);
            debug_assert!(
                known.is_none_or(|known| known["properties"] == schema["properties"]),
                "two types have the name {name} in the description: rename one of them"
            );
            if !known.is_some_and(is_closed) {
                components.0.insert(name, schema);
            }
        }
    }
}

/// The schemas that operations refer to, by name.
#[derive(Debug, Default)]
pub(crate) struct Components(BTreeMap<String, Value>);

impl Components {
    /// A reference to the schema of `T`, which becomes a component.
    pub(crate) fn reference<T: ToSchema>(&mut self) -> Value {
        let schema = self.inline::<T>();
        // Texts, numbers and the like need no component.
        if schema["type"] != "object" && schema["oneOf"].is_null() && schema["enum"].is_null() {
            return schema;
        }
        let name = T::name().into_owned();
        self.0.entry(name.clone()).or_insert(schema);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// The same for a request, in which unknown fields are refused.
    pub(crate) fn request<T: ToSchema>(&mut self) -> Value {
        let reference = self.reference::<T>();
        let name = T::name();
        if let Some(schema) = self.0.get_mut(name.as_ref())
            && schema["properties"].is_object()
            && schema["additionalProperties"].is_null()
        {
            schema["additionalProperties"] = false.into();
        }
        reference
    }

    /// The schema of a merge patch of `T`, in which nothing is required.
    fn patch<T: ToSchema>(&mut self) -> Value {
        let mut schema = self.inline::<T>();
        let name = format!("{}Patch", T::name());
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("example");
            // Without the field that distinguishes the variants, a patch fits several of them.
            if let Some(variants) = fields.remove("oneOf") {
                fields.insert("anyOf".into(), variants);
            }
        }
        match schema.get_mut("anyOf").and_then(Value::as_array_mut) {
            Some(variants) => variants.iter_mut().for_each(make_optional),
            None => make_optional(&mut schema),
        }
        self.0.insert(name.clone(), schema);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// The schema of `T` itself; those that it refers to become components.
    fn inline<T: ToSchema>(&mut self) -> Value {
        let mut named = Vec::new();
        T::schemas(&mut named);
        let raw: BTreeMap<String, Value> =
            named.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect();
        for (name, schema) in &raw {
            if !self.0.contains_key(name) {
                self.0.insert(name.clone(), plain(schema.clone(), &raw));
            }
        }
        plain(serde_json::to_value(T::schema()).unwrap_or_default(), &raw)
    }
}

/// Of an object of a merge patch: no field is required, and the value of an absent one is the present one.
fn make_optional(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("required");
    fields.insert("additionalProperties".into(), false.into());
    for (_, field) in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(field) = field.as_object_mut() {
            field.remove("default");
        }
    }
}

/// The schema as tools read it best: flattened structs are one object, formats are those of OpenAPI, descriptions have no
/// links into the code.
fn plain(mut schema: Value, named: &BTreeMap<String, Value>) -> Value {
    if schema["allOf"].is_array() {
        schema = flattened(schema, named);
    }
    match &mut schema {
        Value::Object(fields) => {
            if let Some(Value::String(format)) = fields.get_mut("format") {
                let known = match format.as_str() {
                    "u-int8" | "u-int16" | "int8" | "int16" => "int32",
                    "u-int32" | "u-int64" => "int64",
                    other => other,
                };
                *format = known.to_owned();
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = without_code_links(text);
            }
            for (_, value) in fields.iter_mut() {
                *value = plain(value.take(), named);
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = plain(item.take(), named);
            }
        }
        _ => {}
    }
    schema
}

/// The parts of an `allOf` as one object, if they are objects.
fn flattened(schema: Value, named: &BTreeMap<String, Value>) -> Value {
    let resolved = |part: &Value| {
        let name = part["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/components/schemas/"));
        let part = name.and_then(|name| named.get(name)).unwrap_or(part).clone();
        if part["allOf"].is_array() { flattened(part, named) } else { part }
    };
    let parts: Vec<Value> = schema["allOf"].as_array().into_iter().flatten().map(resolved).collect();
    // A part with variants: each variant gets the fields of the other parts.
    if let Some(at) = parts.iter().position(|part| part["oneOf"].is_array()) {
        let others: Vec<_> =
            parts.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, part)| part.clone()).collect();
        let variant = |variant: &Value| {
            let all = std::iter::once(variant.clone()).chain(others.iter().cloned()).collect::<Vec<_>>();
            flattened(json!({"allOf": all}), named)
        };
        let variants: Vec<_> = parts[at]["oneOf"].as_array().into_iter().flatten().map(variant).collect();
        let mut whole = json!({"oneOf": variants});
        if let Some(description) = schema.get("description") {
            whole["description"] = description.clone();
        }
        return whole;
    }
    let mut properties = Map::new();
    let mut required = Vec::new();
    for part in &parts {
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    let mut whole = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        whole["required"] = required.into();
    }
    for key in ["description", "example"] {
        let own = schema.get(key).or_else(|| parts.iter().rev().find_map(|part| part.get(key)));
        if let Some(value) = own {
            whole[key] = value.clone();
        }
    }
    // The example of a part is none of the whole, which requires more.
    let required = whole["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let is_example_of_part = required.into_iter().any(|name| whole["example"].get(name).is_none());
    if let Some(fields) = whole.as_object_mut().filter(|_| is_example_of_part) {
        fields.remove("example");
    }
    whole
}

/// The schema of a parameter that cannot be `null`: it is absent instead.
fn without_null(mut schema: Value) -> Value {
    if let Some(types) = schema["type"].as_array() {
        let others: Vec<_> = types.iter().filter(|kind| *kind != "null").cloned().collect();
        if let [only] = others.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(alternatives) = schema["oneOf"].as_array() {
        let others: Vec<_> = alternatives.iter().filter(|one| one["type"] != "null").cloned().collect();
        if let [only] = others.as_slice() {
            return only.clone();
        }
    }
    // A default that is none of the values: the parameter is required then.
    let is_empty_list = schema["default"].as_array().is_some_and(Vec::is_empty);
    if (schema["default"].is_null() || is_empty_list)
        && let Some(fields) = schema.as_object_mut()
    {
        fields.remove("default");
    }
    schema
}

/// Replaces ``[`crate::x::Y`]`` and ``[`Y`](path)`` by `` `Y` ``.
fn without_code_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("[`") {
        let (before, link) = rest.split_at(start);
        let Some(end) = link.find("`]") else { break };
        plain.push_str(before);
        let name = link[2..end].rsplit("::").next().unwrap_or_default();
        plain.push_str(&format!("`{name}`"));
        rest = &link[end + 2..];
        if rest.starts_with('(')
            && let Some(close) = rest.find(')')
        {
            rest = &rest[close + 1..];
        }
    }
    plain.push_str(rest);
    plain.replace('\n', " ").replace("  ", "\n\n")
}

/// One route of the description.
pub(crate) struct DescribedRoute<'a> {
    pub method: &'a str,
    pub path: String,
    pub operation_id: String,
    pub tag: &'a str,
    pub summary: &'a str,
    pub description: Description,
}

/// The whole description.
pub(crate) fn document<'a>(routes: impl IntoIterator<Item = DescribedRoute<'a>>) -> Value {
    let mut components = Components::default();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = Vec::new();
    for route in routes {
        if !tags.contains(&route.tag) {
            tags.push(route.tag);
        }
        let mut operation = Map::new();
        operation.insert("operationId".into(), route.operation_id.into());
        operation.insert("summary".into(), route.summary.into());
        operation.insert("tags".into(), json!([route.tag]));
        route.description.finish(&mut operation, &mut components);
        paths.entry(route.path).or_default().insert(route.method.to_ascii_lowercase(), Value::Object(operation));
    }
    components.0.insert("Problem".into(), problem_schema());
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidings",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Notifies the right people and systems when something ends or breaks, makes sure that it \
                arrives, and can always explain why it was or was not sent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags.into_iter().map(tags::described).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": components.0,
            "headers": {
                "RequestId": {"description": "The id of the request in the log.", "schema": {"type": "string"}}
            },
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key of the workspace."},
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "__Host-tidings",
                    "description": "A session, which begins with `POST /api/session`. Its cookie is called `tidings` where the \
                        service is reached without https. Requests that change something must come from a page of the \
                        service, as `Sec-Fetch-Site` or `Origin` shows."
                }
            }
        },
    });
    remove_unused_components(&mut document);
    examples::add_to(&mut document);
    document
}

/// Removes schemas to which nothing refers, such as those whose fields others have flattened.
fn remove_unused_components(document: &mut Value) {
    loop {
        let text = document.to_string();
        let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
        let before = schemas.len();
        schemas.retain(|name, _| text.contains(&format!("\"#/components/schemas/{name}\"")));
        if schemas.len() == before {
            return;
        }
    }
}

fn problem_schema() -> Value {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({
        "type": "object",
        "description": "A request that failed (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer", "format": "int32"},
            "code": {"type": "string", "enum": codes, "description": "Stable."},
            "detail": {"type": "string", "description": "What happened, and what to do."},
            "errors": {
                "type": "array",
                "description": "What is wrong with the request: at most 100 violations.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {
                        "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) to the field."},
                        "detail": {"type": "string"}
                    }
                }
            },
            "errorCount": {"type": "integer", "format": "int32", "description": "All violations, if more than are listed."},
            "used": {"type": "integer", "format": "int32", "description": "Of a quota."},
            "max": {"type": "integer", "format": "int32", "description": "Of a quota."},
            "rules": {"type": "array", "items": {"type": "string"}, "description": "The rules that are in the way."},
            "endpoints": {"type": "array", "items": {"type": "string"}, "description": "The endpoints that are in the way."},
            "requestId": {"type": "string", "description": "The id under which a defect was logged."}
        }
    })
}
