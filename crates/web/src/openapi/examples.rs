//! The examples of the description: the requests and answers of `docs/API.md` and, for operations that the page shows no
//! example of, of `examples.md`. A test sends each of them to the program and compares the answer.

use serde_json::{Map, Value, json};

/// Documents with examples: an `http` block titled `x`, and the `jsonc` block titled `x-answer` with its answer.
const DOCUMENTS: [&str; 2] = [include_str!("../../../../docs/API.md"), include_str!("examples.md")];
/// What the paths of the examples are below, unless they are complete.
const WORKSPACE: &str = "/api/workspaces/default";
/// The base of complete URLs.
const PUBLIC_URL: &str = "https://tidings.example.com";

/// A request and its answer.
#[derive(Debug, PartialEq)]
struct Example {
    name: String,
    method: String,
    path: String,
    query: Vec<(String, String)>,
    body: Option<Value>,
    status: String,
    answer: Value,
}

impl Example {
    /// The values of the path's parameters, if the path is one of the template.
    fn parameters<'a>(&'a self, template: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let (own, other) = (self.path.split('/'), template.split('/'));
        if own.clone().count() != other.clone().count() {
            return None;
        }
        let mut values = Vec::new();
        for (value, segment) in own.zip(other) {
            match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => values.push((name, value)),
                None if value == segment => {}
                None => return None,
            }
        }
        Some(values)
    }
}

/// Adds the examples to the operations of a description.
pub(super) fn add_to(document: &mut Value) {
    let examples: Vec<_> = DOCUMENTS.into_iter().flat_map(parse).collect();
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for example in &examples {
        // The template with the fewest parameters: `/rules/test` is not a rule named `test`.
        let templates = paths.iter().filter(|(_, item)| item.get(&example.method).is_some());
        let fitting =
            templates.filter_map(|(template, _)| Some((example.parameters(template)?.len(), template.clone())));
        if let Some((_, template)) = fitting.min() {
            add(&mut paths[&template][&example.method], example, &template);
        }
    }
}

fn add(operation: &mut Value, example: &Example, template: &str) {
    let values = example.parameters(template).unwrap_or_default();
    let values: Map<String, Value> = values
        .into_iter()
        .chain(example.query.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let value = parameter["name"].as_str().and_then(|name| values.get(name));
        if let Some(value) = value.filter(|_| parameter.get("example").is_none()).cloned() {
            parameter["example"] = typed(value, &parameter["schema"]);
        }
    }
    // What is refused is no example of a request.
    let body = example.body.as_ref().filter(|_| example.status.starts_with('2'));
    if let Some((body, content)) = body.zip(operation.get_mut("requestBody")) {
        add_value(content, &example.name, body);
    }
    if let Some(response) = operation["responses"].get_mut(&example.status).filter(|_| !example.answer.is_null()) {
        add_value(response, &example.name, &example.answer);
    }
}

/// A query parameter's text as the type that its schema names.
fn typed(value: Value, schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("integer" | "number" | "boolean") => {
            value.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(value)
        }
        Some("array") => value.as_str().unwrap_or_default().split(',').map(Value::from).collect(),
        _ => value,
    }
}

/// To each media type of a body or an answer that is JSON.
fn add_value(content: &mut Value, name: &str, value: &Value) {
    let is_json = |media_type: &str| media_type == "application/json" || media_type.ends_with("+json");
    for (media_type, media) in content.get_mut("content").and_then(Value::as_object_mut).into_iter().flatten() {
        if is_json(media_type) {
            media["examples"][name] = json!({"value": value});
        }
    }
}

/// The examples of a document, in its order. One that cannot be read is left out: the test that sends them reports it.
fn parse(document: &str) -> Vec<Example> {
    let blocks: Vec<_> = blocks(document).collect();
    let answer_of = |title: &str| {
        let (_, text) = blocks.iter().find(|(other, _)| other.strip_suffix("-answer") == Some(title))?;
        // An object of which a part is left out is none of its schema.
        let (status, body) =
            Some(text.split_once('\n').unwrap_or((text, ""))).filter(|(_, body)| !body.contains("…}"))?;
        let body = if body.trim().is_empty() { Value::Null } else { serde_json::from_str(&whole(body)).ok()? };
        Some((status.strip_prefix("// ")?.trim().to_owned(), body))
    };
    let requests = blocks.iter().filter(|(title, _)| !title.ends_with("-answer"));
    requests.filter_map(|(title, text)| example(title, text, answer_of(title)?)).collect()
}

fn example(title: &str, request: &str, (status, answer): (String, Value)) -> Option<Example> {
    let (line, body) = request.split_once('\n').unwrap_or((request, ""));
    let (method, target) = line.split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = match path.strip_prefix(PUBLIC_URL) {
        Some(complete) => complete.to_owned(),
        None => format!("{WORKSPACE}{path}"),
    };
    let body = if body.trim().is_empty() { None } else { Some(serde_json::from_str(body).ok()?) };
    Some(Example {
        name: title.strip_prefix("api-").unwrap_or(title).to_owned(),
        method: method.to_ascii_lowercase(),
        path,
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        body,
        status,
        answer,
    })
}

/// An answer without the `…` in its lists, in place of elements that are left out.
fn whole(answer: &str) -> String {
    let mut parts = answer.split('…');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.strip_prefix(',') {
            Some(rest) => whole.push_str(rest),
            // It is the last of the list: the comma before it goes, too.
            None => {
                whole.truncate(whole.trim_end().trim_end_matches(',').len());
                whole.push_str(part);
            }
        }
    }
    whole
}

/// The title and the text of each titled block.
fn blocks(document: &str) -> impl Iterator<Item = (&str, &str)> {
    document.split("\n```").filter_map(|block| {
        let (info, text) = block.split_once('\n')?;
        let title = info.split_once("title=\"")?.1.strip_suffix('"')?;
        let is_example = info.starts_with("http ") || info.starts_with("jsonc ");
        is_example.then_some((title, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"
Prose.

```http title="api-list"
GET /things?limit=2&dryRun=true
```

```jsonc title="api-list-answer"
// 200
{"data": […, {"id": "a", "kinds": ["x",
          …]}]}
```

```sh title="api-curl"
curl
```

```http title="api-test"
POST /things/test

{"a": 1}
```

```jsonc title="api-test-answer"
// 204
```
"#;

    #[test]
    fn examples_are_parsed_with_lists_that_are_left_out() {
        let examples = parse(DOCUMENT);
        assert_eq!(examples.len(), 2);
        assert_eq!(examples[0].answer, json!({"data": [{"id": "a", "kinds": ["x"]}]}));
        assert_eq!(examples[0].path, "/api/workspaces/default/things");
        assert_eq!((examples[1].body.as_ref(), examples[1].status.as_str()), (Some(&json!({"a": 1})), "204"));
        assert!(examples[1].answer.is_null());
    }

    #[test]
    fn example_belongs_to_the_template_with_the_fewest_parameters() {
        let example = &parse(DOCUMENT)[1];
        let base = "/api/workspaces/{workspace}";
        let parameters = |template: &str| example.parameters(&format!("{base}{template}")).map(|values| values.len());
        assert_eq!(parameters("/things/test"), Some(1));
        assert_eq!(parameters("/things/{id}"), Some(2));
        assert_eq!(parameters("/things/{id}/test"), None);
        assert_eq!(parameters("/others/test"), None);
    }

    #[test]
    fn query_examples_have_the_type_of_their_parameter() {
        assert_eq!(typed("2".into(), &json!({"type": "integer"})), json!(2));
        assert_eq!(typed("true".into(), &json!({"type": "boolean"})), json!(true));
        assert_eq!(typed("2".into(), &json!({"type": "string"})), json!("2"));
        assert_eq!(typed("a,b".into(), &json!({"type": "array"})), json!(["a", "b"]));
    }
}
