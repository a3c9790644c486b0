//! The endpoint: a thing that is watched, how it is probed and what its checks mean.
//!
//! Probes go by it, [`crate::check::judge()`] judges them by it, and [`crate::incident`] counts by its thresholds.

mod headers;
mod limits;
mod target;
mod violations;

use serde::{Deserialize, Serialize};

use crate::check::Assertion;
use crate::id::{ChannelId, EndpointId, WorkspaceId};
use crate::maintenance::MaintenanceWindow;
use crate::time::Timestamp;

pub use limits::*;
pub(crate) use target::header_name_fault;
pub use violations::violations;

/// An endpoint. Its secrets (passwords and tokens of `auth`) are kept apart, sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// Its name, for people.
    pub name: String,
    /// Whether it is watched; false while it is paused.
    pub enabled: bool,
    /// What is watched, and how it is judged.
    pub definition: Definition,
    /// Rises with every edit.
    pub revision: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

/// What is watched, how often, and what follows from its checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// How it is probed.
    #[serde(flatten)]
    pub probe: Probe,
    /// What an answer must show beyond its status; at most [`crate::check::ASSERTIONS_MAX`].
    pub assertions: Vec<Assertion>,
    /// How often, in seconds.
    pub interval_seconds: u32,
    /// How long one probe may take, in milliseconds.
    pub timeout_ms: u32,
    /// Slower than this is `degraded`, in milliseconds.
    pub latency_threshold_ms: u32,
    /// A certificate that ends within so many days is `degraded`.
    pub ssl_warning_days: u32,
    /// Failing checks in a row that open an incident.
    pub failure_threshold: u32,
    /// Healthy checks in a row that resolve it.
    pub recovery_threshold: u32,
    /// How long after an opening was said the next one is not, in seconds, for each channel.
    pub cooldown_seconds: u32,
    /// Whether `incident_resolved` is said.
    pub recovery_alert: bool,
    /// Its outage holds back this one's alerts.
    pub parent_id: Option<EndpointId>,
    /// While an incident is open it is said again so often, in minutes.
    pub reminder_minutes: Option<u32>,
    /// When nothing is said, because it is worked on.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Who else hears of an incident that nobody acknowledged.
    pub escalation: Vec<EscalationStep>,
    /// Words of the user's own.
    pub tags: Vec<String>,
}

impl Definition {
    /// A definition with this probe and the product's defaults for all else.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            assertions: Vec::new(),
            interval_seconds: INTERVAL_SECONDS_DEFAULT,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            latency_threshold_ms: LATENCY_THRESHOLD_MS_DEFAULT,
            ssl_warning_days: SSL_WARNING_DAYS_DEFAULT,
            failure_threshold: FAILURE_THRESHOLD_DEFAULT,
            recovery_threshold: RECOVERY_THRESHOLD_DEFAULT,
            cooldown_seconds: 0,
            recovery_alert: true,
            parent_id: None,
            reminder_minutes: None,
            maintenance_windows: Vec::new(),
            escalation: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// How an endpoint is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Probe {
    /// One HTTP exchange.
    Http(HttpProbe),
    /// A TCP connection.
    #[serde(rename_all = "camelCase")]
    Tcp {
        /// Name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// An ICMP echo.
    #[serde(rename_all = "camelCase")]
    Icmp {
        /// Name or address.
        host: String,
    },
    /// A question to the name service.
    #[serde(rename_all = "camelCase")]
    Dns {
        /// The name asked for.
        host: String,
        /// What is asked for: `A`, `AAAA`, `CNAME`, `MX`, `NS` or `TXT`.
        record_type: String,
        /// One of the records must be this; any will do if absent.
        expected_value: Option<String>,
    },
    /// A TLS handshake, for the certificate's sake.
    #[serde(rename_all = "camelCase")]
    Tls {
        /// Name or address.
        host: String,
        /// The port.
        port: u16,
    },
}

/// One HTTP exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    /// Where to.
    pub url: String,
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`.
    pub method: String,
    /// Headers of the user's own, in their order.
    #[serde(with = "headers")]
    pub headers: Vec<(String, String)>,
    /// What is sent along.
    pub body: Option<String>,
    /// How Tidings shows who it is.
    pub auth: Option<Auth>,
    /// Whether redirects are followed, at most [`REDIRECTS_MAX`].
    pub follow_redirects: bool,
    /// The status codes that are right.
    pub expected_status_codes: Vec<u16>,
}

impl HttpProbe {
    /// A plain `GET` of the URL that expects 200 and follows redirects.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: METHOD_DEFAULT.to_owned(),
            headers: Vec::new(),
            body: None,
            auth: None,
            follow_redirects: true,
            expected_status_codes: vec![EXPECTED_STATUS_CODE_DEFAULT],
        }
    }
}

/// How Tidings shows who it is, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Auth {
    /// User and password (RFC 7617); the password is the secret.
    Basic {
        /// The user.
        username: String,
    },
    /// A token (RFC 6750), which is the secret.
    Bearer,
}

/// Tells somebody else when an incident is still open, and nobody has acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EscalationStep {
    /// So long after the opening, in seconds.
    pub after_seconds: u32,
    /// Through this channel.
    pub channel_id: ChannelId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let definition = Definition::new(Probe::Http(HttpProbe::new("https://api.example.com/health")));
        assert_eq!(
            serde_json::to_value(&definition).unwrap(),
            serde_json::json!({
                "type": "http", "url": "https://api.example.com/health", "method": "GET", "headers": {}, "body": null,
                "auth": null, "followRedirects": true, "expectedStatusCodes": [200], "assertions": [],
                "intervalSeconds": 60, "timeoutMs": 10_000, "latencyThresholdMs": 5_000, "sslWarningDays": 14,
                "failureThreshold": 3, "recoveryThreshold": 2, "cooldownSeconds": 0, "recoveryAlert": true,
                "parentId": null, "reminderMinutes": null, "maintenanceWindows": [], "escalation": [], "tags": []
            })
        );
        assert_eq!((REDIRECTS_MAX, INTERVAL_SECONDS_MIN_DEFAULT), (5, 10));
    }

    #[test]
    fn a_definition_reads_back_from_the_store() {
        for probe in [
            Probe::Http(HttpProbe { auth: Some(Auth::Basic { username: "u".into() }), ..HttpProbe::new("http://a/") }),
            Probe::Tcp { host: "a".into(), port: 1 },
            Probe::Icmp { host: "a".into() },
            Probe::Dns { host: "a".into(), record_type: "MX".into(), expected_value: None },
            Probe::Tls { host: "a".into(), port: 443 },
        ] {
            let definition = Definition::new(probe);
            let stored = serde_json::to_string(&definition).unwrap();
            assert_eq!(serde_json::from_str::<Definition>(&stored).unwrap(), definition);
        }
    }
}
