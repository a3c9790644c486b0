//! What an endpoint has where nobody says otherwise, and how far each of its numbers and lists may go.

/// How often it is probed, in seconds.
pub const INTERVAL_SECONDS_DEFAULT: u32 = 60;
/// The shortest interval, in seconds, where the instance's settings do not say.
pub const INTERVAL_SECONDS_MIN_DEFAULT: u32 = 10;
/// The longest interval, in seconds (a day).
pub const INTERVAL_SECONDS_MAX: u32 = 86_400;
/// How long one probe may take, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u32 = 10_000;
/// The shortest timeout, in milliseconds.
pub const TIMEOUT_MS_MIN: u32 = 100;
/// The longest timeout, in milliseconds.
pub const TIMEOUT_MS_MAX: u32 = 120_000;
/// Slower than this is `degraded`, in milliseconds.
pub const LATENCY_THRESHOLD_MS_DEFAULT: u32 = 5_000;
/// The highest latency threshold, in milliseconds. From the timeout on it has no effect.
pub const LATENCY_THRESHOLD_MS_MAX: u32 = 600_000;
/// A certificate that ends within so many days is `degraded`.
pub const SSL_WARNING_DAYS_DEFAULT: u32 = 14;
/// The longest warning, in days (ten years). Zero warns of certificates that have ended only.
pub const SSL_WARNING_DAYS_MAX: u32 = 3_650;
/// Failing checks in a row that open an incident.
pub const FAILURE_THRESHOLD_DEFAULT: u32 = 3;
/// Healthy checks in a row that resolve it.
pub const RECOVERY_THRESHOLD_DEFAULT: u32 = 2;
/// The highest of both thresholds.
pub const THRESHOLD_MAX: u32 = 1_000;
/// The longest cooldown, in seconds (30 days).
pub const COOLDOWN_SECONDS_MAX: u32 = 2_592_000;
/// The longest time between reminders, in minutes (30 days).
pub const REMINDER_MINUTES_MAX: u32 = 43_200;
/// Steps that an escalation may have.
pub const ESCALATION_STEPS_MAX: usize = 10;
/// The latest step, in seconds after the opening (30 days).
pub const ESCALATION_SECONDS_MAX: u32 = 2_592_000;
/// Tags that an endpoint may have.
pub const TAGS_MAX: usize = 20;
/// Longest tag, in characters.
pub const TAG_CHARS_MAX: usize = 50;

/// Redirects that one probe follows.
pub const REDIRECTS_MAX: usize = 5;
/// The methods of HTTP probes.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// The method where nobody says otherwise.
pub const METHOD_DEFAULT: &str = "GET";
/// The status code that is right where nobody says otherwise.
pub const EXPECTED_STATUS_CODE_DEFAULT: u16 = 200;
/// Status codes that one endpoint may list: a whole class of them.
pub const EXPECTED_STATUS_CODES_MAX: usize = 100;
/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// Headers of the user's own.
pub const HEADERS_MAX: usize = 20;
/// Longest name of a header, in bytes.
pub const HEADER_NAME_BYTES_MAX: usize = 100;
/// Longest value of a header, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 4_096;
/// Longest body that is sent along, in bytes.
pub const BODY_BYTES_MAX: usize = 65_536;
/// Longest user of an HTTP authentication, in bytes.
pub const USERNAME_BYTES_MAX: usize = 255;
/// Longest name of a host, in bytes (RFC 1035).
pub const HOST_BYTES_MAX: usize = 253;
/// The records that DNS probes ask for.
pub const RECORD_TYPES: [&str; 6] = ["A", "AAAA", "CNAME", "MX", "NS", "TXT"];
/// Longest expected record, in bytes.
pub const EXPECTED_VALUE_BYTES_MAX: usize = 1_024;
