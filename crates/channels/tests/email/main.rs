//! Email over real SMTP: aiosmtpd in a child process receives the mails and checks them strictly.

mod bursts;
mod faults;
mod mail_samples;
mod smtp_server;
mod support;

use std::path::Path;
use std::time::Duration;

use mail_parser::MessageParser;
use rustls::RootCertStore;
use serde_json::{Value, json};
use tidings_channels::email::Email;
use tidings_channels::{ChannelPlugin, ErrorClass};
use tidings_domain::delivery::Outcome;
use tidings_domain::severity::Severity;

use smtp_server::{ReceivedMail, SmtpServer};
use support::{
    LOGIN, PASSWORD, channel, deliver, deliver_again, for_recipients, guarded_context, local_context, message,
    own_server, relay_context,
};

const RETRY: Outcome = Outcome::Retry { after_ms: None };

fn assert_good(received: &ReceivedMail) {
    assert_eq!(received.complaints, [""; 0], "{}", received.mail);
    let mail = MessageParser::default().parse(received.mail.as_bytes()).unwrap();
    assert_eq!(mail.subject(), Some("✗ Umsätze täglich failed"));
    assert_eq!(mail.to().and_then(|to| to.first()).and_then(|to| to.address()), Some(received.recipients[0].as_str()));
    let text = mail.body_text(0).unwrap();
    for line in ["    .", "    ..", "    QUIT", "    <b>"] {
        assert!(text.lines().any(|received| received.trim_end() == line), "{line:?} in {text}");
    }
    assert!(mail.body_html(0).unwrap().contains("href=\"https://app.example.com/flows/f1\""));
}

#[tokio::test]
async fn instance_server_over_tls_delivers() {
    let mut server = SmtpServer::start("tls", &["--auth", LOGIN]).await;
    let url = format!("smtps://{LOGIN}@127.0.0.1:{}", server.port);
    let channel = channel(for_recipients(&["oncall@example.com"]), &relay_context(&url, server.roots.clone()));
    let result = deliver(&*channel).await;
    assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
    assert_eq!((result.http_status, result.error_class, result.error), (Some(250), None, None));
    assert_eq!(result.response_body.as_deref(), Some("oncall@example.com: accepted (250 2.0.0 taken)"));
    let received = server.next_mail().await;
    assert_good(&received);
    assert!(received.tls);
    assert_eq!(received.user.as_deref(), Some("alerts"));
    assert_eq!(received.sender, "tidings@example.com");
    assert!(received.hello == "[127.0.0.1]" || received.hello.contains('.') && received.hello != "example.com");
    assert!(received.mail.contains("Message-ID: <dlv_07070707070707070707070707070707@example.com>\r\n"));
    assert!(received.mail.contains("Date: Sat, 02 May 2026 04:00:12 +0000\r\n"));
}

#[tokio::test]
async fn own_server_over_starttls_delivers() {
    for more in [&["--auth", LOGIN][..], &["--auth", LOGIN, "--only-login"]] {
        let mut server = SmtpServer::start("starttls", more).await;
        let smtp = json!({"username": "alerts", "password": PASSWORD});
        let channel =
            channel(own_server(&["oncall@example.com"], server.port, smtp), &local_context(server.roots.clone()));
        let result = deliver(&*channel).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
        let received = server.next_mail().await;
        assert_good(&received);
        assert!(received.tls);
        assert_eq!((received.user.as_deref(), received.sender.as_str()), (Some("alerts"), "alerts@example.org"));
    }
}

#[tokio::test]
async fn recipients_share_a_connection_with_one_transaction_each() {
    let mut server = SmtpServer::start("none", &[]).await;
    let all = ["a@example.com", "refuse@example.com", "spam@example.com", "b@example.com"];
    let channel =
        channel(own_server(&all, server.port, json!({"tls": "none"})), &local_context(RootCertStore::empty()));
    let result = deliver(&*channel).await;
    assert_eq!((result.outcome, result.error), (Outcome::Delivered, None), "some were accepted, none is deferred");
    assert_eq!(
        result.response_body.as_deref(),
        Some(
            "a@example.com: accepted (250 2.0.0 taken)\nrefuse@example.com: refused (550 5.1.1 no such user here)\n\
             spam@example.com: refused (554 5.7.1 looks like spam)\nb@example.com: accepted (250 2.0.0 taken)"
        )
    );
    let (first, second) = (server.next_mail().await, server.next_mail().await);
    assert_good(&first);
    assert_good(&second);
    assert_eq!((first.recipients, second.recipients), (vec!["a@example.com".into()], vec!["b@example.com".into()]));
    assert_eq!(first.peer, second.peer);
    assert!(!first.tls);
    server.assert_no_more_mail();
}

#[tokio::test]
async fn retry_addresses_only_deferred_recipients() {
    let mut server = SmtpServer::start("none", &[]).await;
    let all = ["a@example.com", "once@example.com", "refuse@example.com"];
    let channel =
        channel(own_server(&all, server.port, json!({"tls": "none"})), &local_context(RootCertStore::empty()));
    let first = deliver(&*channel).await;
    assert_eq!((first.outcome, first.error_class), (RETRY, Some(ErrorClass::Status)));
    assert_eq!(
        first.error.as_deref(),
        Some("once@example.com was deferred: 451 4.7.1 greylisted, come again (1 of 3 recipients)")
    );
    assert_eq!(server.next_mail().await.recipients, ["a@example.com"]);

    let second = deliver_again(&*channel, first.attempt_state.as_deref(), Duration::from_secs(15)).await;
    assert_eq!((second.outcome, second.attempt_state), (Outcome::Delivered, None));
    let list = second.response_body.unwrap();
    assert!(list.contains("once@example.com: accepted") && list.contains("refuse@example.com: refused"), "{list}");
    assert_eq!(server.next_mail().await.recipients, ["once@example.com"]);
    server.assert_no_more_mail();
}

#[tokio::test]
async fn refused_by_all_recipients_is_permanent() {
    let server = SmtpServer::start("none", &[]).await;
    let context = local_context(RootCertStore::empty());
    let all = ["refuse@example.com", "spam@example.com"];
    let result = deliver(&*channel(own_server(&all, server.port, json!({"tls": "none"})), &context)).await;
    assert_eq!((result.outcome, result.error_class), (Outcome::PermanentFailure, Some(ErrorClass::Rejected)));
    assert_eq!(result.http_status, Some(554));

    let smtp = json!({"tls": "none", "from": "nobody@example.com"});
    let result = deliver(&*channel(own_server(&["a@example.com"], server.port, smtp), &context)).await;
    assert_eq!((result.outcome, result.error_class), (Outcome::PermanentFailure, Some(ErrorClass::Rejected)));
    assert_eq!(
        result.error.as_deref(),
        Some("the SMTP server refused the sender nobody@example.com: 550 5.7.1 sender not allowed here")
    );
}

#[tokio::test]
async fn wrong_password_is_permanent() {
    let mut server = SmtpServer::start("tls", &["--auth", "alerts:another"]).await;
    let smtp = json!({"tls": "tls", "username": "alerts", "password": PASSWORD});
    let channel = channel(own_server(&["a@example.com"], server.port, smtp), &local_context(server.roots.clone()));
    let result = deliver(&*channel).await;
    assert_eq!((result.outcome, result.error_class), (Outcome::PermanentFailure, Some(ErrorClass::Rejected)));
    assert_eq!(result.http_status, Some(535));
    let error = result.error.unwrap();
    assert!(error.starts_with("the SMTP server refused the user name or password: 535"), "{error}");
    server.assert_no_more_mail();
}

#[tokio::test]
async fn private_address_is_refused_to_channels() {
    let mut server = SmtpServer::start("none", &[]).await;
    let context = guarded_context(RootCertStore::empty());
    let result =
        deliver(&*channel(own_server(&["a@example.com"], server.port, json!({"tls": "none"})), &context)).await;
    assert_eq!((result.outcome, result.error_class), (RETRY, Some(ErrorClass::TargetRefused)));
    assert!(result.error.unwrap().contains("TIDINGS_ALLOW_TARGETS"));
    server.assert_no_more_mail();

    let literal = own_server(&["a@example.com"], server.port, json!({"tls": "none", "host": "127.0.0.1"}));
    let wrong = Email.check(literal.as_object().unwrap(), None, &context).unwrap_err();
    assert_eq!(wrong[0].pointer, "/smtp/host");
}

#[tokio::test]
async fn tls_is_not_downgraded() {
    let mut plain = SmtpServer::start("none", &[]).await;
    let roots = plain.roots.clone();
    let host_port = format!("localhost:{}", plain.port);
    for (url, message) in [
        (format!("smtp://{host_port}"), "does not offer STARTTLS"),
        (format!("smtp://{LOGIN}@{host_port}?tls=opportunistic"), "not sent unencrypted"),
    ] {
        let result = deliver(&*channel(for_recipients(&["a@example.com"]), &relay_context(&url, roots.clone()))).await;
        assert_eq!((result.outcome, result.error_class), (RETRY, Some(ErrorClass::Tls)));
        assert!(result.error.as_ref().unwrap().contains(message), "{result:?}");
    }
    let opportunistic = format!("smtp://{host_port}?tls=opportunistic");
    let result = deliver(&*channel(for_recipients(&["a@example.com"]), &relay_context(&opportunistic, roots))).await;
    assert_eq!(result.outcome, Outcome::Delivered);
    assert!(!plain.next_mail().await.tls);
    plain.assert_no_more_mail();
}

/// Every sample passes a strict server. The received mails are left in `target/tmp/mails` for inspection.
#[tokio::test]
async fn every_mail_sample_is_accepted() {
    let mut server = SmtpServer::start("none", &[]).await;
    let channel = channel(
        own_server(&["a@example.com"], server.port, json!({"tls": "none"})),
        &local_context(RootCertStore::empty()),
    );
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mails");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, event, severity) in mail_samples::mail_samples() {
        let result = channel.deliver(&message(&event, severity)).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{name}: {result:?}");
        let received = server.next_mail().await;
        assert_eq!(received.complaints, [""; 0], "{name}: {}", received.mail);
        let mail = MessageParser::default().parse(received.mail.as_bytes()).unwrap();
        std::fs::write(directory.join(format!("{name}.html")), mail.body_html(0).unwrap().as_bytes()).unwrap();
        std::fs::write(directory.join(format!("{name}.txt")), mail.body_text(0).unwrap().as_bytes()).unwrap();
        std::fs::write(directory.join(format!("{name}.eml")), received.mail).unwrap();
    }
}

/// What a client needs to thread the mails.
#[tokio::test]
async fn mails_of_an_incident_refer_to_the_same_id() {
    use tidings_domain::incident::IncidentTrigger::{Opened, Resolved};
    let mut server = SmtpServer::start("none", &[]).await;
    let channel = channel(
        own_server(&["a@example.com"], server.port, json!({"tls": "none"})),
        &local_context(RootCertStore::empty()),
    );
    for (trigger, severity, subject) in [
        (Opened, Severity::Critical, "[✗ Critical: down] Production API"),
        (Resolved, Severity::Success, "[✓ recovered] Production API"),
    ] {
        let event = mail_samples::incident(trigger);
        assert_eq!(channel.deliver(&message(&event, severity)).await.outcome, Outcome::Delivered);
        let received = server.next_mail().await;
        assert_eq!(received.complaints, [""; 0], "{}", received.mail);
        let mail = MessageParser::default().parse(received.mail.as_bytes()).unwrap();
        let thread = Some("incident.inc_01890a5d7b3c7c4a9b1e2f3a4b5c6d7e@example.org");
        assert_eq!((mail.references().as_text(), mail.in_reply_to().as_text()), (thread, thread));
        assert_eq!(mail.subject(), Some(subject));
    }
}

/// As between mail servers: TLS where it can be had, whatever the certificate, and in the clear where it cannot.
#[tokio::test]
async fn opportunistic_tls_encrypts_if_it_can() {
    let mut server = SmtpServer::start("starttls", &[]).await;
    let unknown = RootCertStore::empty();
    let relay = format!("smtp://127.0.0.1:{}?tls=opportunistic", server.port);
    let own = own_server(&["a@example.com"], server.port, json!({"tls": "opportunistic"}));
    for (config, context) in [
        (for_recipients(&["a@example.com"]), relay_context(&relay, unknown.clone())),
        (own, local_context(unknown.clone())),
    ] {
        let result = deliver(&*channel(config, &context)).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
        assert!(server.next_mail().await.tls);
    }

    let mut server = SmtpServer::start("starttls", &["--auth", LOGIN]).await;
    let smtp = json!({"tls": "opportunistic", "username": "alerts", "password": PASSWORD});
    let config = own_server(&["a@example.com"], server.port, smtp);
    let result = deliver(&*channel(config.clone(), &local_context(unknown))).await;
    assert_eq!(
        (result.outcome, result.error_class),
        (RETRY, Some(ErrorClass::Tls)),
        "a login needs a valid certificate"
    );
    let result = deliver(&*channel(config, &local_context(server.roots.clone()))).await;
    assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
    assert!(server.next_mail().await.tls);
}

#[tokio::test]
async fn private_certificate_is_trusted_where_it_is_given() {
    for mode in ["tls", "starttls"] {
        let mut server = SmtpServer::start(mode, &["--auth", LOGIN]).await;
        let context = local_context(RootCertStore::empty());
        let with = |host: &str, tls: Value| {
            let smtp = json!({"host": host, "tls": tls, "username": "alerts", "password": PASSWORD});
            channel(own_server(&["a@example.com"], server.port, smtp), &context)
        };
        let refused = deliver(&*with("localhost", json!({"mode": mode}))).await;
        let error = refused.error.unwrap();
        assert!(error.contains("if it is your own, give it in smtp.tls.caCertificate"), "{error}");
        let given = json!({"mode": mode, "caCertificate": server.certificate});
        let result = deliver(&*with("localhost", given.clone())).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
        let mut named = given;
        named["serverName"] = json!("localhost");
        let result = deliver(&*with("127.0.0.1", named)).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
        assert!(server.next_mail().await.tls && server.next_mail().await.tls);
    }
}

#[tokio::test]
async fn token_is_sent_with_xoauth2() {
    let mut server = SmtpServer::start("tls", &["--token", PASSWORD]).await;
    let context = local_context(server.roots.clone());
    let with = |token: &str| {
        let smtp = json!({"tls": "tls", "username": "alerts@example.com", "token": token});
        channel(own_server(&["a@example.com"], server.port, smtp), &context)
    };
    let result = deliver(&*with(PASSWORD)).await;
    assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
    let expired = deliver(&*with(&format!("{PASSWORD}-expired"))).await;
    assert_eq!(
        (expired.outcome, expired.error_class, expired.http_status),
        (RETRY, Some(ErrorClass::Status), Some(535))
    );
    let error = expired.error.unwrap();
    assert!(error.starts_with("the SMTP server refused the user name or token: 535 "), "{error}");
    assert!(error.ends_with("(OAuth status 401)"), "{error}");
    assert_eq!(server.next_mail().await.user.as_deref(), Some("alerts@example.com"));

    let server = SmtpServer::start("tls", &["--auth", LOGIN]).await;
    let smtp = json!({"tls": "tls", "username": "alerts", "token": PASSWORD});
    let channel = channel(own_server(&["a@example.com"], server.port, smtp), &local_context(server.roots.clone()));
    let result = deliver(&*channel).await;
    assert_eq!((result.outcome, result.error_class), (RETRY, Some(ErrorClass::Protocol)));
    assert!(result.error.unwrap().contains("does not offer AUTH XOAUTH2"));
}

/// A channel that names the same server as another, with another password, has connections of its own.
#[tokio::test]
async fn connections_are_shared_only_with_the_same_login() {
    let mut server = SmtpServer::start("tls", &["--auth", LOGIN]).await;
    let context = local_context(server.roots.clone());
    let port = server.port;
    let with = |password: &str| {
        let smtp = json!({"tls": "tls", "username": "alerts", "password": password});
        channel(own_server(&["a@example.com"], port, smtp), &context)
    };
    for _ in 0..2 {
        assert_eq!(deliver(&*with(PASSWORD)).await.outcome, Outcome::Delivered);
    }
    assert_eq!(deliver(&*with(&format!("{PASSWORD}-wrong"))).await.http_status, Some(535));
    server.next_mail().await;
    server.next_mail().await;
    let kept = with(PASSWORD);
    assert_eq!(
        (deliver(&*kept).await.outcome, deliver(&*kept).await.outcome),
        (Outcome::Delivered, Outcome::Delivered)
    );
    let (first, second) = (server.next_mail().await, server.next_mail().await);
    assert_eq!(first.peer, second.peer, "an open channel keeps its connection");
}

#[tokio::test]
async fn untrusted_certificate_is_refused() {
    for tls in ["tls", "starttls"] {
        let mut server = SmtpServer::start(tls, &[]).await;
        let config = own_server(&["a@example.com"], server.port, json!({"tls": tls}));
        let result = deliver(&*channel(config, &local_context(RootCertStore::empty()))).await;
        assert_eq!((result.outcome, result.error_class), (RETRY, Some(ErrorClass::Tls)), "{result:?}");
        assert!(result.error.unwrap().contains("certificate"));
        server.assert_no_more_mail();
    }
}

#[tokio::test]
async fn rendered_mail_is_the_mail_that_is_sent() {
    let mut server = SmtpServer::start("tls", &["--auth", LOGIN]).await;
    let url = format!("smtps://{LOGIN}@127.0.0.1:{}", server.port);
    let channel = channel(for_recipients(&["oncall@example.com"]), &relay_context(&url, server.roots.clone()));
    assert!(deliver(&*channel).await.is_delivered());
    let received = server.next_mail().await;
    let mail = MessageParser::default().parse(received.mail.as_bytes()).unwrap();
    let event = support::event();
    let rendered = match channel.render(&message(&event, Severity::Warning)).unwrap() {
        tidings_channels::Rendered::Mail(mail) => mail,
        other => panic!("{other:?}"),
    };
    let lines = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned();
    assert_eq!(mail.subject(), Some(rendered.subject.as_str()));
    assert_eq!(lines(&mail.body_text(0).unwrap()), lines(&rendered.text));
    assert_eq!(lines(&mail.body_html(0).unwrap()), lines(&rendered.html));
    assert_eq!(
        (rendered.from.as_str(), &*rendered.recipients),
        ("Tidings <tidings@example.com>", &["oncall@example.com".to_owned()][..])
    );
}
