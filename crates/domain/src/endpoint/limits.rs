//! Defaults and bounds of endpoint definitions.

use crate::severity::Severity;

/// The default interval between probes, in seconds.
pub const INTERVAL_SECONDS_DEFAULT: u32 = 60;
/// The shortest interval, in seconds, unless the instance's settings set another.
pub const INTERVAL_SECONDS_MIN_DEFAULT: u32 = 10;
/// The longest interval, in seconds (a day).
pub const INTERVAL_SECONDS_MAX: u32 = 86_400;
/// The default timeout of a probe, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u32 = 10_000;
/// The shortest timeout, in milliseconds.
pub const TIMEOUT_MS_MIN: u32 = 100;
/// The longest timeout, in milliseconds.
pub const TIMEOUT_MS_MAX: u32 = 120_000;
/// The default latency threshold, in milliseconds.
pub const LATENCY_THRESHOLD_MS_DEFAULT: u32 = 5_000;
/// The highest latency threshold, in milliseconds. A threshold above the timeout has no effect.
pub const LATENCY_THRESHOLD_MS_MAX: u32 = 600_000;
/// The default certificate warning, in days before expiry.
pub const SSL_WARNING_DAYS_DEFAULT: u32 = 14;
/// The longest certificate warning, in days (ten years). Zero warns only of expired certificates.
pub const SSL_WARNING_DAYS_MAX: u32 = 3_650;
/// The severity of an incident while the endpoint is down, by default.
pub const SEVERITY_DEFAULT: Severity = Severity::Critical;
/// Consecutive failing checks that open an incident, by default.
pub const FAILURE_THRESHOLD_DEFAULT: u32 = 3;
/// Consecutive healthy checks that resolve it, by default.
pub const RECOVERY_THRESHOLD_DEFAULT: u32 = 2;
/// The highest value of either threshold.
pub const THRESHOLD_MAX: u32 = 1_000;
/// The longest cooldown, in seconds (30 days).
pub const COOLDOWN_SECONDS_MAX: u32 = 2_592_000;
/// The longest time between reminders, in minutes (30 days).
pub const REMINDER_MINUTES_MAX: u32 = 43_200;
/// Most steps of an escalation.
pub const ESCALATION_STEPS_MAX: usize = 10;
/// The latest step, in seconds after the opening (30 days).
pub const ESCALATION_SECONDS_MAX: u32 = 2_592_000;
/// Most tags of an endpoint.
pub const TAGS_MAX: usize = 20;
/// Longest tag, in characters.
pub const TAG_CHARS_MAX: usize = 50;

/// The shortest heartbeat of an external endpoint, in seconds.
pub const HEARTBEAT_SECONDS_MIN: u32 = 10;
/// The longest heartbeat, in seconds (30 days).
pub const HEARTBEAT_SECONDS_MAX: u32 = 2_592_000;

/// Most redirects that one probe follows.
pub const REDIRECTS_MAX: usize = 5;
/// The methods of HTTP probes.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// The default method.
pub const METHOD_DEFAULT: &str = "GET";
/// The expected status code by default.
pub const EXPECTED_STATUS_CODE_DEFAULT: u16 = 200;
/// Most expected status codes and ranges of one endpoint.
pub const EXPECTED_STATUS_CODES_MAX: usize = 100;
/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// Most additional request headers.
pub const HEADERS_MAX: usize = 20;
/// Longest header name, in bytes.
pub const HEADER_NAME_BYTES_MAX: usize = 100;
/// Longest header value, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 4_096;
/// Longest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 65_536;
/// Longest user name for HTTP authentication, in bytes.
pub const USERNAME_BYTES_MAX: usize = 255;
/// Longest password or token for HTTP authentication, in bytes.
pub const AUTH_SECRET_BYTES_MAX: usize = 4_096;
/// Longest host name, in bytes (RFC 1035, 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;
/// The record types that DNS probes can query.
pub const RECORD_TYPES: [&str; 6] = ["A", "AAAA", "CNAME", "MX", "NS", "TXT"];
/// Longest expected record, in bytes.
pub const EXPECTED_VALUE_BYTES_MAX: usize = 1_024;
