//! A mail with several recipients, over several attempts.

use tidings_domain::delivery::Outcome;

use super::*;

const RETRY: Outcome = Outcome::Retry { after_ms: None };

fn addresses(list: &[&str]) -> Vec<Address> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn reply(code: u16, text: &str) -> Reply {
    Reply { code, lines: vec![text.into()] }
}

/// A ledger whose recipients got these reply codes.
fn with_replies(codes: &[u16]) -> RecipientLedger {
    let names: Vec<String> = (0..codes.len()).map(|index| format!("r{index}@example.com")).collect();
    let mut ledger = RecipientLedger::resume(&addresses(&names.iter().map(String::as_str).collect::<Vec<_>>()), None);
    for (at, code) in codes.iter().enumerate() {
        ledger.record_reply(at, &reply(*code, "text"));
    }
    ledger
}

#[test]
fn into_result_by_replies() {
    for (codes, outcome, class) in [
        (&[250][..], Outcome::Delivered, None),
        (&[250, 550], Outcome::Delivered, None),
        (&[250, 451], RETRY, Some(ErrorClass::Status)),
        (&[550, 451], RETRY, Some(ErrorClass::Status)),
        (&[550, 553], Outcome::PermanentFailure, Some(ErrorClass::Rejected)),
    ] {
        let last = codes.last().copied();
        let result = with_replies(codes).into_result();
        assert_eq!((result.outcome, result.error_class, result.http_status), (outcome, class, last), "{codes:?}");
        assert_eq!(result.attempt_state.is_some(), outcome == RETRY);
        assert_eq!(result.error.is_some(), class.is_some());
    }
}

#[test]
fn into_result_lists_every_recipient() {
    let result = with_replies(&[250, 550, 451]).into_result();
    assert_eq!(
        result.response_body.as_deref(),
        Some(
            "r0@example.com: accepted (250 text)\nr1@example.com: refused (550 text)\nr2@example.com: deferred (451 text)"
        )
    );
    assert_eq!(result.error.as_deref(), Some("r2@example.com was deferred: 451 text (1 of 3 recipients)"));
    assert_eq!(with_replies(&[550]).into_result().error.as_deref(), Some("r0@example.com was refused: 550 text"));
    let many = with_replies(&[550; 50]).into_result();
    assert!(many.response_body.unwrap().len() <= EXCERPT_BYTES_MAX);
}

#[test]
fn resume_retries_only_deferred_recipients() {
    let all = addresses(&["a@example.com", "b@example.com", "c@example.com"]);
    let mut first = RecipientLedger::resume(&all, None);
    assert_eq!(first.pending(), [0, 1, 2]);
    first.record_reply(0, &reply(250, "ok"));
    first.record_reply(1, &reply(451, "later"));
    first.record_reply(2, &reply(550, "no"));
    let attempt_state = first.into_result().attempt_state.unwrap();

    let mut second = RecipientLedger::resume(&all, Some(&attempt_state));
    assert_eq!(second.pending(), [1]);
    second.record_reply(1, &reply(550, "no"));
    let result = second.into_result();
    assert_eq!((result.outcome, result.attempt_state), (Outcome::Delivered, None));
    assert!(result.response_body.unwrap().starts_with("a@example.com: accepted (250 ok)\nb@example.com: refused"));
}

#[test]
fn resume_after_channel_edit_adds_and_drops_recipients() {
    let mut first = RecipientLedger::resume(&addresses(&["a@example.com", "b@example.com"]), None);
    first.record_reply(0, &reply(250, "ok"));
    first.record_reply(1, &reply(451, "later"));
    let attempt_state = first.into_result().attempt_state.unwrap();
    let without = RecipientLedger::resume(&addresses(&["a@example.com"]), Some(&attempt_state));
    assert!(without.pending().is_empty());
    assert_eq!(without.into_result().outcome, Outcome::Delivered);
    let with = RecipientLedger::resume(&addresses(&["c@example.com", "a@example.com"]), Some(&attempt_state));
    assert_eq!(with.pending(), [0]);
    assert_eq!(RecipientLedger::resume(&addresses(&["a@example.com"]), Some("{broken")).pending(), [0]);
}

#[test]
fn pending_puts_untried_recipients_before_deferred_ones() {
    let all = addresses(&["a@example.com", "b@example.com", "c@example.com"]);
    let mut first = RecipientLedger::resume(&all, None);
    first.record_error(Some(0), SmtpError::new(ErrorClass::Protocol, "the connection broke"));
    let result = first.into_result();
    assert_eq!((result.outcome, result.error_class), (RETRY, Some(ErrorClass::Protocol)));
    assert_eq!(result.error.as_deref(), Some("the connection broke (3 of 3 recipients)"));
    assert!(result.response_body.unwrap().contains("c@example.com: not tried (the connection broke)"));
    assert_eq!(RecipientLedger::resume(&all, result.attempt_state.as_deref()).pending(), [1, 2, 0]);
}

#[test]
fn record_error_rejection_refuses_all_pending_recipients() {
    let all = addresses(&["a@example.com", "b@example.com"]);
    let refusal = || SmtpError::from_reply("the sender x@example.com", &reply(550, "no"));
    let mut all_refused = RecipientLedger::resume(&all, None);
    all_refused.record_error(None, refusal());
    let result = all_refused.into_result();
    assert_eq!((result.outcome, result.error_class), (Outcome::PermanentFailure, Some(ErrorClass::Rejected)));
    assert_eq!((result.http_status, result.attempt_state), (Some(550), None));

    let mut partial = RecipientLedger::resume(&all, None);
    partial.record_reply(0, &reply(250, "ok"));
    partial.record_error(Some(1), refusal());
    assert_eq!(partial.into_result().outcome, Outcome::Delivered);
}

#[test]
fn attempt_state_is_bounded() {
    let long = format!("{}@{}.example", "a".repeat(64), "b".repeat(60));
    let names: Vec<String> = (10..60).map(|index| format!("{index}{}", &long[2..])).collect();
    let mut ledger = RecipientLedger::resume(&addresses(&names.iter().map(String::as_str).collect::<Vec<_>>()), None);
    for at in 0..50 {
        ledger.record_reply(at, &reply(451, &"\"".repeat(4_000)));
    }
    assert!(ledger.into_result().attempt_state.unwrap().len() < 40_000);
}
