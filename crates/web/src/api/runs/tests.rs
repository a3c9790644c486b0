//! The fast and the slow path, against each other and against the expected violations.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_domain::time::Timestamp;

use super::diagnostics::read;
use super::*;
use crate::problem::Code;

const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_412_345);

/// The code and the pointers of the problem of an invalid body.
fn problem_of(body: &str, format: BodyFormat) -> (Code, Vec<String>) {
    assert!(fast_path::read(body.as_bytes(), format, NOW).is_none(), "the fast path accepted {body}");
    let problem = read(body.as_bytes(), format, NOW).err().unwrap_or_else(|| panic!("the slow path accepted {body}"));
    let code = problem.code();
    let pointers = std::sync::Mutex::new(Vec::new());
    problem.map_pointers(|pointer| {
        pointers.lock().unwrap().push(pointer.to_owned());
        pointer.to_owned()
    });
    (code, pointers.into_inner().unwrap())
}

fn valid_run() -> Value {
    json!({"resourceType": "flow", "resourceId": "f1", "runId": "r1", "status": "failure"})
}

/// A valid run with one field changed; `null` removes it.
fn with(key: &str, value: Value) -> Value {
    let mut run = valid_run();
    run[key] = value;
    run
}

#[test]
fn invalid_field_is_reported_by_its_pointer() {
    let long = |chars: usize| json!("x".repeat(chars));
    let invalid = [
        ("resourceType", json!("Flow")),
        ("resourceType", json!("channel")),
        ("resourceType", json!(1)),
        ("resourceType", Value::Null),
        ("resourceId", json!("")),
        ("resourceId", json!("*")),
        ("resourceId", long(201)),
        ("resourceName", json!("a\r\nBcc: x@example.com")),
        ("resourceName", long(201)),
        ("runId", json!("a\nb")),
        ("runId", json!(7.5)),
        ("resourceId", json!("a*")),
        ("status", json!("failed")),
        ("status", Value::Null),
        ("triggerType", json!("By Hand")),
        ("triggerType", long(41)),
        ("startedAt", json!("yesterday")),
        ("startedAt", json!(1_777_694_412)),
        ("completedAt", json!("0001-01-01T00:00:00Z")),
        ("completedAt", json!("9999-01-01T00:00:00Z")),
        ("durationMs", json!(-1)),
        ("durationMs", json!(1.5)),
        ("durationMs", json!("1")),
        ("rowCount", json!(9_007_199_254_740_992_u64)),
        ("errorMessage", json!({"text": "x"})),
        ("deepLink", json!("javascript:alert(1)")),
        ("deepLink", json!("https://example.com/\r\nX: y")),
        ("colour", json!("red")),
        ("__proto__", json!({})),
    ];
    for (key, value) in invalid {
        let body = with(key, value).to_string();
        assert_eq!(problem_of(&body, BodyFormat::Json), (Code::Invalid, vec![format!("/{key}")]), "{body:.200}");
    }
    let mut large = with("output", long(256 * 1_024));
    assert!(read(large.to_string().as_bytes(), BodyFormat::Json, NOW).is_ok(), "of a failure it is dropped");
    large["status"] = json!("success");
    assert_eq!(problem_of(&large.to_string(), BodyFormat::Json), (Code::Invalid, vec!["/output".to_owned()]));
    let mut reversed = with("startedAt", json!("2026-05-02T04:00:12Z"));
    reversed["completedAt"] = json!("2026-05-02T04:00:11Z");
    assert_eq!(problem_of(&reversed.to_string(), BodyFormat::Json).1, ["/startedAt"]);
}

#[test]
fn all_violations_are_reported_at_once() {
    let bad = json!({"resourceType": "flow", "status": "done", "extra/one": 1});
    let found = ["/resourceId", "/runId", "/status", "/extra~1one"];
    let mut pointers = problem_of(&bad.to_string(), BodyFormat::Json).1;
    pointers.sort_unstable();
    let mut expected: Vec<_> = found.map(str::to_owned).to_vec();
    expected.sort_unstable();
    assert_eq!(pointers, expected);

    let many = json!([valid_run(), valid_run(), with("runId", Value::Null), 5]);
    assert_eq!(problem_of(&many.to_string(), BodyFormat::Json).1, ["/2/runId", "/3"]);
    let lines = format!("{}\n\n{}\n{}\n", valid_run(), valid_run(), with("status", json!("x")));
    assert_eq!(problem_of(&lines, BodyFormat::Lines).1, ["/3/status"], "by line, counted from 0");
}

#[test]
fn body_without_a_run_is_one_violation_of_the_root() {
    for body in ["", " \n", "[]", "5", "\"run\"", "null"] {
        assert_eq!(problem_of(body, BodyFormat::Json), (Code::Invalid, vec![String::new()]), "{body:?}");
    }
    assert_eq!(problem_of("\n\n", BodyFormat::Lines), (Code::Invalid, vec![String::new()]));
    let too_many = Value::from(vec![valid_run(); RUNS_MAX + 1]).to_string();
    assert_eq!(problem_of(&too_many, BodyFormat::Json), (Code::Invalid, vec![String::new()]));
    assert!(
        fast_path::read(Value::from(vec![valid_run(); RUNS_MAX]).to_string().as_bytes(), BodyFormat::Json, NOW)
            .is_some()
    );
}

#[test]
fn body_that_is_not_json_is_invalid_json() {
    let duplicate = r#"{"resourceType":"flow","resourceId":"a","resourceId":"b","runId":"r","status":"failure"}"#;
    let deep = format!(r#"{{"resourceName":{}"#, "[".repeat(10_000));
    for body in ["{", "{'runId': 1}", "[{}", "{} {}", duplicate, &deep, "\u{0}"] {
        assert_eq!(problem_of(body, BodyFormat::Json).0, Code::InvalidJson, "{body:.80}");
    }
    assert_eq!(problem_of(&format!("{}\n{{\n", valid_run()), BodyFormat::Lines).0, Code::InvalidJson);
    let mut nested = with("output", json!(null));
    nested["status"] = json!("success");
    let nested = nested.to_string().replace("null", &format!("{}{}", "[".repeat(101), "]".repeat(101)));
    assert_eq!(problem_of(&nested, BodyFormat::Json), (Code::Invalid, vec!["/output".to_owned()]));
}

/// Text that is no Unicode cannot be delivered, so it is not accepted.
#[test]
fn lone_surrogate_is_refused_at_its_field() {
    let with_name = valid_run().to_string().replace('}', r#","resourceName":"\ud83d"}"#);
    assert_eq!(problem_of(&with_name, BodyFormat::Json), (Code::Invalid, vec!["/resourceName".into()]));
    assert_eq!(problem_of(&format!("[{},{with_name}]", valid_run()), BodyFormat::Json).1, ["/1/resourceName"]);
    let with_output = with("status", json!("success")).to_string().replace('}', r#","output":{"a":["\udc00"]}}"#);
    assert_eq!(problem_of(&with_output, BodyFormat::Json), (Code::Invalid, vec!["/output".into()]));
    let pair = valid_run().to_string().replace('}', r#","output":{"a":"\ud83d\ude00 \\ud83d \u0000"}}"#);
    assert!(fast_path::read(pair.as_bytes(), BodyFormat::Json, NOW).is_some());
}

#[test]
fn output_keeps_its_exact_text() {
    let body = r#"{"resourceType":"use_case","resourceId":"uc","runId":"e","status":"success","output": {"b": 1.10,  "a": [ ]}}"#;
    for reports in [
        fast_path::read(body.as_bytes(), BodyFormat::Json, NOW).unwrap(),
        read(body.as_bytes(), BodyFormat::Json, NOW).unwrap(),
    ] {
        assert_eq!(reports.runs[0].run.output.as_ref().unwrap().get(), r#"{"b": 1.10,  "a": [ ]}"#);
        assert_eq!(reports.runs[0].run.completed_at, NOW, "the default is now");
    }
}

#[test]
fn escape_sequences_are_accepted_by_the_slow_path() {
    let extra = json!({"triggerType": "schedule", "startedAt": "2026-05-02T04:00:11Z", "output": "ä"});
    let mut plain = valid_run();
    plain.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let plain = plain.to_string();
    let escaped =
        plain.replace("sched", "\\u0073ched").replace("2026", "202\\u0036").replace("failure", "fail\\u0075re");
    let parse = |body: &str| match fast_path::read(body.as_bytes(), BodyFormat::Json, NOW) {
        Some(reports) => (true, format!("{:?}", reports.runs)),
        None => (false, format!("{:?}", read(body.as_bytes(), BodyFormat::Json, NOW).unwrap().runs)),
    };
    assert_eq!(parse(&plain), (true, parse(&escaped).1));
}

#[test]
fn body_that_is_not_utf_8_is_invalid_json() {
    for (body, format) in [(&b"{\"runId\": \"\xff\"}"[..], BodyFormat::Json), (b"{}\n\xff\n", BodyFormat::Lines)] {
        assert!(fast_path::read(body, format, NOW).is_none());
        assert_eq!(read(body, format, NOW).err().map(|problem| problem.code()), Some(Code::InvalidJson));
    }
}

fn optional(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), value]
}

prop_compose! {
    fn any_report()(
        resource_type in prop_oneof![Just("flow"), Just("job"), Just("use_case"), Just("scheduled_query"), Just("endpoint")],
        resource_id in "\\PC{0,40}",
        run_id in prop_oneof![
            4 => "[a-zA-Z0-9:/\\n\"]{0,20}".prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<u64>().prop_map(Value::from),
        ],
        status in prop_oneof![Just("success"), Just("failure"), Just("ok")],
        resource_name in optional("\\PC{0,20}".prop_map(Value::from)),
        trigger_type in optional(prop_oneof![Just("schedule"), Just("in_app"), Just("api"), Just("A")].prop_map(Value::from)),
        started_at in optional((0i64..5_000_000_000_000).prop_map(|ms| Timestamp::from_unix_ms(ms).to_string().into())),
        duration_ms in optional(any::<i64>().prop_map(Value::from)),
        error_message in optional(prop_oneof![
            8 => any::<String>(),
            1 => "[é-ï\\n]{9000,10000}",
        ].prop_map(Value::from)),
        output in optional(prop_oneof![any::<bool>().prop_map(Value::from), Just(json!({"a": [1, "ä"]}))]),
        deep_link in optional(prop_oneof![Just("https://example.com/x"), Just("ftp://example.com")].prop_map(Value::from)),
    ) -> Value {
        json!({
            "resourceType": resource_type, "resourceId": resource_id, "runId": run_id, "status": status,
            "resourceName": resource_name, "triggerType": trigger_type, "startedAt": started_at,
            "durationMs": duration_ms, "errorMessage": error_message, "output": output, "deepLink": deep_link,
        })
    }
}

proptest! {
    #[test]
    fn fast_and_slow_path_accept_the_same_bodies_with_the_same_result(reports in prop::collection::vec(any_report(), 1..4), lines: bool) {
        let (body, format) = if lines {
            (reports.iter().map(|report| format!("{report}\n")).collect::<String>(), BodyFormat::Lines)
        } else {
            (Value::from(reports).to_string(), BodyFormat::Json)
        };
        let fast = fast_path::read(body.as_bytes(), format, NOW).map(|reports| format!("{:?}", reports.runs));
        let slow = read(body.as_bytes(), format, NOW).map(|reports| format!("{:?}", reports.runs)).ok();
        prop_assert_eq!(fast, slow);
    }
}
