//! Tests of paths: what each form selects, where a malformed one is wrong, and how documents of any shape are handled.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn find<'a>(path: &str, document: &'a str) -> Option<&'a str> {
    JsonPath::parse(path).unwrap().find(document).unwrap()
}

#[test]
fn each_path_form_selects_its_value() {
    let document = r#" {"status": "ok", "data": {"items": [{"name": "a"}, 1.0]}, "a": {"b.c": null, "*": 7},
        "it's": true, "$ref": 8, "größe": 9, "q\"": 10, "": 11, "twice": 1, "twice": 2} "#;
    for (path, found) in [
        ("status", Some("\"ok\"")),
        ("data.items[0].name", Some("\"a\"")),
        ("$.data.items[1]", Some("1.0")),
        ("$['data'][\"items\"][0]", Some("{\"name\": \"a\"}")),
        ("$.a[\"b.c\"]", Some("null")),
        ("a['*']", Some("7")),
        ("['it\\'s']", Some("true")),
        ("$ref", Some("8")),
        ("größe", Some("9")),
        (r#"["q\""]"#, Some("10")),
        ("['']", Some("11")),
        ("twice", Some("2")),
        ("missing", None),
        ("status.deeper", None),
        ("status[0]", None),
        ("data[0]", None),
        ("data.items.name", None),
        ("data.items[2]", None),
        ("data.items[18446744073709551615]", None),
    ] {
        assert_eq!(find(path, document), found, "{path}");
    }
    assert_eq!(find("$", " [1] "), Some("[1]"));
    assert_eq!(find("$[0]", " [1] "), Some("1"));
    assert_eq!(find("[0]", "[1]"), Some("1"));
}

#[test]
fn malformed_path_reports_position_and_reason() {
    for (path, at, message) in [
        ("", 1, EMPTY),
        (".a", 1, KEY),
        ("a.", 3, KEY),
        ("a..b", 3, KEY),
        ("a b", 2, KEY),
        ("a]", 2, KEY),
        ("$.", 3, KEY),
        ("a.[\"b\"]", 3, KEY),
        ("a.*", 3, WILDCARD),
        ("a[*]", 3, WILDCARD),
        ("a[]", 3, BRACKET),
        ("a[-1]", 3, BRACKET),
        ("a[0:2]", 4, BRACKET),
        ("a[b]", 3, BRACKET),
        ("a[18446744073709551616]", 3, BRACKET),
        ("a[0", 4, BRACKET),
        ("a[0]b", 5, NEXT),
        ("a[?(@.b)]", 3, BRACKET),
        ("ä[\"b]", 3, QUOTE),
        ("a[\"b\"", 6, CLOSE),
        ("a[\"\\n\"]", 5, ESCAPE),
        ("a()", 2, KEY),
    ] {
        assert_eq!(JsonPath::parse(path), Err(InvalidPath { at, message }), "{path}");
    }
    assert_eq!(JsonPath::parse("a.").unwrap_err().to_string(), format!("at character 3: {KEY}"));
    assert!(JsonPath::parse(&["a"; STEPS_MAX].join(".")).is_ok());
    assert_eq!(JsonPath::parse(&["a"; STEPS_MAX + 1].join(".")).unwrap_err().message, STEPS);
}

#[test]
fn invalid_json_is_an_error_and_deep_nesting_is_not() {
    for document in ["", "<html>", "{\"a\":1", "{\"a\":1} x", "{'a':1}", "NaN"] {
        assert!(JsonPath::parse("a").unwrap().find(document).is_err(), "{document}");
    }
    for document in ["{\"a\":1e400,\"b\":[1,{}],\"c\":-1.5,\"d\":true}", "[1, \"\\u00e4\", null, {\"a\": {}}]"] {
        for path in ["a", "b", "[0].a", "[1][0]", "[2].a", "[7]", "b[0].x", "b.x", "c.x", "d[0]", "x"] {
            assert!(JsonPath::parse(path).unwrap().find(document).is_ok(), "{path} in {document}");
        }
    }
    let steps = JsonPath::parse(&["a"; STEPS_MAX].join(".")).unwrap();
    let nested = format!("{}1{}", "{\"a\":".repeat(STEPS_MAX), "}".repeat(STEPS_MAX));
    assert_eq!(steps.find(&nested).unwrap(), Some("1"));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(find("a[0][0]", &deep).map(str::len), Some(200_000 - 4));
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-c.\"'\\\\ *]{0,3}", inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

/// Every value in the document, with its path.
fn values<'a>(at: &str, value: &'a Value, into: &mut Vec<(String, &'a Value)>) {
    into.push((at.to_owned(), value));
    for (key, value) in value.as_object().into_iter().flatten() {
        let quoted = key.replace('\\', "\\\\").replace('"', "\\\"");
        values(&format!("{at}[\"{quoted}\"]"), value, into);
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        values(&format!("{at}[{index}]"), value, into);
    }
}

proptest! {
    #[test]
    fn every_value_can_be_selected_by_its_path(document in document()) {
        let text = document.to_string();
        let mut all = Vec::new();
        values("$", &document, &mut all);
        for (path, value) in all {
            let found: Value = serde_json::from_str(find(&path, &text).unwrap()).unwrap();
            prop_assert_eq!(&found, value, "{}", path);
        }
    }

    #[test]
    fn parse_error_position_lies_within_the_text(text in "[$.a\\[\\]\"'0*\\\\ ]{0,12}|\\PC{0,20}") {
        if let Err(InvalidPath { at, .. }) = JsonPath::parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&at));
        }
    }
}
