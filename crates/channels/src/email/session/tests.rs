//! How mails are escaped, and what refused logins mean.

use super::*;

#[test]
fn dot_stuffed_doubles_leading_dots() {
    for (mail, sent) in [
        ("a\r\n", "a\r\n.\r\n"),
        ("a", "a\r\n.\r\n"),
        (".\r\n..\r\na.b\r\n", "..\r\n...\r\na.b\r\n.\r\n"),
        ("", "\r\n.\r\n"),
    ] {
        assert_eq!(dot_stuffed(mail.as_bytes()), sent.as_bytes());
    }
}

#[test]
fn password_error_wrong_password_is_rejected() {
    let error = |code| password_error(&Reply { code, lines: vec!["no".into()] });
    for (code, class) in [
        (535, ErrorClass::Rejected),
        (534, ErrorClass::Rejected),
        (530, ErrorClass::Status),
        (554, ErrorClass::Status),
        (454, ErrorClass::Status),
        (334, ErrorClass::Status),
    ] {
        assert_eq!((error(code).class, error(code).code), (class, Some(code)));
    }
    assert_eq!(error(535).message, "the SMTP server refused the user name or password: 535 no");
}

#[test]
fn challenge_status_is_a_number_or_nothing() {
    let status = |json: &str| challenge_status(&Reply { code: 334, lines: vec![BASE64_STANDARD.encode(json)] });
    assert_eq!(status(r#"{"status":"401","schemes":"bearer mac"}"#).as_deref(), Some("401"));
    assert_eq!(status(r#"{"status":400}"#).as_deref(), Some("400"));
    for other in ["", "{}", r#"{"status":"ya29.secret"}"#, "\u{1}"] {
        assert_eq!(status(other), None, "{other}");
    }
}
