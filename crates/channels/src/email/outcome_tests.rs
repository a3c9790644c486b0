//! What becomes of a mail with many recipients, over several tries.

use tidings_domain::delivery::Outcome;

use super::*;

const RETRY: Outcome = Outcome::Retry { after_ms: None };

fn addresses(list: &[&str]) -> Vec<Address> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn reply(code: u16, text: &str) -> Reply {
    Reply { code, lines: vec![text.into()] }
}

/// A ledger of these recipients to whom these codes were said.
fn decided(codes: &[u16]) -> Ledger {
    let names: Vec<String> = (0..codes.len()).map(|index| format!("r{index}@example.com")).collect();
    let mut ledger = Ledger::resume(&addresses(&names.iter().map(String::as_str).collect::<Vec<_>>()), None);
    for (at, code) in codes.iter().enumerate() {
        ledger.decide(at, &reply(*code, "said"));
    }
    ledger
}

#[test]
fn the_rule_of_the_product() {
    for (codes, outcome, class) in [
        (&[250][..], Outcome::Delivered, None),
        (&[250, 550], Outcome::Delivered, None),
        (&[250, 451], RETRY, Some(ErrorClass::Status)),
        (&[550, 451], RETRY, Some(ErrorClass::Status)),
        (&[550, 553], Outcome::Dead, Some(ErrorClass::Rejected)),
    ] {
        let last = codes.last().copied();
        let report = decided(codes).report();
        assert_eq!((report.outcome, report.error_class, report.http_status), (outcome, class, last), "{codes:?}");
        assert_eq!(report.attempt_state.is_some(), outcome == RETRY);
        assert_eq!(report.error.is_some(), class.is_some());
    }
}

#[test]
fn each_recipient_has_a_line() {
    let report = decided(&[250, 550, 451]).report();
    assert_eq!(
        report.response_body.as_deref(),
        Some(
            "r0@example.com: accepted (250 said)\nr1@example.com: refused (550 said)\nr2@example.com: deferred (451 said)"
        )
    );
    assert_eq!(report.error.as_deref(), Some("r2@example.com was deferred: 451 said (1 of 3 recipients)"));
    assert_eq!(decided(&[550]).report().error.as_deref(), Some("r0@example.com was refused: 550 said"));
    let many = decided(&[550; 50]).report();
    assert!(many.response_body.unwrap().len() <= EXCERPT_BYTES_MAX);
}

#[test]
fn only_the_deferred_are_tried_again() {
    let all = addresses(&["a@example.com", "b@example.com", "c@example.com"]);
    let mut first = Ledger::resume(&all, None);
    assert_eq!(first.open(), [0, 1, 2]);
    first.decide(0, &reply(250, "ok"));
    first.decide(1, &reply(451, "later"));
    first.decide(2, &reply(550, "no"));
    let attempt_state = first.report().attempt_state.unwrap();

    let mut second = Ledger::resume(&all, Some(&attempt_state));
    assert_eq!(second.open(), [1]);
    second.decide(1, &reply(550, "no"));
    let report = second.report();
    assert_eq!((report.outcome, report.attempt_state), (Outcome::Delivered, None));
    assert!(report.response_body.unwrap().starts_with("a@example.com: accepted (250 ok)\nb@example.com: refused"));
}

#[test]
fn the_channel_may_change_between_tries() {
    let mut first = Ledger::resume(&addresses(&["a@example.com", "b@example.com"]), None);
    first.decide(0, &reply(250, "ok"));
    first.decide(1, &reply(451, "later"));
    let attempt_state = first.report().attempt_state.unwrap();
    let without = Ledger::resume(&addresses(&["a@example.com"]), Some(&attempt_state));
    assert!(without.open().is_empty());
    assert_eq!(without.report().outcome, Outcome::Delivered);
    let with = Ledger::resume(&addresses(&["c@example.com", "a@example.com"]), Some(&attempt_state));
    assert_eq!(with.open(), [0]);
    assert_eq!(Ledger::resume(&addresses(&["a@example.com"]), Some("{broken")).open(), [0]);
}

#[test]
fn one_at_whom_the_server_stumbles_goes_last() {
    let all = addresses(&["a@example.com", "b@example.com", "c@example.com"]);
    let mut first = Ledger::resume(&all, None);
    first.fail(Some(0), Failure::new(ErrorClass::Protocol, "the connection broke"));
    let report = first.report();
    assert_eq!((report.outcome, report.error_class), (RETRY, Some(ErrorClass::Protocol)));
    assert_eq!(report.error.as_deref(), Some("the connection broke (3 of 3 recipients)"));
    assert!(report.response_body.unwrap().contains("c@example.com: not tried (the connection broke)"));
    assert_eq!(Ledger::resume(&all, report.attempt_state.as_deref()).open(), [1, 2, 0]);
}

#[test]
fn a_refusal_of_the_whole_is_one_of_everybody_left() {
    let all = addresses(&["a@example.com", "b@example.com"]);
    let refusal = || Failure::refused("the sender x@example.com", &reply(550, "no"));
    let mut nobody = Ledger::resume(&all, None);
    nobody.fail(None, refusal());
    let report = nobody.report();
    assert_eq!((report.outcome, report.error_class), (Outcome::Dead, Some(ErrorClass::Rejected)));
    assert_eq!((report.http_status, report.attempt_state), (Some(550), None));

    let mut some = Ledger::resume(&all, None);
    some.decide(0, &reply(250, "ok"));
    some.fail(Some(1), refusal());
    assert_eq!(some.report().outcome, Outcome::Delivered);
}

#[test]
fn what_is_carried_is_bounded() {
    let long = format!("{}@{}.example", "a".repeat(64), "b".repeat(60));
    let names: Vec<String> = (10..60).map(|index| format!("{index}{}", &long[2..])).collect();
    let mut ledger = Ledger::resume(&addresses(&names.iter().map(String::as_str).collect::<Vec<_>>()), None);
    for at in 0..50 {
        ledger.decide(at, &reply(451, &"\"".repeat(4_000)));
    }
    assert!(ledger.report().attempt_state.unwrap().len() < 40_000);
}
