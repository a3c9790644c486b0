//! Endpoints: what is monitored, how it is probed and how its checks are judged.
//!
//! The prober follows a [`Definition`], [`crate::check::judge()`] judges observations by it, and [`crate::incident`] uses
//! its thresholds. [`violations()`] validates it; `limits.rs` has the defaults and bounds, `target.rs` the rules for URLs,
//! hosts and headers.

mod expected_status;
mod headers;
mod limits;
mod target;
mod violations;

use serde::{Deserialize, Serialize};

use crate::check::Assertion;
use crate::id::{ChannelId, EndpointId, WorkspaceId};
use crate::incident::Cause;
use crate::maintenance::MaintenanceWindow;
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::tls::TlsSettings;

pub use expected_status::ExpectedStatus;
pub use limits::*;
pub(crate) use target::validate_header_name;
pub use violations::{insecure_tls_violation, violations};

/// An endpoint. The secrets of its `auth` are not part of it; they are stored encrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    pub id: EndpointId,
    pub workspace_id: WorkspaceId,
    pub name: String,
    /// False while monitoring is paused.
    pub enabled: bool,
    pub definition: Definition,
    /// Incremented by every edit.
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How an endpoint is probed and judged, and what its incidents do. One type for drafts, the stored JSON and the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    #[serde(flatten)]
    pub probe: Probe,
    /// Conditions on the response beyond its status code; at most [`crate::check::ASSERTIONS_MAX`].
    pub assertions: Vec<Assertion>,
    pub interval_seconds: u32,
    /// The time limit of one probe, in milliseconds.
    pub timeout_ms: u32,
    /// A slower response is `degraded`, in milliseconds.
    pub latency_threshold_ms: u32,
    /// A certificate that expires within this many days is `degraded`.
    pub ssl_warning_days: u32,
    /// The severity of an incident while the endpoint is down. Definitions of earlier versions have none.
    #[serde(default = "default_severity")]
    pub severity: Severity,
    /// Failing checks in a row that open an incident.
    pub failure_threshold: u32,
    /// Healthy checks in a row that resolve it.
    pub recovery_threshold: u32,
    /// How long after an opening further ones are suppressed, per channel, in seconds.
    pub cooldown_seconds: u32,
    /// Whether `incident_resolved` is sent.
    pub recovery_alert: bool,
    /// The endpoint on which this one depends: while the parent has an active incident, alerts are suppressed (gate 9).
    pub parent_id: Option<EndpointId>,
    /// The time between reminders of an open incident, in minutes; `None` for no reminders.
    pub reminder_minutes: Option<u32>,
    /// When alerts are suppressed because of planned work.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Further channels to notify while an incident is not acknowledged.
    pub escalation: Vec<EscalationStep>,
    /// Free-form labels.
    pub tags: Vec<String>,
}

impl Definition {
    /// A definition with this probe and defaults for everything else.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            assertions: Vec::new(),
            interval_seconds: INTERVAL_SECONDS_DEFAULT,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            latency_threshold_ms: LATENCY_THRESHOLD_MS_DEFAULT,
            ssl_warning_days: SSL_WARNING_DAYS_DEFAULT,
            severity: SEVERITY_DEFAULT,
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

    /// The severity of an incident of this endpoint with this cause.
    pub const fn severity_of(&self, cause: Cause) -> Severity {
        match cause {
            Cause::EndpointDown => self.severity,
            Cause::EndpointDegraded | Cause::Alert => cause.severity(),
        }
    }
}

const fn default_severity() -> Severity {
    SEVERITY_DEFAULT
}

/// The type of an endpoint's probe, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Probe {
    /// An HTTP request.
    Http(HttpProbe),
    /// A TCP connection.
    #[serde(rename_all = "camelCase")]
    Tcp { host: String, port: u16 },
    /// An ICMP echo.
    #[serde(rename_all = "camelCase")]
    Icmp { host: String },
    /// A DNS query.
    #[serde(rename_all = "camelCase")]
    Dns {
        host: String,
        /// One of [`RECORD_TYPES`].
        record_type: String,
        /// A record that must be among the results; `None` accepts any record.
        expected_value: Option<String>,
    },
    /// A TLS handshake, to check the certificate.
    #[serde(rename_all = "camelCase")]
    Tls {
        host: String,
        port: u16,
        /// Definitions of earlier versions have none.
        #[serde(default)]
        tls: TlsSettings,
    },
    /// No probe: all checks are reported by external probers.
    #[serde(rename_all = "camelCase")]
    External {
        /// Silence for this long counts as a `down` check; `None` for no limit.
        heartbeat_seconds: Option<u32>,
    },
}

impl Probe {
    /// Whether the endpoint is not probed by Tidings.
    pub const fn is_external(&self) -> bool {
        matches!(self, Self::External { .. })
    }

    /// How TLS is verified, if the probe may use it.
    pub const fn tls(&self) -> Option<&TlsSettings> {
        match self {
            Self::Http(HttpProbe { tls, .. }) | Self::Tls { tls, .. } => Some(tls),
            Self::Tcp { .. } | Self::Icmp { .. } | Self::Dns { .. } | Self::External { .. } => None,
        }
    }
}

/// The parameters of an HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    pub url: String,
    /// One of [`METHODS`].
    pub method: String,
    /// Additional request headers, in the order in which they were given.
    #[serde(with = "headers")]
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub auth: Option<Auth>,
    /// Whether up to [`REDIRECTS_MAX`] redirects are followed.
    pub follow_redirects: bool,
    /// The status codes that count as up.
    pub expected_status_codes: Vec<ExpectedStatus>,
    /// Definitions of earlier versions have none.
    #[serde(default)]
    pub tls: TlsSettings,
}

impl HttpProbe {
    /// A `GET` of the URL that expects 200 and follows redirects.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: METHOD_DEFAULT.to_owned(),
            headers: Vec::new(),
            body: None,
            auth: None,
            follow_redirects: true,
            expected_status_codes: vec![ExpectedStatus::Code(EXPECTED_STATUS_CODE_DEFAULT)],
            tls: TlsSettings::default(),
        }
    }
}

/// How an HTTP probe authenticates, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Auth {
    /// User name and password (RFC 7617); the password is the secret.
    Basic { username: String },
    /// A bearer token (RFC 6750), which is the secret.
    Bearer,
}

/// Notifies a further channel if an incident is still open and not acknowledged after some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EscalationStep {
    /// The time since the opening, in seconds.
    pub after_seconds: u32,
    pub channel_id: ChannelId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Verify;

    #[test]
    fn definition_defaults_match_the_api() {
        let definition = Definition::new(Probe::Http(HttpProbe::new("https://api.example.com/health")));
        assert_eq!(
            serde_json::to_value(&definition).unwrap(),
            serde_json::json!({
                "type": "http", "url": "https://api.example.com/health", "method": "GET", "headers": {}, "body": null,
                "auth": null, "followRedirects": true, "expectedStatusCodes": [200], "tls": {"verify": "full"}, "assertions": [],
                "intervalSeconds": 60, "timeoutMs": 10_000, "latencyThresholdMs": 5_000, "sslWarningDays": 14, "severity": "critical",
                "failureThreshold": 3, "recoveryThreshold": 2, "cooldownSeconds": 0, "recoveryAlert": true,
                "parentId": null, "reminderMinutes": null, "maintenanceWindows": [], "escalation": [], "tags": []
            })
        );
        assert_eq!((REDIRECTS_MAX, INTERVAL_SECONDS_MIN_DEFAULT), (5, 10));
    }

    #[test]
    fn definition_of_an_earlier_version_gets_the_defaults() {
        let definition = Definition::new(Probe::Http(HttpProbe::new("https://api.example.com/health")));
        let mut stored = serde_json::to_value(&definition).unwrap();
        for added in ["severity", "tls"] {
            stored.as_object_mut().unwrap().remove(added).unwrap();
        }
        assert_eq!(serde_json::from_value::<Definition>(stored).unwrap(), definition);
    }

    #[test]
    fn definition_round_trips_through_json() {
        for probe in [
            Probe::Http(HttpProbe { auth: Some(Auth::Basic { username: "u".into() }), ..HttpProbe::new("http://a/") }),
            Probe::Tcp { host: "a".into(), port: 1 },
            Probe::Icmp { host: "a".into() },
            Probe::Dns { host: "a".into(), record_type: "MX".into(), expected_value: None },
            Probe::Tls {
                host: "a".into(),
                port: 443,
                tls: TlsSettings { verify: Verify::None, ..TlsSettings::default() },
            },
            Probe::External { heartbeat_seconds: Some(60) },
            Probe::External { heartbeat_seconds: None },
        ] {
            let definition = Definition::new(probe);
            let stored = serde_json::to_string(&definition).unwrap();
            assert_eq!(serde_json::from_str::<Definition>(&stored).unwrap(), definition);
        }
    }
}
