//! The composed mail, parsed by an independent parser and checked against the demands of strict servers.

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;
use tidings_domain::event::{Content as EventContent, Event};
use tidings_domain::id::Id as _;
use tidings_domain::incident::{IncidentTrigger, SubjectField};
use tidings_domain::severity::Severity;

use super::*;
use crate::email::address;
use crate::samples;

fn composed(event: &Event, severity: Severity) -> Vec<u8> {
    let from = address::parse_mailbox("Tidings at Bücher <alerts@example.com>").unwrap();
    let to = address::parse("oncall@example.org").unwrap();
    MimeMessage::compose(&samples::message(event, severity), &from).to(&to).unwrap()
}

/// What every mail must satisfy, whatever it contains.
fn assert_strict(mail: &[u8]) {
    assert!(mail.is_ascii());
    let text = std::str::from_utf8(mail).unwrap();
    assert!(text.ends_with("\r\n"));
    for line in text.split_terminator("\r\n") {
        assert!(line.len() <= 998, "{} bytes", line.len());
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
    }
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let names: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])).map(name_of).collect();
    let known = [
        "Date",
        "From",
        "To",
        "Subject",
        "Message-ID",
        "List-Id",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    ];
    // An incident's mails refer to its thread id in two headers.
    let known = known
        .into_iter()
        .chain(["In-Reply-To", "References"].into_iter().filter(|_| text.contains("\r\nReferences: ")))
        .chain(["Importance", "X-Priority"].into_iter().filter(|_| text.contains("\r\nImportance: high\r\n")));
    let mut sorted = (names, known.collect::<Vec<_>>());
    sorted.0.sort_unstable();
    sorted.1.sort_unstable();
    assert_eq!(sorted.0, sorted.1, "each header once, and no other");
}

fn name_of(line: &str) -> &str {
    line.split_once(':').map_or(line, |(name, _)| name)
}

#[test]
fn compose_is_parsed_back() {
    let mut event = samples::failed_flow();
    event.run_mut().resource_name =
        Some("Umsätze täglich 📈 für die Geschäftsleitung und alle anderen, die es wissen".into());
    let mail = composed(&event, Severity::Warning);
    assert_strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    assert_eq!(
        read.subject(),
        Some("✗ Umsätze täglich 📈 für die Geschäftsleitung und alle anderen, die es wissen failed")
    );
    let from = read.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Tidings at Bücher"), Some("alerts@example.com")));
    let to = read.to().unwrap().first().unwrap();
    assert_eq!((to.name(), to.address()), (None, Some("oncall@example.org")));
    assert_eq!(read.message_id(), Some("dlv_07070707070707070707070707070707@example.com"));
    assert_eq!(read.date().unwrap().to_rfc3339(), "2026-05-02T04:00:12Z");
    assert_eq!(read.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
    let list_id = "Tidings notifications <ws_02020202020202020202020202020202.tidings.example.com>";
    let words: Vec<_> = read.header_raw("List-Id").unwrap().split_whitespace().collect();
    assert_eq!(words.join(" "), list_id, "one line may be folded into two");
    assert_eq!(read.header_raw("Importance"), None, "only a critical mail asks for attention");
    assert!(read.content_type().unwrap().subtype() == Some("alternative"));

    let content = Content::from_message(&samples::message(&event, Severity::Warning));
    assert_eq!((read.text_body_count(), read.html_body_count(), read.attachment_count()), (1, 1, 0));
    assert_eq!(read.body_text(0).unwrap().replace("\r\n", "\n").trim_end(), text::render(&content).trim_end());
    assert_eq!(read.body_html(0).unwrap().replace("\r\n", "\n").trim_end(), html::render(&content).trim_end());
}

#[test]
fn compose_texts_cannot_add_headers_or_parts() {
    let mut event = samples::failed_flow();
    let boundary = "--=_dlv_07070707070707070707070707070707";
    event.run_mut().resource_name = Some(format!("x\r\nBcc: all@example.com\r\n\r\n{boundary}--"));
    event.run_id = format!("\r\n.\r\nQUIT\r\n{boundary}");
    event.run_mut().error_message = Some(format!("\r\n.\r\nRSET\r\n{boundary}\r\nContent-Type: text/html\r\n\r\nhi"));
    let mail = composed(&event, Severity::Warning);
    assert_strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    assert!(read.bcc().is_none());
    assert_eq!((read.parts.len(), read.attachment_count()), (3, 0), "the whole, text and HTML");
    assert!(read.body_text(0).unwrap().contains(boundary), "kept as text");
}

#[test]
fn compose_huge_error_is_cut() {
    let mut event = samples::failed_flow();
    event.run_mut().error_message = Some("日".repeat(350_000));
    let mail = composed(&event, Severity::Warning);
    assert_strict(&mail);
    assert!(mail.len() < 100_000, "{} bytes", mail.len());
    let read = MessageParser::default().parse(&mail).unwrap();
    let text = read.body_text(0).unwrap();
    let kept = text.matches('日').count();
    assert!((3_900..super::super::content::DETAIL_CHARS_MAX).contains(&kept), "{kept}");
    assert!(text.contains("characters left out …"));
}

#[test]
fn compose_critical_mail_asks_for_attention() {
    let mail = composed(&samples::incident(IncidentTrigger::Opened), Severity::Critical);
    let read = MessageParser::default().parse(&mail).unwrap();
    assert_eq!(read.header_raw("Importance").map(str::trim), Some("high"));
    assert_eq!(read.header_raw("X-Priority").map(str::trim), Some("1"));
    assert_eq!(list_id(WorkspaceId::from_bytes([1; 16]), "[127.0.0.1]").split('.').next_back(), Some("localhost>"));
}

#[test]
fn compose_message_id_is_the_same_for_every_attempt() {
    let event = samples::failed_flow();
    let from = address::parse_mailbox("alerts@example.com").unwrap();
    let mut message = samples::message(&event, Severity::Warning);
    let first = MimeMessage::compose(&message, &from);
    message.now = message.now.plus_ms(60_000);
    let second = MimeMessage::compose(&message, &from);
    assert_eq!(first.message_id, second.message_id);
    assert_ne!(first.date, second.date);
}

/// The id that an incident's mail refers to, and its subject without the bracketed prefix.
fn thread(trigger: IncidentTrigger, from: &str) -> (String, String) {
    let event = samples::incident(trigger);
    let from = address::parse_mailbox(from).unwrap();
    let mail = MimeMessage::compose(&samples::message(&event, Severity::Critical), &from).to(&from.email).unwrap();
    assert_strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    let (reference, reply) = (read.references().as_text().unwrap(), read.in_reply_to().as_text().unwrap());
    assert_eq!(reference, reply);
    assert_ne!(read.message_id(), Some(reference), "each delivery has its own");
    (reference.to_owned(), read.subject().unwrap().split_once("] ").unwrap().1.to_owned())
}

#[test]
fn compose_mails_of_an_incident_share_a_thread() {
    use IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
    let from = "Tidings <alerts@example.com>";
    let first = thread(Opened, from);
    assert_eq!(first.0, "incident.inc_05050505050505050505050505050505@example.com");
    assert_eq!(first.1, "Production API", "the same base subject, for clients that group by it");
    for later in [Worsened, Escalated { after_seconds: 900 }, Reminder { number: 1 }, Flapping, Stable, Resolved] {
        assert_eq!(thread(later, from), first, "{later}");
    }
    assert_ne!(thread(Opened, "alerts@example.org").0, first.0, "ids contain the sender's domain");
    let mail = composed(&samples::failed_flow(), Severity::Critical);
    assert!(!String::from_utf8(mail).unwrap().contains("References:"), "a run has no thread");
}

#[test]
fn compose_hostile_incident_id_stays_in_its_header() {
    let mut event = samples::incident(IncidentTrigger::Opened);
    event.run_id = "a> <b@example.com>\r\nBcc: all@example.com\r\n =?utf-8?q?ü?= ".repeat(3);
    let mail = composed(&event, Severity::Critical);
    assert_strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    assert!(read.bcc().is_none());
    assert!(read.references().as_text().is_some_and(|id| id.starts_with("incident.a%3E%20%3Cb%40")));
}

#[test]
fn compose_out_of_range_dates_are_clamped() {
    let event = samples::failed_flow();
    let from = address::parse_mailbox("alerts@example.com").unwrap();
    for ms in [i64::MIN, -1, 0, i64::MAX] {
        let mut message = samples::message(&event, Severity::Warning);
        message.now = Timestamp::from_unix_ms(ms);
        assert_strict(&MimeMessage::compose(&message, &from).to(&from.email).unwrap());
    }
}

/// Composes the event's mail and checks that it is strict and complete.
fn assert_composed(event: &Event) -> Result<(), TestCaseError> {
    let mail = composed(event, Severity::Critical);
    assert_strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    let content = Content::from_message(&samples::message(event, Severity::Critical));
    prop_assert_eq!(read.parts.len(), 3);
    let (sent, expected) = (read.body_text(0).unwrap().replace("\r\n", "\n"), text::render(&content));
    prop_assert_eq!(sent.trim_end(), expected.trim_end());
    prop_assert_eq!(read.subject(), Some(content.subject.as_str()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn compose_any_run_is_strict(
        name in "\\PC{0,200}|[\\x00-\\x20a:=?_-]{0,200}|[a-z]{200}",
        id in any::<String>(),
        error in any::<String>(),
        link in "(https?|javascript):[\\PC]{0,300}|https://example.com/[a-z]{2000}",
    ) {
        let mut event = samples::failed_flow();
        event.run_mut().resource_name = Some(name);
        event.run_id = id;
        event.run_mut().error_message = Some(error);
        event.run_mut().deep_link = Some(link);
        assert_composed(&event)?;
    }

    #[test]
    fn compose_any_incident_is_strict(
        name in "\\PC{0,200}|[\\x00-\\x20\\[\\]a:=?_-]{0,200}|[a-z]{200}",
        id in "\\PC{0,60}",
        texts in proptest::collection::vec(any::<String>(), 5),
    ) {
        let mut event = samples::incident(IncidentTrigger::Resolved);
        event.run_id = id;
        let EventContent::Incident(incident) = &mut event.content else { unreachable!() };
        incident.name = name;
        incident.detail = Some(texts[0].clone());
        incident.url = Some(texts[1].clone());
        incident.fields = vec![SubjectField { label: texts[2].clone(), value: texts[3].clone() }];
        incident.tags = vec![texts[4].clone()];
        assert_composed(&event)?;
    }

    #[test]
    fn compose_any_digest_is_strict(title in any::<String>(), link in "https?://\\PC{0,300}") {
        let mut event = samples::digest(3);
        let EventContent::Digest(digest) = &mut event.content else { unreachable!() };
        (digest.entries[0].title, digest.entries[1].link) = (title, Some(link));
        assert_composed(&event)?;
    }
}
