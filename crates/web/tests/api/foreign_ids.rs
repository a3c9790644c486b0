//! Ids of another workspace are answered as ids of nothing, wherever the description has an id: in paths, queries and bodies.

use std::collections::BTreeMap;

use http_body_util::Full;
use serde_json::{Map, Value, json};

use crate::harness::{ApiResponse, Service};

/// The digits of the ids of nothing.
const NOTHING: &str = "11111111111111111111111111111111";
const WORKSPACE: &str = "/api/workspaces/{workspace}";

/// What the other workspace has: an id by prefix, such as `ch_`.
struct Foreign(BTreeMap<String, String>);

impl Foreign {
    async fn make(service: &Service) -> Self {
        let channel = json!({"name": "theirs", "type": "webhook", "config": {"url": "https://example.com/hook"}});
        let channel = made(service, "/channels", &channel, "/channel/id").await;
        let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": channel});
        let rule = made(service, "/notification-rules", &rule, "/rule/id").await;
        let run = json!({"resourceType": "flow", "resourceId": "f1", "runId": "1", "status": "failure"});
        let event = made(service, "/runs", &run, "/eventId").await;
        let deliveries = other(service, "GET", &format!("/deliveries?event={event}"), None).await.expect(200);
        let endpoint = json!({"name": "theirs", "type": "external", "failureThreshold": 1});
        let endpoint = made(service, "/endpoints", &endpoint, "/endpoint/id").await;
        let check = json!({"status": "down"});
        let incident = made(service, &format!("/endpoints/{endpoint}/checks"), &check, "/incident/id").await;
        let mute = made(service, "/mutes", &json!({"scope": "channel", "targetId": channel}), "/mute/id").await;
        let inbound = json!({"type": "alertmanager", "name": "theirs"});
        let inbound = made(service, "/inbound-webhooks", &inbound, "/inboundWebhook/id").await;
        let key = made(service, "/api-keys", &json!({"name": "theirs"}), "/apiKey/id").await;
        let invitation = json!({"email": "ben@example.com", "role": "member"});
        let invitation = made(service, "/invitations", &invitation, "/invitation/id").await;
        let delivery = deliveries["data"][0]["id"].as_str().unwrap().to_owned();
        let all = [channel, rule, event, delivery, endpoint, incident, mute, inbound, key, invitation]
            .map(|id| (prefix(&id), id));
        Self(all.into())
    }

    /// The foreign id of the same kind, and one of nothing. `None` for kinds that are in no workspace.
    fn pair(&self, prefix: &str) -> Option<[String; 2]> {
        Some([self.0.get(prefix)?.clone(), format!("{prefix}{NOTHING}")])
    }
}

fn prefix(id: &str) -> String {
    format!("{}_", id.split_once('_').unwrap().0)
}

async fn other(service: &Service, method: &str, path: &str, body: Option<&Value>) -> ApiResponse {
    let request = service.bare(method, &format!("/api/workspaces/other{path}"));
    let request = request.header("authorization", format!("Bearer {}", service.other_key));
    let request = request.header("content-type", "application/json");
    service.execute(request.body(Full::from(body.map(Value::to_string).unwrap_or_default())).unwrap()).await
}

async fn made(service: &Service, path: &str, body: &Value, pointer: &str) -> String {
    let answered = other(service, "POST", path, Some(body)).await;
    assert!(answered.status.is_success(), "{path}: {answered:?}");
    answered.json().pointer(pointer).unwrap_or_else(|| panic!("{answered:?}")).as_str().unwrap().to_owned()
}

/// An operation of the description.
struct Operation<'a> {
    document: &'a Value,
    method: String,
    /// Below the workspace.
    path: &'a str,
    operation: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let of_path = |(path, item): (&'_ String, &'_ Value)| {
        let methods: Vec<_> = item.as_object().unwrap().keys().map(String::clone).collect();
        methods.into_iter().map(|method| (path.clone(), method)).collect::<Vec<_>>()
    };
    let paths = document["paths"].as_object().unwrap();
    let named = paths.iter().flat_map(of_path);
    let found = named.filter_map(|(path, method)| {
        let (path, item) = paths.get_key_value(&path)?;
        let operation = &item[&method];
        Some(Operation { document, method: method.to_uppercase(), path: path.strip_prefix(WORKSPACE)?, operation })
    });
    found.collect()
}

impl Operation<'_> {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let target = schema["$ref"].as_str().and_then(|target| self.document.pointer(target.strip_prefix('#')?));
        target.unwrap_or(schema)
    }

    /// The prefix of the ids that the schema describes, if it does.
    fn id_prefix(&self, schema: &Value) -> Option<String> {
        let pattern = self.resolve(schema)["pattern"].as_str()?;
        Some(pattern.strip_prefix('^')?.strip_suffix("[0-9a-f]{32}$")?.to_owned())
    }

    fn parameters(&self, place: &str) -> Vec<(&str, String)> {
        let all = self.operation["parameters"].as_array().into_iter().flatten();
        let ids = all.filter(|parameter| parameter["in"] == place);
        ids.filter_map(|it| Some((it["name"].as_str()?, self.id_prefix(&it["schema"])?))).collect()
    }

    fn body_schema(&self) -> Option<&Value> {
        Some(&self.operation.get("requestBody")?["content"]["application/json"]["schema"])
    }

    /// A body that is valid as far as the description knows.
    fn body(&self) -> Option<Value> {
        let schema = self.body_schema()?;
        let content = &self.operation["requestBody"]["content"]["application/json"];
        let example = content["examples"].as_object().and_then(|named| named.values().next()).map(|it| &it["value"]);
        let example = example.or_else(|| self.resolve(schema).get("example")).filter(|example| example.is_object());
        Some(example.cloned().unwrap_or_else(|| self.sample(schema, 0)))
    }

    /// A value of the schema, with what is required only.
    fn sample(&self, schema: &Value, depth: usize) -> Value {
        let schema = self.resolve(schema);
        if let Some(example) = schema.get("example").or(schema["examples"].get(0)).or(schema["enum"].get(0)) {
            return example.clone();
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            return choices.iter().find(|it| it["type"] != "null").map_or(Value::Null, |it| self.sample(it, depth + 1));
        }
        let kind = schema["type"].as_str().or(schema["type"][0].as_str()).unwrap_or_default();
        match kind {
            "object" if depth < 6 => {
                let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let fields =
                    required.map(|name| (name.to_owned(), self.sample(&schema["properties"][name], depth + 1)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            "array" => json!([]),
            "integer" | "number" => schema["minimum"].as_u64().unwrap_or(60).into(),
            "boolean" => false.into(),
            _ => "x".into(),
        }
    }

    /// The pointers of all ids within the schema, with their prefixes. Elements of lists have the index 0.
    fn ids(&self, schema: &Value, at: &str, depth: usize, found: &mut Vec<(String, String)>) {
        if depth > 8 {
            return;
        }
        if let Some(prefix) = self.id_prefix(schema) {
            found.push((at.to_owned(), prefix));
            return;
        }
        let schema = self.resolve(schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.ids(property, &format!("{at}/{name}"), depth + 1, found);
        }
        for choice in ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten() {
            self.ids(choice, at, depth + 1, found);
        }
        if schema["items"].is_object() {
            self.ids(&schema["items"], &format!("{at}/0"), depth + 1, found);
        }
    }

    /// Puts the id where the pointer says, with what is required around it.
    fn put(&self, body: &mut Value, schema: &Value, pointer: &str, id: &str) {
        let Some(rest) = pointer.strip_prefix('/') else {
            *body = id.into();
            return;
        };
        let schema = self.resolve(schema);
        let (name, rest) =
            rest.split_once('/').map_or((rest, String::new()), |(name, rest)| (name, format!("/{rest}")));
        if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            let has = |it: &&Value| {
                let it = self.resolve(it);
                it["properties"].get(name).is_some() || name == "0" && it["items"].is_object()
            };
            // Of a type with variants, the one that has the field and the words of the body, if the body has any.
            let fits = |it: &&Value| {
                let tag = |(key, field): (&String, &Value)| match (&self.resolve(field)["enum"], body.get(key)) {
                    (Value::Array(words), Some(word)) => words.contains(word),
                    _ => true,
                };
                self.resolve(it)["properties"].as_object().is_none_or(|fields| fields.iter().all(tag))
            };
            let choice = choices.iter().filter(has).find(fits).or_else(|| choices.iter().find(has));
            return self.put(body, choice.unwrap(), pointer, id);
        }
        let (child, schema) = if name == "0" && schema["items"].is_object() {
            if !body.is_array() {
                *body = json!([]);
            }
            let items = body.as_array_mut().unwrap();
            items.clear();
            items.push(self.sample(&schema["items"], 0));
            (&mut items[0], &schema["items"])
        } else {
            if !body.is_object() {
                *body = self.sample(schema, 0);
            }
            (&mut body[name], &schema["properties"][name])
        };
        self.put(child, schema, &rest, id);
    }

    /// The path with unknown ids, but for this parameter.
    fn path_with(&self, name: &str, id: &str) -> String {
        let path = self.path.replace(&format!("{{{name}}}"), id);
        let path = self
            .parameters("path")
            .iter()
            .fold(path, |path, (name, prefix)| path.replace(&format!("{{{name}}}"), &format!("{prefix}{NOTHING}")));
        path.replace("{use_case}", "uc").replace("{type}", "flow")
    }
}

/// The answers to the foreign id and to that of nothing are the same, but for the id.
#[track_caller]
fn assert_alike(what: &str, [foreign, nothing]: [(&str, ApiResponse); 2]) {
    let without = |(id, answered): (&str, ApiResponse)| (answered.status.as_u16(), answered.text.replace(id, "…"));
    let (foreign, nothing) = (without(foreign), without(nothing));
    assert_eq!(foreign, nothing, "{what}");
    assert!([200, 202, 404, 409, 422].contains(&foreign.0), "{what}: {foreign:?}");
}

#[tokio::test]
async fn ids_of_another_workspace_are_answered_as_those_of_nothing() {
    let service = Service::start().await;
    let foreign = Foreign::make(&service).await;
    let document = tidings_web::api::description();
    let mut tried = BTreeMap::from([("path", 0), ("query", 0), ("body", 0)]);
    for operation in operations(&document) {
        let Operation { method, path, .. } = &operation;
        let body = operation.body();
        for (name, prefix) in operation.parameters("path") {
            let Some(pair) = foreign.pair(&prefix) else { continue };
            let mut answers = Vec::new();
            for id in &pair {
                let answered = service.send(method, &operation.path_with(name, id), body.as_ref()).await;
                assert!(matches!(answered.status.as_u16(), 404 | 422), "{method} {path} {id}: {answered:?}");
                answers.push((id.as_str(), answered));
            }
            assert_alike(&format!("{method} {path}"), answers.try_into().unwrap());
            *tried.get_mut("path").unwrap() += 1;
        }
        for (name, prefix) in operation.parameters("query") {
            let Some(pair) = foreign.pair(&prefix) else { continue };
            let mut answers = Vec::new();
            for id in &pair {
                let target = format!("{}?{name}={id}", operation.path_with("", ""));
                answers.push((id.as_str(), service.send(method, &target, body.as_ref()).await));
            }
            assert_alike(&format!("{method} {path} ?{name}"), answers.try_into().unwrap());
            *tried.get_mut("query").unwrap() += 1;
        }
        let (Some(schema), Some(body)) = (operation.body_schema(), &body) else { continue };
        let mut ids = Vec::new();
        operation.ids(schema, "", 0, &mut ids);
        if path.starts_with("/mutes") {
            // Its kind depends on the scope.
            ids.push(("/targetId".to_owned(), "ep_".to_owned()));
        }
        // Of a cursor that is not there, nothing follows: an empty page, as in a query.
        ids.retain(|(pointer, _)| pointer != "/cursor");
        for (pointer, prefix) in ids {
            let Some(pair) = foreign.pair(&prefix) else { continue };
            let mut answers = Vec::new();
            for id in &pair {
                let mut body = body.clone();
                operation.put(&mut body, schema, &pointer, id);
                if path.starts_with("/mutes") {
                    body["scope"] = "endpoint".into();
                }
                let answered = service.send(method, &operation.path_with("", ""), Some(&body)).await;
                // A filter finds nothing, and a position in a list is none of its items.
                let selects = pointer == "/cursor" || pointer.starts_with("/filter/");
                let fits = matches!(answered.status.as_u16(), 404 | 409 | 422) || selects && answered.status == 200;
                assert!(fits, "{method} {path} {body}: {answered:?}");
                answers.push((id.as_str(), answered));
            }
            assert_alike(&format!("{method} {path} {pointer}"), answers.try_into().unwrap());
            *tried.get_mut("body").unwrap() += 1;
        }
    }
    println!("foreign ids tried: {tried:?}");
    assert!(tried.values().all(|count| *count >= 3), "{tried:?}");
    // Nothing of it has reached the other workspace.
    for (path, name) in [("/channels", "theirs"), ("/endpoints", "theirs"), ("/inbound-webhooks", "theirs")] {
        let list = other(&service, "GET", path, None).await.expect(200);
        assert_eq!((&list["data"][0]["name"], list["data"].as_array().unwrap().len()), (&json!(name), 1), "{path}");
    }
}
