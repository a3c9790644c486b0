//! Endpoints: what is monitored, how it is probed and how its checks are judged.
//!
//! The prober follows a [`Definition`], [`crate::check::judge()`] judges observations by it, and [`crate::incident`] uses
//! its thresholds. [`violations()`] validates it; `limits.rs` has the defaults and bounds, `target.rs` the rules for URLs,
//! hosts and headers. `secrets.rs` takes the secrets out of a definition to seal them, and puts them back.

mod expected_status;
mod headers;
mod limits;
mod probe_url;
mod secrets;
mod target;
mod violations;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::check::Assertion;
use crate::id::{ChannelId, EndpointId, WorkspaceId};
use crate::incident::Cause;
use crate::maintenance::MaintenanceWindow;
use crate::secret::Secret;
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::tls::TlsSettings;

pub use expected_status::{ExpectedStatus, STATUS_RANGE_FORMAT};
pub use limits::*;
pub use probe_url::{ProbeUrl, is_token};
pub(crate) use target::validate_header_name;
pub use violations::{insecure_tls_violation, is_secret_header, violations};

/// An endpoint. The secrets in its definition are masked where it is serialised, and stored encrypted.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    #[serde(flatten)]
    pub probe: Probe,
    /// Conditions on the response beyond its status code.
    #[schema(max_items = 10)]
    pub assertions: Vec<Assertion>,
    /// The time from one probe to the next, in seconds, but for `external`. The operator sets the minimum (10).
    #[schema(minimum = 1, maximum = 86_400)]
    pub interval_seconds: u32,
    /// The time limit of one probe, in milliseconds; at most the interval.
    #[schema(minimum = 100, maximum = 120_000)]
    pub timeout_ms: u32,
    /// A slower response is `degraded`, in milliseconds.
    #[schema(minimum = 1, maximum = 600_000)]
    pub latency_threshold_ms: u32,
    /// A certificate that expires within this many days is `degraded`.
    #[schema(minimum = 0, maximum = 3_650)]
    pub ssl_warning_days: u32,
    /// The severity of an incident while the endpoint is down: `critical`, `warning` or `info`.
    pub severity: Severity,
    /// Failing checks in a row that open an incident.
    #[schema(minimum = 1, maximum = 1_000)]
    pub failure_threshold: u32,
    /// Healthy checks in a row that resolve it.
    #[schema(minimum = 1, maximum = 1_000)]
    pub recovery_threshold: u32,
    /// How long after an opening further ones are suppressed, per channel, in seconds.
    #[schema(minimum = 0, maximum = 2_592_000)]
    pub cooldown_seconds: u32,
    /// Whether `incident_resolved` is sent.
    pub recovery_alert: bool,
    /// The endpoint on which this one depends: while it has an active incident, notifications of this one are suppressed.
    pub parent_id: Option<EndpointId>,
    /// The time between reminders of an open incident, in minutes; null for no reminders.
    #[schema(minimum = 1, maximum = 43_200)]
    pub reminder_minutes: Option<u32>,
    /// When notifications are suppressed because of planned work.
    #[schema(max_items = 20)]
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Further channels to notify while an incident is not acknowledged.
    #[schema(max_items = 10)]
    pub escalation: Vec<EscalationStep>,
    /// Free-form labels, each of at most 50 characters.
    #[schema(max_items = 20)]
    pub tags: Vec<String>,
}

impl Default for Definition {
    fn default() -> Self {
        Self::new(Probe::External { heartbeat_seconds: None })
    }
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

/// The type of an endpoint's probe, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Probe {
    /// An HTTP request.
    Http(HttpProbe),
    /// A TCP connection.
    #[serde(rename_all = "camelCase")]
    Tcp {
        /// A name or an address.
        #[serde(default)]
        #[schema(required, min_length = 1, max_length = 253)]
        host: String,
        #[serde(default)]
        #[schema(required, minimum = 1)]
        port: u16,
    },
    /// An ICMP echo.
    #[serde(rename_all = "camelCase")]
    Icmp {
        /// A name or an address.
        #[serde(default)]
        #[schema(required, min_length = 1, max_length = 253)]
        host: String,
    },
    /// A DNS query.
    #[serde(rename_all = "camelCase")]
    Dns {
        /// The name that is queried.
        #[serde(default)]
        #[schema(required, min_length = 1, max_length = 253)]
        host: String,
        #[serde(default = "default_record_type")]
        #[schema(schema_with = record_type_schema)]
        record_type: String,
        /// A record that must be among the results; null accepts any record.
        #[serde(default)]
        #[schema(max_length = 1_024)]
        expected_value: Option<String>,
    },
    /// A TLS handshake, to check the certificate.
    #[serde(rename_all = "camelCase")]
    Tls {
        /// A name or an address.
        #[serde(default)]
        #[schema(required, min_length = 1, max_length = 253)]
        host: String,
        #[serde(default = "default_tls_port")]
        #[schema(minimum = 1)]
        port: u16,
        /// How the certificate is verified; null for the defaults.
        #[serde(default, deserialize_with = "null_as_default")]
        #[schema(value_type = Option<TlsSettings>)]
        tls: TlsSettings,
    },
    /// No probe: all checks are reported by external probers.
    #[serde(rename_all = "camelCase")]
    External {
        /// Silence for this long counts as a `down` check, in seconds; null for no limit.
        #[serde(default)]
        #[schema(minimum = 10, maximum = 2_592_000)]
        heartbeat_seconds: Option<u32>,
    },
}

/// The port of TLS probes by default.
const TLS_PORT_DEFAULT: u16 = 443;

fn default_record_type() -> String {
    RECORD_TYPES[0].to_owned()
}

const fn default_tls_port() -> u16 {
    TLS_PORT_DEFAULT
}

fn null_as_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(reader: D) -> Result<T, D::Error> {
    Option::deserialize(reader).map(Option::unwrap_or_default)
}

fn words_schema(words: &[&'static str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied())).build()
}

fn record_type_schema() -> Object {
    words_schema(&RECORD_TYPES)
}

fn method_schema() -> Object {
    words_schema(&METHODS)
}

/// The type of a probe alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeType {
    Http,
    Tcp,
    Icmp,
    Dns,
    Tls,
    External,
}

impl Probe {
    /// Its type.
    pub const fn kind(&self) -> ProbeType {
        match self {
            Self::Http(_) => ProbeType::Http,
            Self::Tcp { .. } => ProbeType::Tcp,
            Self::Icmp { .. } => ProbeType::Icmp,
            Self::Dns { .. } => ProbeType::Dns,
            Self::Tls { .. } => ProbeType::Tls,
            Self::External { .. } => ProbeType::External,
        }
    }

    /// The URL, its tokens masked, or the host; none for an external endpoint.
    pub fn target(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Http(http) => Some(http.url.masked().into()),
            Self::External { .. } => None,
            Self::Tcp { host, .. } | Self::Icmp { host } | Self::Dns { host, .. } | Self::Tls { host, .. } => {
                Some(host.as_str().into())
            }
        }
    }

    /// Whether the endpoint is not probed by Tidings.
    pub const fn is_external(&self) -> bool {
        matches!(self, Self::External { .. })
    }

    /// [`Self::tls`], to change it.
    pub const fn tls_mut(&mut self) -> Option<&mut TlsSettings> {
        match self {
            Self::Http(HttpProbe { tls, .. }) | Self::Tls { tls, .. } => Some(tls),
            Self::Tcp { .. } | Self::Icmp { .. } | Self::Dns { .. } | Self::External { .. } => None,
        }
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpProbe {
    #[schema(required)]
    pub url: ProbeUrl,
    #[schema(schema_with = method_schema)]
    pub method: String,
    /// Additional request headers. Their values are secret, except of harmless ones such as `Accept`.
    #[serde(with = "headers")]
    #[schema(schema_with = headers::schema)]
    pub headers: Vec<(String, Secret)>,
    /// The body of the request, which is secret.
    pub body: Option<Secret>,
    pub auth: Option<Auth>,
    /// Whether up to 5 redirects are followed.
    pub follow_redirects: bool,
    /// The status codes that count as up.
    #[schema(min_items = 1, max_items = 100)]
    pub expected_status_codes: Vec<ExpectedStatus>,
    /// How the certificate is verified; null for the defaults.
    #[serde(deserialize_with = "null_as_default")]
    #[schema(value_type = Option<TlsSettings>)]
    pub tls: TlsSettings,
}

impl Default for HttpProbe {
    fn default() -> Self {
        Self::new("")
    }
}

impl HttpProbe {
    /// A `GET` of the URL that expects 200 and follows redirects.
    pub fn new(url: impl Into<ProbeUrl>) -> Self {
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

/// How an HTTP probe authenticates. The password or token is never shown, not even masked. In an edit an absent or empty
/// one keeps its value, unless the origin of the URL changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Auth {
    /// User name and password (RFC 7617).
    Basic {
        #[serde(default)]
        #[schema(required, max_length = 255)]
        username: String,
        #[serde(default, skip_serializing_if = "is_hidden")]
        #[schema(write_only)]
        password: Secret,
    },
    /// A bearer token (RFC 6750).
    Bearer {
        #[serde(default, skip_serializing_if = "is_hidden")]
        #[schema(write_only)]
        token: Secret,
    },
}

/// Never serialised, not even masked. Not `skip_serializing`, by which the field would be missing in the schema, too.
const fn is_hidden(_: &Secret) -> bool {
    true
}

/// Notifies a further channel if an incident is still open and not acknowledged after some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EscalationStep {
    /// The time since the opening, in seconds.
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub after_seconds: u32,
    /// A shared channel.
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
            Probe::Http(HttpProbe {
                auth: Some(Auth::Basic { username: "u".into(), password: Secret::default() }),
                ..HttpProbe::new("http://a/")
            }),
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
