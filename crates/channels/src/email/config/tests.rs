//! Which email configurations are valid, how an edit is merged, and that the password stays hidden.

use std::sync::Arc;

use super::*;
use crate::egress::{Egress, Guard};
use crate::email::RelayConfig;

fn context(mail: Option<&str>) -> ChannelContext {
    let mail = mail.map(|url| Arc::new(RelayConfig::parse(url, "tidings@example.com").unwrap()));
    ChannelContext { relay: mail, ..ChannelContext::new(Arc::new(Egress::new(Guard::default()))) }
}

fn context_with_relay() -> ChannelContext {
    context(Some("smtps://mail.example.com"))
}

fn try_check(
    input: Value,
    current: Option<&ChannelConfig>,
    context: &ChannelContext,
) -> Result<ChannelConfig, Violations> {
    check(input.as_object().unwrap(), current, context)
}

fn pointers(input: Value) -> Vec<String> {
    let wrong = try_check(input, None, &context_with_relay()).unwrap_err();
    wrong.into_iter().map(|violation| violation.pointer).collect()
}

fn own_server() -> Value {
    json!({
        "recipients": ["ops@example.com"],
        "smtp": {
            "host": "SMTP.example.com", "username": "alerts", "password": "hunter2-marked",
            "from": "Data, Alerts <alerts@Example.com>"
        }
    })
}

#[test]
fn check_recipients_are_deduplicated_and_normalised() {
    let input = json!({"recipients": ["ops@Example.com", "ops@example.COM", "Ops@example.com", "b@bücher.example"]});
    let stored = try_check(input, None, &context_with_relay()).unwrap();
    let kept = json!({"recipients": ["ops@example.com", "Ops@example.com", "b@xn--bcher-kva.example"]});
    assert_eq!(Value::Object(stored.settings.clone()), kept);
    assert!(stored.secrets.is_empty());
    let settings = open(&stored).unwrap();
    assert!(settings.recipients.len() == 3 && settings.server.is_none());
}

#[test]
fn check_violations_point_at_the_field() {
    let own = |smtp: Value| pointers(json!({"recipients": ["ops@example.com"], "smtp": smtp}));
    assert_eq!(pointers(json!({})), ["/recipients"]);
    assert_eq!(pointers(json!({"recipients": null})), ["/recipients"]);
    assert_eq!(pointers(json!({"recipients": "ops@example.com"})), ["/recipients"]);
    assert_eq!(pointers(json!({"recipients": []})), ["/recipients"]);
    assert_eq!(pointers(json!({"recipients": vec!["a@example.com"; 51]})), ["/recipients"]);
    assert_eq!(pointers(json!({"recipients": ["a@example.com", "b", 3]})), ["/recipients/1", "/recipients/2"]);
    assert_eq!(pointers(json!({"recipients": ["a@example.com\r\nX: y"]})), ["/recipients/0"]);
    assert_eq!(pointers(json!({"recipients": ["a@example.com"], "x/y": 1})), ["/x~1y"]);
    assert_eq!(own(json!("smtp.example.com")), ["/smtp"]);
    assert_eq!(own(json!({})), ["/smtp/host", "/smtp/from"]);
    assert_eq!(own(json!({"host": "a b", "from": "x\r\ny <a@b.c>"})), ["/smtp/host", "/smtp/from"]);
    let base = json!({"host": "smtp.example.com", "from": "a@example.com"});
    let with = |extra: Value| {
        let mut smtp = base.as_object().unwrap().clone();
        smtp.extend(extra.as_object().unwrap().clone());
        own(Value::Object(smtp))
    };
    assert_eq!(with(json!({"port": 0})), ["/smtp/port"]);
    assert_eq!(with(json!({"port": "587"})), ["/smtp/port"]);
    for port in [json!(-587.0), json!(587.5), json!(1e30)] {
        assert_eq!(with(json!({"port": port})), ["/smtp/port"]);
    }
    assert_eq!(with(json!({"tls": "ssl"})), ["/smtp/tls"]);
    assert_eq!(with(json!({"tls": true})), ["/smtp/tls"]);
    assert_eq!(with(json!({"user": "x"})), ["/smtp/user"]);
    assert_eq!(with(json!({"username": "x"})), ["/smtp/password"]);
    assert_eq!(with(json!({"password": "x"})), ["/smtp/username"]);
    assert_eq!(with(json!({"username": 1})), ["/smtp/username"]);
    assert_eq!(with(json!({"username": "x", "password": 1})), ["/smtp/password", "/smtp/password"]);
    assert_eq!(with(json!({"username": "x\ny", "password": "p"})), ["/smtp/username"]);
    assert_eq!(with(json!({"username": "x", "password": "p\r\nQUIT"})), ["/smtp/password"]);
    assert_eq!(with(json!({"username": "x", "password": "p", "tls": "none"})), ["/smtp/tls"]);
    assert_eq!(with(json!({"host": "127.0.0.1"})), ["/smtp/host"]);
    assert_eq!(with(json!({"host": "0x7f.1"})), ["/smtp/host"]);
    assert_eq!(with(json!({"host": "::ffff:169.254.169.254"})), ["/smtp/host"]);
}

#[test]
fn check_without_any_server_violation_names_the_settings() {
    let wrong = try_check(json!({"recipients": ["ops@example.com"]}), None, &context(None)).unwrap_err();
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].pointer, "/smtp");
    for word in ["TIDINGS_SMTP_URL", "TIDINGS_MAIL_FROM", "smtp"] {
        assert!(wrong[0].message.contains(word), "{}", wrong[0].message);
    }
    assert!(try_check(own_server(), None, &context(None)).is_ok());
}

#[test]
fn check_password_is_stored_apart_and_masked() {
    let stored = try_check(own_server(), None, &context(None)).unwrap();
    assert_eq!(
        Value::Object(stored.settings.clone()),
        json!({
            "recipients": ["ops@example.com"],
            "smtp": {"host": "smtp.example.com", "username": "alerts", "password": "•••",
                     "from": "Data, Alerts <alerts@example.com>"}
        })
    );
    assert_eq!(stored.secrets.get("smtp.password"), Some(&Secret::new("hunter2-marked")));
    assert!(!format!("{stored:?}").contains("hunter2"));
    let server = open(&stored).unwrap().server.unwrap();
    assert_eq!((server.port, server.security, server.trusted), (587, Security::StartTls, false));
    assert!(!format!("{server:?}").contains("hunter2"));
}

#[test]
fn check_port_and_tls_default_from_each_other() {
    let server = |extra: Value| {
        let mut smtp = json!({"host": "smtp.example.com", "from": "a@example.com"});
        smtp.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let stored = try_check(json!({"recipients": ["a@example.com"], "smtp": smtp}), None, &context(None));
        let server = open(&stored.unwrap()).unwrap().server.unwrap();
        (server.port, server.security)
    };
    assert_eq!(server(json!({})), (587, Security::StartTls));
    assert_eq!(server(json!({"port": 465})), (465, Security::Tls));
    assert_eq!(server(json!({"port": 465.0})), (465, Security::Tls), "a whole number, however it is written");
    assert_eq!(server(json!({"port": 465, "tls": "starttls"})), (465, Security::StartTls));
    assert_eq!(server(json!({"port": 2525})), (2525, Security::StartTls));
    assert_eq!(server(json!({"tls": "tls"})), (465, Security::Tls));
    assert_eq!(server(json!({"tls": "none"})), (25, Security::None));
}

#[test]
fn check_edit_is_merged_over_stored_config() {
    let first = try_check(own_server(), None, &context(None)).unwrap();
    let edit = |change: Value| try_check(change, Some(&first), &context_with_relay());

    assert_eq!(edit(json!({})).as_ref(), Ok(&first), "an empty edit changes nothing");
    assert_eq!(
        edit(Value::Object(first.settings.clone())).as_ref(),
        Ok(&first),
        "what the API showed can be sent back"
    );
    assert_eq!(edit(json!({"smtp": {"password": ""}})).as_ref(), Ok(&first));

    let other = edit(json!({"smtp": {"host": "other.example.com", "tls": "tls", "password": "hunter3"}})).unwrap();
    assert_eq!(other.settings["smtp"]["username"], "alerts");
    let server = open(&other).unwrap().server.unwrap();
    assert_eq!((server.host.as_str(), server.port), ("other.example.com", 465));

    let changed = edit(json!({"smtp": {"password": "fresh"}})).unwrap();
    assert_eq!(changed.secrets.get("smtp.password"), Some(&Secret::new("fresh")));

    let anonymous = edit(json!({"smtp": {"username": null}})).unwrap();
    assert!(anonymous.secrets.is_empty() && open(&anonymous).unwrap().server.unwrap().credentials.is_none());
    assert!(!anonymous.settings["smtp"].as_object().unwrap().contains_key("password"));
    assert_eq!(edit(json!({"smtp": {"password": null}})).unwrap_err()[0].pointer, "/smtp/password");

    let instance = edit(json!({"smtp": null})).unwrap();
    assert_eq!(Value::Object(instance.settings.clone()), json!({"recipients": ["ops@example.com"]}));
    assert!(instance.secrets.is_empty());

    let recipients = edit(json!({"recipients": ["new@example.com"]})).unwrap();
    assert_eq!(recipients.settings["recipients"], json!(["new@example.com"]));
    assert_eq!(recipients.settings["smtp"], first.settings["smtp"]);
}

#[test]
fn check_stored_password_is_not_sent_to_another_server() {
    let first = try_check(own_server(), None, &context(None)).unwrap();
    let edit = |change: Value| try_check(json!({"smtp": change}), Some(&first), &context_with_relay());
    for elsewhere in [
        json!({"host": "mail.evil.example"}),
        json!({"host": "mail.evil.example", "password": ""}),
        json!({"host": "mail.evil.example", "password": MASK, "username": "other"}),
        json!({"port": 2525}),
    ] {
        let wrong = edit(elsewhere.clone()).unwrap_err();
        assert_eq!(
            wrong,
            [Violation::new("/smtp/password", "must be entered again, because the destination changed")],
            "{elsewhere}"
        );
    }
    for fine in [
        json!({"host": "smtp.EXAMPLE.com", "port": 587, "from": "b@example.com"}),
        json!({"host": "other.example.com", "password": "hunter3"}),
        json!({"port": 2525, "password": "hunter2-marked"}),
        json!({"host": "other.example.com", "username": null}),
    ] {
        assert!(edit(fine.clone()).is_ok(), "{fine}");
    }
}

#[test]
fn check_token_is_stored_apart_and_replaces_the_password() {
    let first = try_check(own_server(), None, &context(None)).unwrap();
    let with_token = |token: &str| json!({"smtp": {"token": token}});
    let stored = try_check(with_token("ya29.marked"), Some(&first), &context(None)).unwrap();
    assert_eq!(stored.settings["smtp"]["token"], MASK);
    assert_eq!(stored.settings["smtp"].get("password"), None);
    assert_eq!(stored.secrets.keys().collect::<Vec<_>>(), ["smtp.token"]);
    assert!(!format!("{stored:?}{:?}", open(&stored).unwrap().server).contains("marked"));
    for keeps in [with_token(""), with_token(MASK), json!({}), Value::Object(stored.settings.clone())] {
        assert_eq!(try_check(keeps.clone(), Some(&stored), &context(None)).as_ref(), Ok(&stored), "{keeps}");
    }
    let moved = json!({"smtp": {"host": "mail.evil.example"}});
    assert_eq!(try_check(moved, Some(&stored), &context(None)).unwrap_err()[0].pointer, "/smtp/token");
    let back = try_check(json!({"smtp": {"password": "hunter3"}}), Some(&stored), &context(None)).unwrap();
    assert_eq!(
        back,
        ChannelConfig { secrets: [("smtp.password".into(), Secret::new("hunter3"))].into(), ..first.clone() }
    );
    for (smtp, pointer) in [
        (json!({"token": "a", "password": "b"}), "/smtp/token"),
        (json!({"token": 1}), "/smtp/token"),
        (json!({"token": "x".repeat(8_001)}), "/smtp/token"),
        (json!({"token": "a b\r\n"}), "/smtp/token"),
        (json!({"token": "a", "tls": "none"}), "/smtp/tls"),
        (json!({"token": null}), "/smtp/password"),
    ] {
        let wrong = try_check(json!({"smtp": smtp}), Some(&stored), &context(None)).unwrap_err();
        assert_eq!(wrong.iter().map(|violation| violation.pointer.as_str()).collect::<Vec<_>>(), [pointer], "{smtp}");
    }
}

#[test]
fn check_tls_is_a_mode_or_an_object_with_certificates() {
    let certificate = rcgen::generate_simple_self_signed(["smtp.example.com".to_owned()]).unwrap().cert.pem();
    let try_with = |tls: Value, login: bool| {
        let mut input = own_server();
        input["smtp"]["tls"] = tls;
        if !login {
            input["smtp"]["username"] = Value::Null;
            input["smtp"]["password"] = Value::Null;
        }
        try_check(input, None, &context(None))
    };
    let server = |tls: Value| open(&try_with(tls, true).unwrap()).unwrap().server.unwrap();
    assert_eq!(
        (server(json!("opportunistic")).security, server(json!("opportunistic")).port),
        (Security::Opportunistic, 25)
    );
    let own = server(json!({"caCertificate": certificate, "serverName": "Mail.Example.com."}));
    assert_eq!((own.security, own.port), (Security::StartTls, 587));
    assert_eq!(own.tls.settings().server_name.as_deref(), Some("mail.example.com"));
    assert_eq!(server(json!({"mode": "tls", "caCertificate": certificate})).port, 465);
    assert_eq!(server(json!({"mode": null, "serverName": null})).tls, TlsProfile::default());

    let stored = try_with(json!({"mode": "starttls", "serverName": "MAIL.example.com"}), true).unwrap();
    assert_eq!(stored.settings["smtp"]["tls"], json!({"mode": "starttls", "serverName": "mail.example.com"}));
    let merged = |before: &ChannelConfig, tls: Value| {
        try_check(json!({"smtp": {"tls": tls}}), Some(before), &context(None)).unwrap().settings["smtp"]["tls"].clone()
    };
    let implicit = try_with(json!("tls"), true).unwrap();
    assert_eq!(
        merged(&implicit, json!({"serverName": "a.example"})),
        json!({"mode": "tls", "serverName": "a.example"})
    );
    assert_eq!(merged(&stored, json!({"serverName": null})), json!({"mode": "starttls"}));
    let plain = try_check(json!({"smtp": {"tls": "starttls"}}), Some(&stored), &context(None)).unwrap();
    assert_eq!(plain.settings["smtp"]["tls"], "starttls");

    for (tls, login, pointer) in [
        (json!({"caCertificate": "nonsense"}), true, "/smtp/tls/caCertificate"),
        (json!({"serverName": "a b"}), true, "/smtp/tls/serverName"),
        (json!({"mode": "ssl"}), true, "/smtp/tls/mode"),
        (json!({"verify": "none"}), true, "/smtp/tls/verify"),
        (json!({"mode": "none", "caCertificate": certificate}), false, "/smtp/tls"),
        (json!({"mode": "opportunistic", "caCertificate": certificate}), false, "/smtp/tls"),
        (json!(["tls"]), true, "/smtp/tls"),
    ] {
        let wrong = try_with(tls.clone(), login).unwrap_err();
        assert_eq!(wrong.iter().map(|violation| violation.pointer.as_str()).collect::<Vec<_>>(), [pointer], "{tls}");
    }
}

#[test]
fn open_missing_password_returns_readable_error() {
    let mut stored = try_check(own_server(), None, &context(None)).unwrap();
    stored.secrets.clear();
    assert_eq!(open(&stored).err().as_deref(), Some("/smtp/password: is required with a user name (or a token)"));
}
