//! The composed mail, read back by a parser that is not ours, and held against what strict servers demand.

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;
use tidings_domain::event::{Content as Told, Event};
use tidings_domain::incident::{IncidentTrigger, SubjectField};
use tidings_domain::severity::Severity;

use super::*;
use crate::email::address;
use crate::samples;

fn composed(event: &Event, severity: Severity) -> Vec<u8> {
    let from = address::parse_mailbox("Tidings at Bücher <alerts@example.com>").unwrap();
    let to = address::parse("oncall@example.org").unwrap();
    Mail::compose(&samples::letter(event, severity), &from).to(&to).unwrap()
}

/// What no mail may break, whatever is in it.
fn strict(mail: &[u8]) {
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
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    ];
    // Mails of an incident refer to the one thing, twice.
    let known = known
        .into_iter()
        .chain(["In-Reply-To", "References"].into_iter().filter(|_| text.contains("\r\nReferences: ")));
    let mut sorted = (names, known.collect::<Vec<_>>());
    sorted.0.sort_unstable();
    sorted.1.sort_unstable();
    assert_eq!(sorted.0, sorted.1, "each header once, and no other");
}

fn name_of(line: &str) -> &str {
    line.split_once(':').map_or(line, |(name, _)| name)
}

#[test]
fn a_parser_reads_back_what_was_said() {
    let mut event = samples::failed_flow();
    event.run_mut().resource_name =
        Some("Umsätze täglich 📈 für die Geschäftsleitung und alle anderen, die es wissen".into());
    let mail = composed(&event, Severity::Warning);
    strict(&mail);
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
    assert!(read.content_type().unwrap().subtype() == Some("alternative"));

    let content = Content::of(&samples::letter(&event, Severity::Warning));
    assert_eq!((read.text_body_count(), read.html_body_count(), read.attachment_count()), (1, 1, 0));
    assert_eq!(read.body_text(0).unwrap().replace("\r\n", "\n").trim_end(), text::render(&content).trim_end());
    assert_eq!(read.body_html(0).unwrap().replace("\r\n", "\n").trim_end(), html::render(&content).trim_end());
}

#[test]
fn names_cannot_add_headers_or_parts() {
    let mut event = samples::failed_flow();
    let boundary = "--=_dlv_07070707070707070707070707070707";
    event.run_mut().resource_name = Some(format!("x\r\nBcc: all@example.com\r\n\r\n{boundary}--"));
    event.run_id = format!("\r\n.\r\nQUIT\r\n{boundary}");
    event.run_mut().error_message = Some(format!("\r\n.\r\nRSET\r\n{boundary}\r\nContent-Type: text/html\r\n\r\nhi"));
    let mail = composed(&event, Severity::Warning);
    strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    assert!(read.bcc().is_none());
    assert_eq!((read.parts.len(), read.attachment_count()), (3, 0), "the whole, text and HTML");
    assert!(read.body_text(0).unwrap().contains(boundary), "said, not acted on");
}

#[test]
fn a_huge_error_is_cut() {
    let mut event = samples::failed_flow();
    event.run_mut().error_message = Some("日".repeat(350_000));
    let mail = composed(&event, Severity::Warning);
    strict(&mail);
    assert!(mail.len() < 100_000, "{} bytes", mail.len());
    let read = MessageParser::default().parse(&mail).unwrap();
    let text = read.body_text(0).unwrap();
    assert_eq!(text.matches('日').count(), super::super::content::DETAIL_CHARS_MAX - 1);
    assert!(text.contains("日…"));
}

#[test]
fn the_message_id_is_the_same_on_every_try() {
    let event = samples::failed_flow();
    let from = address::parse_mailbox("alerts@example.com").unwrap();
    let mut letter = samples::letter(&event, Severity::Warning);
    let first = Mail::compose(&letter, &from);
    letter.now = letter.now.plus_ms(60_000);
    let second = Mail::compose(&letter, &from);
    assert_eq!(first.message_id, second.message_id);
    assert_ne!(first.date, second.date);
}

/// The id that all mails of an incident refer to, and the subject without what stands in brackets.
fn thread(trigger: IncidentTrigger, from: &str) -> (String, String) {
    let event = samples::outage(trigger);
    let from = address::parse_mailbox(from).unwrap();
    let mail = Mail::compose(&samples::letter(&event, Severity::Critical), &from).to(&from.email).unwrap();
    strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    let (reference, reply) = (read.references().as_text().unwrap(), read.in_reply_to().as_text().unwrap());
    assert_eq!(reference, reply);
    assert_ne!(read.message_id(), Some(reference), "of its own in each delivery");
    (reference.to_owned(), read.subject().unwrap().split_once("] ").unwrap().1.to_owned())
}

#[test]
fn all_mails_of_an_incident_are_one_thread() {
    use IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
    let from = "Tidings <alerts@example.com>";
    let first = thread(Opened, from);
    assert_eq!(first.0, "incident.inc_05050505050505050505050505050505@example.com");
    assert_eq!(first.1, "Production API", "the same base subject, for clients that go by it");
    for later in [Worsened, Escalated { after_seconds: 900 }, Reminder { number: 1 }, Flapping, Stable, Resolved] {
        assert_eq!(thread(later, from), first, "{later}");
    }
    assert_ne!(thread(Opened, "alerts@example.org").0, first.0, "ids are the sender's own");
    let mail = composed(&samples::failed_flow(), Severity::Critical);
    assert!(!String::from_utf8(mail).unwrap().contains("References:"), "a run stands alone");
}

#[test]
fn no_id_breaks_out_of_its_header() {
    let mut event = samples::outage(IncidentTrigger::Opened);
    event.run_id = "a> <b@example.com>\r\nBcc: all@example.com\r\n =?utf-8?q?ü?= ".repeat(3);
    let mail = composed(&event, Severity::Critical);
    strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    assert!(read.bcc().is_none());
    assert!(read.references().as_text().is_some_and(|id| id.starts_with("incident.a%3E%20%3Cb%40")));
}

#[test]
fn odd_clocks_do_no_harm() {
    let event = samples::failed_flow();
    let from = address::parse_mailbox("alerts@example.com").unwrap();
    for ms in [i64::MIN, -1, 0, i64::MAX] {
        let mut letter = samples::letter(&event, Severity::Warning);
        letter.now = Timestamp::from_unix_ms(ms);
        strict(&Mail::compose(&letter, &from).to(&from.email).unwrap());
    }
}

/// What no mail of this event may break, and that it says what was meant.
fn assert_said(event: &Event) -> Result<(), TestCaseError> {
    let mail = composed(event, Severity::Critical);
    strict(&mail);
    let read = MessageParser::default().parse(&mail).unwrap();
    let content = Content::of(&samples::letter(event, Severity::Critical));
    prop_assert_eq!(read.parts.len(), 3);
    let (said, meant) = (read.body_text(0).unwrap().replace("\r\n", "\n"), text::render(&content));
    prop_assert_eq!(said.trim_end(), meant.trim_end());
    prop_assert_eq!(read.subject(), Some(content.subject.as_str()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_was_reported_makes_a_strict_mail(
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
        assert_said(&event)?;
    }

    #[test]
    fn so_does_whatever_is_said_of_an_incident(
        name in "\\PC{0,200}|[\\x00-\\x20\\[\\]a:=?_-]{0,200}|[a-z]{200}",
        id in "\\PC{0,60}",
        words in proptest::collection::vec(any::<String>(), 5),
    ) {
        let mut event = samples::outage(IncidentTrigger::Resolved);
        event.run_id = id;
        let Told::Incident(outage) = &mut event.content else { unreachable!() };
        outage.name = name;
        outage.detail = Some(words[0].clone());
        outage.url = Some(words[1].clone());
        outage.fields = vec![SubjectField { label: words[2].clone(), value: words[3].clone() }];
        outage.tags = vec![words[4].clone()];
        assert_said(&event)?;
    }

    #[test]
    fn so_does_whatever_was_held_back(title in any::<String>(), link in "https?://\\PC{0,300}") {
        let mut event = samples::digest(3);
        let Told::Digest(digest) = &mut event.content else { unreachable!() };
        (digest.entries[0].title, digest.entries[1].link) = (title, Some(link));
        assert_said(&event)?;
    }
}
