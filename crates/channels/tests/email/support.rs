//! What the email tests share: contexts, channels and messages.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::{Value, json};
use tidings_channels::egress::{DnsResolver, Egress, Guard};
use tidings_channels::email::{Email, RelayConfig};
use tidings_channels::{AttemptResult, ChannelContext, ChannelPlugin, Notifier, OutboundMessage};
use tidings_domain::calendar::Zone;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::id::{DeliveryId, EventId, Id as _, RuleId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

/// The password in all tests. Its presence in any output is a leak.
pub const PASSWORD: &str = "marked-hunter2-password";

/// User name and password, as the server expects them.
pub const LOGIN: &str = "alerts:marked-hunter2-password";

/// A context that allows no private address.
pub fn guarded_context(roots: RootCertStore) -> ChannelContext {
    ChannelContext::new(Arc::new(Egress::with(Guard::default(), Arc::new(DnsResolver::system()), roots)))
}

/// A context that allows this machine.
pub fn local_context(roots: RootCertStore) -> ChannelContext {
    let guard = Guard { allow: ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).into(), allow_http: false };
    ChannelContext::new(Arc::new(Egress::with(guard, Arc::new(DnsResolver::system()), roots)))
}

/// A guarded context with this mail server as the instance's.
pub fn relay_context(url: &str, roots: RootCertStore) -> ChannelContext {
    let mail = RelayConfig::parse(url, "Tidings <tidings@example.com>").unwrap();
    ChannelContext { relay: Some(Arc::new(mail)), ..guarded_context(roots) }
}

/// An open channel with this configuration, as after storing it.
pub fn channel(config: Value, context: &ChannelContext) -> Arc<dyn Notifier> {
    let stored = Email.check(config.as_object().unwrap(), None, context).unwrap();
    assert!(!format!("{stored:?}{}", Value::Object(stored.settings.clone())).contains(PASSWORD));
    Email.open(&stored, context).unwrap()
}

/// A configuration that uses the instance's server.
pub fn for_recipients(recipients: &[&str]) -> Value {
    json!({"recipients": recipients})
}

/// A configuration with its own server on this machine.
pub fn own_server(recipients: &[&str], port: u16, more: Value) -> Value {
    let mut smtp = json!({"host": "localhost", "port": port, "from": "Alerts <alerts@example.org>"});
    smtp.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"recipients": recipients, "smtp": smtp})
}

/// A failed run whose texts try to break a mail.
pub fn event() -> Event {
    let (id, workspace_id) = (EventId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
    let now = Timestamp::from_unix_ms(1_777_694_412_345);
    let mut event = Event::sample(id, workspace_id, ResourceType::Flow, "f1", now);
    event.kind = EventKind::RunTerminal;
    event.trigger = Trigger::Failure;
    event.run_id = "01HX3K9T7Q".into();
    event.run_mut().resource_name = Some("Umsätze täglich".into());
    event.run_mut().duration_ms = Some(1_842);
    event.run_mut().error_message = Some(format!("first\r\n.\r\n..\r\nQUIT\r\n{}\r\n<b>", "ä".repeat(3_000)));
    event.run_mut().deep_link = Some("https://app.example.com/flows/f1".into());
    event
}

static UTC: Zone = Zone::UTC;

/// A first attempt to deliver the event.
pub fn message(event: &Event, severity: Severity) -> OutboundMessage<'_> {
    OutboundMessage {
        delivery_id: DeliveryId::from_bytes([7; 16]),
        rule_id: Some(RuleId::from_bytes([3; 16])),
        channel_id: None,
        event,
        severity,
        zone: &UTC,
        now: event.received_at,
        timeout: Duration::from_secs(15),
        fresh: false,
        attempt_state: None,
        thread: None,
    }
}

/// An attempt with the state of the last one.
pub async fn deliver_again(channel: &dyn Notifier, attempt_state: Option<&str>, timeout: Duration) -> AttemptResult {
    let event = event();
    let result =
        channel.deliver(&OutboundMessage { timeout, attempt_state, ..message(&event, Severity::Warning) }).await;
    assert!(!format!("{result:?}").contains(PASSWORD), "the password leaked: {result:?}");
    result
}

/// The first attempt.
pub async fn deliver(channel: &dyn Notifier) -> AttemptResult {
    deliver_again(channel, None, Duration::from_secs(15)).await
}
