//! Tests of actions and of changed fields.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn change(before: Value, after: Value) -> AuditChange {
    AuditChange { before, after }
}

#[test]
fn action_names_are_unique_and_round_trip() {
    let mut names = BTreeSet::new();
    for target in AuditTarget::ALL {
        for verb in AuditVerb::ALL {
            let action = target.action(*verb);
            assert_eq!(AuditAction::parse(&action.to_string()), Some(action));
            assert_eq!(serde_json::from_value::<AuditAction>(json!(action)).unwrap(), action);
            assert!(names.insert(action.to_string()));
        }
    }
    assert!(names.contains("channel.secret_rotated") && names.contains("api_key.deleted"));
    for wrong in ["", ".", "channel", "channel.", "channel.flew", "boat.created", "channel.updated.twice"] {
        assert_eq!(AuditAction::parse(wrong), None, "{wrong}");
        assert!(serde_json::from_value::<AuditAction>(json!(wrong)).is_err());
    }
}

#[test]
fn changed_fields_of_an_edit_are_those_that_differ() {
    let before = json!({"name": "a", "enabled": true, "quietHours": {"start": "22:00", "end": "07:00"}, "tags": ["x"],
                        "revision": 1, "updatedAt": "2026-05-02T04:00:00.000Z"});
    let after = json!({"name": "b", "enabled": true, "quietHours": {"start": "23:00", "end": "07:00"}, "tags": ["x", "y"],
                       "revision": 2, "updatedAt": "2026-05-02T04:00:01.000Z"});
    let changes = changed_fields(&before, &after);
    let expected = [
        ("name", change(json!("a"), json!("b"))),
        ("quietHours.start", change(json!("22:00"), json!("23:00"))),
        ("tags", change(json!(["x"]), json!(["x", "y"]))),
    ];
    assert_eq!(changes, expected.map(|(path, change)| (path.to_owned(), change)).into());
    assert_eq!(changed_fields(&after, &after), AuditChanges::new());
}

#[test]
fn changed_fields_of_a_create_or_delete_are_all_that_are_set() {
    let object = json!({"name": "a", "quietHours": {"start": "22:00"}, "rateLimit": null});
    let created = changed_fields(&Value::Null, &object);
    assert_eq!(created.keys().collect::<Vec<_>>(), ["name", "quietHours"]);
    assert_eq!(created["quietHours"], change(Value::Null, json!({"start": "22:00"})));
    let deleted = changed_fields(&object, &Value::Null);
    assert_eq!(deleted["name"], change(json!("a"), Value::Null));
    let cleared = changed_fields(&object, &json!({"name": "a", "quietHours": null, "rateLimit": null}));
    assert_eq!(cleared["quietHours"], change(json!({"start": "22:00"}), Value::Null));
}

#[test]
fn changed_fields_are_bounded() {
    let long = json!({"bodyTemplate": "ä".repeat(VALUE_CHARS_MAX + 1), "list": vec!["x"; VALUE_CHARS_MAX]});
    let changes = changed_fields(&Value::Null, &long);
    for change in changes.values() {
        let text = change.after.as_str().expect("text in place of a long value");
        assert!(text.chars().count() <= VALUE_CHARS_MAX);
    }
    let many: Value = (0..2 * FIELDS_MAX).map(|number| (format!("field{number}"), json!(number))).collect();
    assert_eq!(changed_fields(&Value::Null, &many).len(), FIELDS_MAX);
}

#[test]
fn note_secret_shows_masks_only() {
    let mut changes = AuditChanges::new();
    note_secret(&mut changes, "config.token");
    assert_eq!(changes["config.token"], change(json!(SECRET_MASK), json!(SECRET_MASK)));
}
