//! Both ways of reading reports, against each other and against what must be said of wrong ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::quick;
use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_412_345);

/// The code and the pointers of a body's problem.
fn wrong(body: &str, form: Form) -> (Code, Vec<String>) {
    assert!(quick::read(body.as_bytes(), form, NOW).is_none(), "the quick way took {body}");
    let problem = read(body.as_bytes(), form, NOW).err().unwrap_or_else(|| panic!("the careful way took {body}"));
    let code = problem.code();
    let pointers = std::sync::Mutex::new(Vec::new());
    problem.with_pointers(|pointer| {
        pointers.lock().unwrap().push(pointer.to_owned());
        pointer.to_owned()
    });
    (code, pointers.into_inner().unwrap())
}

fn right() -> Value {
    json!({"resourceType": "flow", "resourceId": "f1", "runId": "r1", "status": "failure"})
}

/// A right report with one member changed; `null` takes it away.
fn with(key: &str, value: Value) -> Value {
    let mut run = right();
    run[key] = value;
    run
}

#[test]
fn each_field_is_refused_by_its_pointer() {
    let long = |chars: usize| json!("x".repeat(chars));
    let wrongs = [
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
        ("runId", json!(7)),
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
        ("errorMessage", long(16 * 1_024 + 1)),
        ("errorMessage", json!({"text": "x"})),
        ("output", long(256 * 1_024)),
        ("deepLink", json!("javascript:alert(1)")),
        ("deepLink", json!("https://example.com/\r\nX: y")),
        ("colour", json!("red")),
        ("__proto__", json!({})),
    ];
    for (key, value) in wrongs {
        let body = with(key, value).to_string();
        assert_eq!(wrong(&body, Form::Json), (Code::Invalid, vec![format!("/{key}")]), "{body:.200}");
    }
    let mut reversed = with("startedAt", json!("2026-05-02T04:00:12Z"));
    reversed["completedAt"] = json!("2026-05-02T04:00:11Z");
    assert_eq!(wrong(&reversed.to_string(), Form::Json).1, ["/startedAt"]);
}

#[test]
fn everything_wrong_is_told_at_once_and_where_it_stands() {
    let bad = json!({"resourceType": "flow", "status": "done", "extra/one": 1});
    let found = ["/resourceId", "/runId", "/status", "/extra~1one"];
    let mut pointers = wrong(&bad.to_string(), Form::Json).1;
    pointers.sort_unstable();
    let mut expected: Vec<_> = found.map(str::to_owned).to_vec();
    expected.sort_unstable();
    assert_eq!(pointers, expected);

    let many = json!([right(), right(), with("runId", Value::Null), 5]);
    assert_eq!(wrong(&many.to_string(), Form::Json).1, ["/2/runId", "/3"]);
    let lines = format!("{}\n\n{}\n{}\n", right(), right(), with("status", json!("x")));
    assert_eq!(wrong(&lines, Form::Lines).1, ["/3/status"], "by line, counted from 0");
}

#[test]
fn what_holds_no_run_at_all_is_refused_as_a_whole() {
    for body in ["", " \n", "[]", "5", "\"run\"", "null"] {
        assert_eq!(wrong(body, Form::Json), (Code::Invalid, vec![String::new()]), "{body:?}");
    }
    assert_eq!(wrong("\n\n", Form::Lines), (Code::Invalid, vec![String::new()]));
    let too_many = Value::from(vec![right(); RUNS_MAX + 1]).to_string();
    assert_eq!(wrong(&too_many, Form::Json), (Code::Invalid, vec![String::new()]));
    assert!(quick::read(Value::from(vec![right(); RUNS_MAX]).to_string().as_bytes(), Form::Json, NOW).is_some());
}

#[test]
fn what_is_no_json_is_said_to_be_none() {
    let twice = r#"{"resourceType":"flow","resourceId":"a","resourceId":"b","runId":"r","status":"failure"}"#;
    let deep = format!(r#"{{"resourceName":{}"#, "[".repeat(10_000));
    for body in ["{", "{'runId': 1}", "[{}", "{} {}", twice, &deep, "\u{0}"] {
        assert_eq!(wrong(body, Form::Json).0, Code::InvalidJson, "{body:.80}");
    }
    assert_eq!(wrong(&format!("{}\n{{\n", right()), Form::Lines).0, Code::InvalidJson);
    let nested =
        with("output", json!(null)).to_string().replace("null", &format!("{}{}", "[".repeat(101), "]".repeat(101)));
    assert_eq!(wrong(&nested, Form::Json), (Code::Invalid, vec!["/output".to_owned()]));
}

#[test]
fn an_output_is_kept_as_it_was_written() {
    let body = r#"{"resourceType":"use_case","resourceId":"uc","runId":"e","status":"success","output": {"b": 1.10,  "a": [ ]}}"#;
    for reports in
        [quick::read(body.as_bytes(), Form::Json, NOW).unwrap(), read(body.as_bytes(), Form::Json, NOW).unwrap()]
    {
        assert_eq!(reports.runs[0].run.output.as_ref().unwrap().get(), r#"{"b": 1.10,  "a": [ ]}"#);
        assert_eq!(reports.runs[0].run.completed_at, NOW, "now, where nothing is said");
    }
}

#[test]
fn what_is_written_with_escapes_is_read_by_one_of_both_ways() {
    let words = json!({"triggerType": "schedule", "startedAt": "2026-05-02T04:00:11Z", "output": "ä"});
    let mut plain = right();
    plain.as_object_mut().unwrap().extend(words.as_object().unwrap().clone());
    let plain = plain.to_string();
    let escaped =
        plain.replace("sched", "\\u0073ched").replace("2026", "202\\u0036").replace("failure", "fail\\u0075re");
    let of = |body: &str| match quick::read(body.as_bytes(), Form::Json, NOW) {
        Some(reports) => (true, format!("{:?}", reports.runs)),
        None => (false, format!("{:?}", read(body.as_bytes(), Form::Json, NOW).unwrap().runs)),
    };
    assert_eq!(of(&plain), (true, of(&escaped).1));
}

#[test]
fn what_is_no_utf_8_is_no_json() {
    for (body, form) in [(&b"{\"runId\": \"\xff\"}"[..], Form::Json), (b"{}\n\xff\n", Form::Lines)] {
        assert!(quick::read(body, form, NOW).is_none());
        assert_eq!(read(body, form, NOW).err().map(|problem| problem.code()), Some(Code::InvalidJson));
    }
}

fn optional(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), value]
}

prop_compose! {
    fn any_report()(
        resource_type in prop_oneof![Just("flow"), Just("job"), Just("use_case"), Just("scheduled_query"), Just("endpoint")],
        resource_id in "\\PC{0,40}",
        run_id in "[a-zA-Z0-9:/\\n\"]{0,20}",
        status in prop_oneof![Just("success"), Just("failure"), Just("ok")],
        resource_name in optional("\\PC{0,20}".prop_map(Value::from)),
        trigger_type in optional(prop_oneof![Just("schedule"), Just("in_app"), Just("api"), Just("A")].prop_map(Value::from)),
        started_at in optional((0i64..5_000_000_000_000).prop_map(|ms| Timestamp::from_unix_ms(ms).to_string().into())),
        duration_ms in optional(any::<i64>().prop_map(Value::from)),
        error_message in optional(any::<String>().prop_map(Value::from)),
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
    fn both_ways_take_the_same_and_read_the_same(reports in prop::collection::vec(any_report(), 1..4), lines: bool) {
        let (body, form) = if lines {
            (reports.iter().map(|report| format!("{report}\n")).collect::<String>(), Form::Lines)
        } else {
            (Value::from(reports).to_string(), Form::Json)
        };
        let quick = quick::read(body.as_bytes(), form, NOW).map(|reports| format!("{:?}", reports.runs));
        let careful = read(body.as_bytes(), form, NOW).map(|reports| format!("{:?}", reports.runs)).ok();
        prop_assert_eq!(quick, careful);
    }
}
