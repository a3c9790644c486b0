//! Email over real SMTP: aiosmtpd in a child process takes the mail and is strict about it.

mod faults;
mod looks;
mod smtp_server;
mod support;

use std::path::Path;
use std::time::Duration;

use mail_parser::MessageParser;
use rustls::RootCertStore;
use serde_json::json;
use tidings_channels::email::Email;
use tidings_channels::{ChannelPlugin, ErrorClass};
use tidings_domain::delivery::Outcome;
use tidings_domain::severity::Severity;

use smtp_server::{SmtpServer, Taken};
use support::{LOGIN, PASSWORD, channel, deliver, deliver_again, guarded, instance, letter, open, own, to};

const RETRY: Outcome = Outcome::Retry { after_ms: None };

fn assert_good(taken: &Taken) {
    assert_eq!(taken.complaints, [""; 0], "{}", taken.mail);
    let mail = MessageParser::default().parse(taken.mail.as_bytes()).unwrap();
    assert_eq!(mail.subject(), Some("✗ Umsätze täglich failed"));
    assert_eq!(mail.to().and_then(|to| to.first()).and_then(|to| to.address()), Some(taken.recipients[0].as_str()));
    let text = mail.body_text(0).unwrap();
    for line in ["    .", "    ..", "    QUIT", "    <b>"] {
        assert!(text.lines().any(|said| said.trim_end() == line), "{line:?} in {text}");
    }
    assert!(mail.body_html(0).unwrap().contains("href=\"https://app.example.com/flows/f1\""));
}

#[tokio::test]
async fn the_instances_server_over_tls_is_trusted() {
    let mut server = SmtpServer::start("tls", &["--auth", LOGIN]).await;
    let url = format!("smtps://{LOGIN}@127.0.0.1:{}", server.port);
    let channel = channel(to(&["oncall@example.com"]), &instance(&url, server.roots.clone()));
    let report = deliver(&*channel).await;
    assert_eq!(report.outcome, Outcome::Delivered, "{report:?}");
    assert_eq!((report.http_status, report.error_class, report.error), (Some(250), None, None));
    assert_eq!(report.response_body.as_deref(), Some("oncall@example.com: accepted (250 2.0.0 taken)"));
    let taken = server.taken().await;
    assert_good(&taken);
    assert!(taken.tls);
    assert_eq!(taken.user.as_deref(), Some("alerts"));
    assert_eq!((taken.hello.as_str(), taken.sender.as_str()), ("example.com", "tidings@example.com"));
    assert!(taken.mail.contains("Message-ID: <dlv_07070707070707070707070707070707@example.com>\r\n"));
    assert!(taken.mail.contains("Date: Sat, 02 May 2026 04:00:12 +0000\r\n"));
}

#[tokio::test]
async fn the_channels_own_server_over_starttls() {
    for more in [&["--auth", LOGIN][..], &["--auth", LOGIN, "--only-login"]] {
        let mut server = SmtpServer::start("starttls", more).await;
        let smtp = json!({"username": "alerts", "password": PASSWORD});
        let channel = channel(own(&["oncall@example.com"], server.port, smtp), &open(server.roots.clone()));
        let report = deliver(&*channel).await;
        assert_eq!(report.outcome, Outcome::Delivered, "{report:?}");
        let taken = server.taken().await;
        assert_good(&taken);
        assert!(taken.tls);
        assert_eq!((taken.user.as_deref(), taken.sender.as_str()), (Some("alerts"), "alerts@example.org"));
    }
}

#[tokio::test]
async fn one_transaction_a_recipient_over_one_connection() {
    let mut server = SmtpServer::start("none", &[]).await;
    let all = ["a@example.com", "refuse@example.com", "spam@example.com", "b@example.com"];
    let channel = channel(own(&all, server.port, json!({"tls": "none"})), &open(RootCertStore::empty()));
    let report = deliver(&*channel).await;
    assert_eq!((report.outcome, report.error), (Outcome::Delivered, None), "some were accepted, none is deferred");
    assert_eq!(
        report.response_body.as_deref(),
        Some(
            "a@example.com: accepted (250 2.0.0 taken)\nrefuse@example.com: refused (550 5.1.1 no such user here)\n\
             spam@example.com: refused (554 5.7.1 looks like spam)\nb@example.com: accepted (250 2.0.0 taken)"
        )
    );
    let (first, second) = (server.taken().await, server.taken().await);
    assert_good(&first);
    assert_good(&second);
    assert_eq!((first.recipients, second.recipients), (vec!["a@example.com".into()], vec!["b@example.com".into()]));
    assert_eq!(first.peer, second.peer);
    assert!(!first.tls);
    server.nothing_more();
}

#[tokio::test]
async fn only_the_deferred_are_tried_again() {
    let mut server = SmtpServer::start("none", &[]).await;
    let all = ["a@example.com", "once@example.com", "refuse@example.com"];
    let channel = channel(own(&all, server.port, json!({"tls": "none"})), &open(RootCertStore::empty()));
    let first = deliver(&*channel).await;
    assert_eq!((first.outcome, first.error_class), (RETRY, Some(ErrorClass::Status)));
    assert_eq!(
        first.error.as_deref(),
        Some("once@example.com was deferred: 451 4.7.1 greylisted, come again (1 of 3 recipients)")
    );
    assert_eq!(server.taken().await.recipients, ["a@example.com"]);

    let second = deliver_again(&*channel, first.attempt_state.as_deref(), Duration::from_secs(15)).await;
    assert_eq!((second.outcome, second.attempt_state), (Outcome::Delivered, None));
    let list = second.response_body.unwrap();
    assert!(list.contains("once@example.com: accepted") && list.contains("refuse@example.com: refused"), "{list}");
    assert_eq!(server.taken().await.recipients, ["once@example.com"]);
    server.nothing_more();
}

#[tokio::test]
async fn refused_by_all_is_dead() {
    let server = SmtpServer::start("none", &[]).await;
    let environment = open(RootCertStore::empty());
    let all = ["refuse@example.com", "spam@example.com"];
    let report = deliver(&*channel(own(&all, server.port, json!({"tls": "none"})), &environment)).await;
    assert_eq!((report.outcome, report.error_class), (Outcome::Dead, Some(ErrorClass::Rejected)));
    assert_eq!(report.http_status, Some(554));

    let smtp = json!({"tls": "none", "from": "nobody@example.com"});
    let report = deliver(&*channel(own(&["a@example.com"], server.port, smtp), &environment)).await;
    assert_eq!((report.outcome, report.error_class), (Outcome::Dead, Some(ErrorClass::Rejected)));
    assert_eq!(
        report.error.as_deref(),
        Some("the SMTP server refused the sender nobody@example.com: 550 5.7.1 sender not allowed here")
    );
}

#[tokio::test]
async fn a_wrong_password_is_dead() {
    let mut server = SmtpServer::start("tls", &["--auth", "alerts:another"]).await;
    let smtp = json!({"tls": "tls", "username": "alerts", "password": PASSWORD});
    let channel = channel(own(&["a@example.com"], server.port, smtp), &open(server.roots.clone()));
    let report = deliver(&*channel).await;
    assert_eq!((report.outcome, report.error_class), (Outcome::Dead, Some(ErrorClass::Rejected)));
    assert_eq!(report.http_status, Some(535));
    let error = report.error.unwrap();
    assert!(error.starts_with("the SMTP server refused the user name or password: 535"), "{error}");
    server.nothing_more();
}

#[tokio::test]
async fn a_private_address_is_refused_to_channels() {
    let mut server = SmtpServer::start("none", &[]).await;
    let environment = guarded(RootCertStore::empty());
    let report = deliver(&*channel(own(&["a@example.com"], server.port, json!({"tls": "none"})), &environment)).await;
    assert_eq!((report.outcome, report.error_class), (RETRY, Some(ErrorClass::TargetRefused)));
    assert!(report.error.unwrap().contains("TIDINGS_ALLOW_TARGETS"));
    server.nothing_more();

    let literal = own(&["a@example.com"], server.port, json!({"tls": "none", "host": "127.0.0.1"}));
    let wrong = Email.check(literal.as_object().unwrap(), None, &environment).unwrap_err();
    assert_eq!(wrong[0].pointer, "/smtp/host");
}

#[tokio::test]
async fn tls_is_not_given_up() {
    let mut plain = SmtpServer::start("none", &[]).await;
    let roots = plain.roots.clone();
    let place = format!("localhost:{}", plain.port);
    for (url, words) in [
        (format!("smtp://{place}"), "does not offer STARTTLS"),
        (format!("smtp://{LOGIN}@{place}?tls=opportunistic"), "not sent in the clear"),
    ] {
        let report = deliver(&*channel(to(&["a@example.com"]), &instance(&url, roots.clone()))).await;
        assert_eq!((report.outcome, report.error_class), (RETRY, Some(ErrorClass::Tls)));
        assert!(report.error.as_ref().unwrap().contains(words), "{report:?}");
    }
    let opportunistic = format!("smtp://{place}?tls=opportunistic");
    let report = deliver(&*channel(to(&["a@example.com"]), &instance(&opportunistic, roots))).await;
    assert_eq!(report.outcome, Outcome::Delivered);
    assert!(!plain.taken().await.tls);
    plain.nothing_more();
}

/// Every look of a mail, past a strict server; what came is left under `target/tmp/mails` to be looked at.
#[tokio::test]
async fn every_kind_of_mail_is_taken() {
    let mut server = SmtpServer::start("none", &[]).await;
    let channel = channel(own(&["a@example.com"], server.port, json!({"tls": "none"})), &open(RootCertStore::empty()));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mails");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, event, severity) in looks::looks() {
        let report = channel.deliver(&letter(&event, severity)).await;
        assert_eq!(report.outcome, Outcome::Delivered, "{name}: {report:?}");
        let taken = server.taken().await;
        assert_eq!(taken.complaints, [""; 0], "{name}: {}", taken.mail);
        let mail = MessageParser::default().parse(taken.mail.as_bytes()).unwrap();
        std::fs::write(directory.join(format!("{name}.html")), mail.body_html(0).unwrap().as_bytes()).unwrap();
        std::fs::write(directory.join(format!("{name}.txt")), mail.body_text(0).unwrap().as_bytes()).unwrap();
        std::fs::write(directory.join(format!("{name}.eml")), taken.mail).unwrap();
    }
}

/// What a client needs to make one conversation of them, as it arrives.
#[tokio::test]
async fn mails_of_one_incident_refer_to_one_id() {
    use tidings_domain::incident::IncidentTrigger::{Opened, Resolved};
    let mut server = SmtpServer::start("none", &[]).await;
    let channel = channel(own(&["a@example.com"], server.port, json!({"tls": "none"})), &open(RootCertStore::empty()));
    for (trigger, severity, subject) in [
        (Opened, Severity::Critical, "[✗ Critical: down] Production API"),
        (Resolved, Severity::Success, "[✓ recovered] Production API"),
    ] {
        let event = looks::outage(trigger);
        assert_eq!(channel.deliver(&letter(&event, severity)).await.outcome, Outcome::Delivered);
        let taken = server.taken().await;
        assert_eq!(taken.complaints, [""; 0], "{}", taken.mail);
        let mail = MessageParser::default().parse(taken.mail.as_bytes()).unwrap();
        let thread = Some("incident.inc_01890a5d7b3c7c4a9b1e2f3a4b5c6d7e@example.org");
        assert_eq!((mail.references().as_text(), mail.in_reply_to().as_text()), (thread, thread));
        assert_eq!(mail.subject(), Some(subject));
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused() {
    for tls in ["tls", "starttls"] {
        let mut server = SmtpServer::start(tls, &[]).await;
        let config = own(&["a@example.com"], server.port, json!({"tls": tls}));
        let report = deliver(&*channel(config, &open(RootCertStore::empty()))).await;
        assert_eq!((report.outcome, report.error_class), (RETRY, Some(ErrorClass::Tls)), "{report:?}");
        assert!(report.error.unwrap().contains("certificate"));
        server.nothing_more();
    }
}
