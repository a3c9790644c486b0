//! Reading requests against the schemas of their types.

use super::*;
use serde::Deserialize;
use serde_json::json;
use tidings_domain::channel::{ChannelType, Policies};
use tidings_domain::id::ChannelId;
use tidings_domain::quiet_hours::QuietHours;
use tidings_domain::trigger::TriggerType;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Draft {
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 10)]
    name: String,
    #[serde(rename = "type")]
    channel_type: ChannelType,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(flatten)]
    policies: Policies,
    #[serde(default)]
    parent_id: Option<ChannelId>,
    #[serde(default)]
    #[schema(max_items = 3)]
    tags: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Probe {
    name: String,
    #[serde(flatten)]
    kind: ProbeKind,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ProbeKind {
    #[serde(rename_all = "camelCase")]
    Tcp {
        host_name: String,
        port: u16,
    },
    External,
}

fn pointers<T: Request>(value: Value) -> Vec<String> {
    let violations = match read::<T>(value) {
        Ok(input) => input.violations,
        Err(violations) => violations,
    };
    violations.into_iter().map(|violation| violation.to_string()).collect()
}

fn draft() -> Draft {
    read(json!({"name": "ops", "type": "slack"})).unwrap().finish().unwrap()
}

#[test]
fn valid_value_is_read_with_defaults() {
    let draft = draft();
    assert_eq!(
        (draft.name.as_str(), draft.channel_type, draft.policies),
        ("ops", ChannelType::Slack, Policies::default())
    );
    let full = json!({
        "name": "ops", "type": "slack", "timeoutMs": 2e3, "enabled": null, "retryDelaysSeconds": [1.0, 2], "parentId": null,
        "quietHours": {"start": "22:00", "end": "07:00", "timezone": "UTC", "days": null}
    });
    let read = read::<Draft>(json!({"enabled": null}).as_object().map_or(full.clone(), |_| {
        let mut full = full.clone();
        full.as_object_mut().unwrap().remove("enabled");
        full
    }));
    let draft = read.unwrap().finish().unwrap();
    assert_eq!((draft.policies.timeout_ms, draft.policies.retry_delays_seconds), (2_000, Some(vec![1, 2])));
    assert!(draft.policies.quiet_hours.is_some());
}

#[test]
fn every_violation_is_reported_at_once() {
    let found = pointers::<Draft>(json!({
        "type": "fax", "timeoutMs": 5, "retryOnFailure": "yes", "colour": 1, "parentId": "ch_1", "tags": ["a", 1, "c"],
        "quietHours": {"start": 3, "ends": 1}, "config": []
    }));
    assert_eq!(
        found,
        [
            "/config: must be an object",
            "/parentId: must be an id of the form ch_<32 hex digits>",
            "/quietHours/start: must be a string",
            "/quietHours/end: is required",
            "/quietHours/timezone: is required",
            "/quietHours/ends: is not a known field; known are: action, criticalPasses, days, end, start, timezone",
            "/retryOnFailure: must be true or false",
            "/tags/1: must be a string",
            "/timeoutMs: must be a whole number from 1000 to 60000",
            "/type: must be email, webhook, slack or discord",
            "/name: is required",
            "/colour: is not a known field; known are: config, deliveryPriority, eventFilters, name, parentId, quietHours, \
             rateLimit, retryDelaysSeconds, retryOnFailure, severityFilter, tags, timeoutMs, type",
        ]
    );
    assert_eq!(pointers::<Draft>(json!([])), ["/: must be an object"]);
}

#[test]
fn value_with_violations_keeps_its_valid_fields() {
    let input = read::<Draft>(json!({"type": "slack", "timeoutMs": 5, "tags": ["a"]})).unwrap();
    assert_eq!(
        (input.value.policies.timeout_ms, input.value.tags),
        (Policies::default().timeout_ms, vec!["a".to_owned()])
    );
    assert_eq!(input.violations.len(), 2);
    assert!(read::<Draft>(json!({"timeoutMs": 5})).is_err(), "a type has no default");
}

#[test]
fn added_violation_of_a_refused_field_is_dropped() {
    let mut input = read::<Draft>(json!({"type": "slack", "tags": [1]})).unwrap();
    input.refuse(["/name", "/tags", "/tags/0/x", "/nam", "/parentId"].map(|at| Violation::new(at, "is wrong")));
    let found: Vec<_> = input.violations.iter().map(|violation| violation.pointer.as_str()).collect();
    assert_eq!(found, ["/tags/0", "/name", "/nam", "/parentId"]);
}

#[test]
fn merge_patch_keeps_replaces_and_removes() {
    let mut before = draft();
    before.tags = vec!["a".into()];
    let patch = |patch: Value| merge(&before, patch.as_object().unwrap());
    let hours = json!({"quietHours": {"start": "22:00", "end": "07:00", "timezone": "UTC", "days": ["mon"]}});
    let with_hours = patch(hours).unwrap().finish().unwrap();
    assert_eq!(with_hours.tags, ["a"]);
    let shorter = merge(&with_hours, json!({"quietHours": {"end": "06:00", "days": null}}).as_object().unwrap());
    let expected = QuietHours { end: "06:00".into(), days: vec![], ..with_hours.policies.quiet_hours.clone().unwrap() };
    assert_eq!(shorter.unwrap().finish().unwrap().policies.quiet_hours, Some(expected));
    let without = merge(&with_hours, json!({"quietHours": null, "tags": []}).as_object().unwrap());
    let without = without.unwrap().finish().unwrap();
    assert_eq!((without.policies.quiet_hours, without.tags), (None, vec![]));
    let wrong = patch(json!({"name": null, "timeoutMs": null, "quietHours": {"end": "06:00"}})).unwrap().violations;
    let wrong: Vec<_> = wrong.iter().map(|violation| violation.pointer.as_str()).collect();
    assert_eq!(wrong, ["/name", "/timeoutMs", "/quietHours/start", "/quietHours/timezone"]);
}

#[test]
fn variant_decides_which_fields_are_known() {
    let read = |value| read::<Probe>(value).unwrap().finish().unwrap();
    let tcp = ProbeKind::Tcp { host_name: "a".into(), port: 1 };
    assert_eq!(
        read(json!({"name": "p", "type": "tcp", "hostName": "a", "port": 1})),
        Probe { name: "p".into(), kind: tcp }
    );
    assert_eq!(read(json!({"name": "p", "type": "external"})).kind, ProbeKind::External);
    assert_eq!(
        pointers::<Probe>(json!({"name": "p", "type": "external", "port": 1}))[0],
        "/port: is not a known field; known are: type, name"
    );
    assert_eq!(pointers::<Probe>(json!({"name": "p", "type": "ftp"})), ["/type: must be tcp or external"]);
    assert_eq!(pointers::<Probe>(json!({"name": 1, "type": "tcp", "port": 70_000})).len(), 3, "no host, no such port");
}

#[test]
fn query_parameters_are_read_by_type() {
    #[derive(Debug, PartialEq, Deserialize, ToSchema)]
    #[serde(rename_all = "camelCase", default)]
    struct Query {
        #[schema(minimum = 1, maximum = 200)]
        limit: u32,
        dry_run: bool,
        ids: Vec<ChannelId>,
        q: Option<String>,
    }
    impl Default for Query {
        fn default() -> Self {
            Self { limit: 50, dry_run: false, ids: vec![], q: None }
        }
    }
    let read = |query: &str| {
        let pairs =
            query.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")));
        let input = read_query::<Query>(pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap();
        let pointers: Vec<_> = input.violations.iter().map(|violation| violation.pointer.clone()).collect();
        (input.value, pointers)
    };
    assert_eq!(read("").0, Query::default());
    let id = format!("ch_{}", "0".repeat(32));
    let (query, wrong) = read(&format!("limit=7&dryRun&ids={id},{id}&ids={id}&q=5"));
    assert_eq!(
        (query.limit, query.dry_run, query.ids.len(), query.q.as_deref(), wrong),
        (7, true, 3, Some("5"), vec![])
    );
    assert_eq!(read("limit=0").1, ["/limit"]);
    assert_eq!(read("limit=1&limit=2&dryRun=x&foo=1&foo=2").1, ["/limit", "/dryRun", "/foo"]);
}

#[test]
fn patch_of_the_tag_drops_the_fields_of_the_former_variant() {
    let tcp = Probe { name: "p".into(), kind: ProbeKind::Tcp { host_name: "a".into(), port: 1 } };
    let patched = |patch: Value| merge(&tcp, patch.as_object().unwrap());
    let pointers = |patch: Value| {
        let violations = match patched(patch) {
            Ok(input) => input.violations,
            Err(violations) => violations,
        };
        violations.into_iter().map(|violation| violation.to_string()).collect::<Vec<_>>()
    };
    let edited = |patch| patched(patch).unwrap().finish().unwrap();
    assert_eq!(edited(json!({"type": "external"})), Probe { name: "p".into(), kind: ProbeKind::External });
    assert_eq!(edited(json!({"port": 2, "type": "tcp"})).kind, ProbeKind::Tcp { host_name: "a".into(), port: 2 });
    assert_eq!(pointers(json!({"type": "external", "port": 2})).len(), 1);
    assert_eq!(pointers(json!({"type": "ftp"})), ["/type: must be tcp or external"]);
    assert_eq!(pointers(json!({"port": null})), ["/port: must be a whole number from 0 to 65535"]);
    let external = Probe { name: "p".into(), kind: ProbeKind::External };
    let Err(found) = merge(&external, json!({"type": "tcp"}).as_object().unwrap()) else { panic!() };
    assert_eq!(found.len(), 2, "what the new variant requires");
}

#[test]
fn fields_of_all_variants_are_read_without_the_tag() {
    assert_eq!(pointers::<Probe>(json!({})), ["/type: is required", "/name: is required"]);
    let found = pointers::<Probe>(json!({"type": "ftp", "name": 1, "port": "x", "colour": 1}));
    assert_eq!(
        found,
        ["/type: must be tcp or external", "/colour: is not a known field", "/name: must be a string"],
        "a port is a field of one of them"
    );
}

#[derive(Debug, PartialEq, Deserialize, ToSchema)]
struct Foreign {
    #[serde(default)]
    #[schema(required)]
    name: String,
    #[serde(flatten)]
    other: HashMap<String, Value>,
}

#[test]
fn unknown_fields_of_an_open_object_are_passed_over() {
    let read = read::<Foreign>(json!({"name": "a", "new": {"x": 1}})).unwrap().finish().unwrap();
    assert_eq!(read, Foreign { name: "a".to_owned(), other: HashMap::new() });
    assert_eq!(pointers::<Foreign>(json!({"new": 1})), ["/name: is required"]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Words {
    #[serde(default)]
    trigger_types: Vec<TriggerType>,
}

#[test]
fn word_outside_its_pattern_is_refused_at_its_item() {
    let refused = pointers::<Words>(json!({"triggerTypes": ["manual", "By Hand", 5]}));
    assert_eq!(
        refused,
        ["/triggerTypes/1: must be 1 to 40 characters of A-Za-z0-9_-", "/triggerTypes/2: must be a string"]
    );
}
