//! Assertions: conditions on a response beyond its status code, and their validation.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CheckStatus;
use super::json_path::JsonPath;
use super::number::Number;
use crate::endpoint::{Probe, validate_header_name};
use crate::violation::{Violation, Violations};

/// Most assertions of one endpoint.
pub const ASSERTIONS_MAX: usize = 10;
/// Longest target, in bytes.
pub const TARGET_BYTES_MAX: usize = 500;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// A condition that a response must satisfy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assertion {
    pub kind: AssertionKind,
    pub operator: Operator,
    /// The name of the header, or the path into the JSON body; absent for the other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub target: Option<String>,
    /// What the extracted value is compared with, numbers as text, too; absent for `exists` and `not_exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1_024)]
    pub value: Option<String>,
    /// The status of the check if the assertion fails: `down` or `degraded`.
    #[serde(default = "down")]
    pub severity: CheckStatus,
}

const fn down() -> CheckStatus {
    CheckStatus::Down
}

/// Which part of a response an assertion is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssertionKind {
    /// The total time, in milliseconds.
    Latency,
    /// The body as text.
    Body,
    Header,
    /// A value in the JSON body.
    Json,
    /// The whole days until the certificate expires.
    Ssl,
}

impl AssertionKind {
    /// Every kind, in the order in which documents list them.
    pub const ALL: [Self; 5] = [Self::Latency, Self::Body, Self::Header, Self::Json, Self::Ssl];

    /// The wire name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Body => "body",
            Self::Header => "header",
            Self::Json => "json",
            Self::Ssl => "ssl",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the kind can be compared with this operator: texts take every operator, numbers only the numeric ones.
    /// `ssl` also takes `exists`, as there may be no certificate.
    pub const fn takes(self, operator: Operator) -> bool {
        match (self, operator) {
            (Self::Body | Self::Header | Self::Json, _) => true,
            (Self::Ssl, Operator::Exists | Operator::NotExists) => true,
            (Self::Latency | Self::Ssl, _) => {
                operator.is_ordering() || matches!(operator, Operator::Eq | Operator::Neq)
            }
        }
    }

    /// Whether this type of probe yields such a value.
    fn fits(self, probe: &Probe) -> bool {
        match self {
            Self::Latency => !probe.is_external(),
            Self::Header => matches!(probe, Probe::Http(_)),
            Self::Body | Self::Json => matches!(probe, Probe::Http(http) if http.method != "HEAD"),
            Self::Ssl => matches!(probe, Probe::Http(_) | Probe::Tls { .. }),
        }
    }
}

/// How an assertion compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    Lt,
    Lte,
    Gt,
    Gte,
    /// Equal: as numbers if both are numbers, else as texts.
    Eq,
    /// Not equal: as numbers if both are numbers, else as texts.
    Neq,
    Contains,
    NotContains,
    /// Equal as texts: `1.0` is not `1`.
    Equals,
    Exists,
    NotExists,
}

impl Operator {
    /// Every operator, in the order in which documents list them.
    pub const ALL: [Self; 11] = [
        Self::Lt,
        Self::Lte,
        Self::Gt,
        Self::Gte,
        Self::Eq,
        Self::Neq,
        Self::Contains,
        Self::NotContains,
        Self::Equals,
        Self::Exists,
        Self::NotExists,
    ];

    /// The wire name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Contains => "contains",
            Self::NotContains => "not_contains",
            Self::Equals => "equals",
            Self::Exists => "exists",
            Self::NotExists => "not_exists",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.as_str() == name)
    }

    /// Whether it compares the order of two numbers.
    pub const fn is_ordering(self) -> bool {
        matches!(self, Self::Lt | Self::Lte | Self::Gt | Self::Gte)
    }

    /// Whether the assertion needs a `value`.
    pub const fn needs_value(self) -> bool {
        !matches!(self, Self::Exists | Self::NotExists)
    }
}

/// The result of evaluating one assertion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssertionResult {
    /// The assertion's position in the definition's list.
    pub index: usize,
    pub passed: bool,
    /// Whether the part of the response that was seen does not decide it. It has not passed then, but is no failure.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inconclusive: bool,
    /// The extracted value, truncated; null if there was none.
    pub actual: Option<String>,
    /// For people, such as `JSON status: expected to equal "ok", is "starting"`.
    pub description: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Everything wrong with the assertions of an endpoint with this probe. Pointers are relative to the list.
pub(crate) fn violations(assertions: &[Assertion], probe: &Probe) -> Violations {
    if assertions.len() > ASSERTIONS_MAX {
        return vec![Violation::new("", format!("must list at most {ASSERTIONS_MAX} assertions"))];
    }
    let validate_at = |(index, assertion)| {
        validate(assertion, probe).into_iter().map(move |violation| violation.under(format!("/{index}")))
    };
    assertions.iter().enumerate().flat_map(validate_at).collect()
}

fn validate(assertion: &Assertion, probe: &Probe) -> Violations {
    let Assertion { kind, operator, .. } = *assertion;
    let mut violations = Violations::new();
    let mut error = |field: &str, message: String| violations.push(Violation::new(field, message));
    if !kind.fits(probe) {
        error("/kind", kind_message(kind, probe));
    }
    if !kind.takes(operator) {
        let fitting: Vec<_> =
            Operator::ALL.into_iter().filter(|other| kind.takes(*other)).map(Operator::as_str).collect();
        error("/operator", format!("does not fit {}: must be one of {}", kind.as_str(), fitting.join(", ")));
    }
    if let Some(message) = validate_target(kind, assertion.target.as_deref().unwrap_or("")) {
        error("/target", message);
    }
    if let Some(message) = validate_value(kind, operator, assertion.value.as_deref()) {
        error("/value", message);
    }
    if !assertion.severity.is_failing() {
        error("/severity", "must be down or degraded".to_owned());
    }
    violations
}

fn kind_message(kind: AssertionKind, probe: &Probe) -> String {
    match (kind, probe) {
        (_, Probe::External { .. }) => "checks of an external endpoint are reported with their verdict".to_owned(),
        (AssertionKind::Body | AssertionKind::Json, Probe::Http(_)) => "responses to HEAD have no body".to_owned(),
        (AssertionKind::Ssl, _) => "only HTTP and TLS probes see a certificate".to_owned(),
        _ => format!("only HTTP responses have a {}", if kind == AssertionKind::Header { "header" } else { "body" }),
    }
}

/// What is wrong with the target, if anything. An empty target counts as absent.
fn validate_target(kind: AssertionKind, target: &str) -> Option<String> {
    match kind {
        _ if target.len() > TARGET_BYTES_MAX => Some(format!("must be at most {TARGET_BYTES_MAX} bytes")),
        AssertionKind::Header => validate_header_name(target).map(str::to_owned),
        AssertionKind::Json => JsonPath::parse(target).err().map(|error| format!("is not a valid path: {error}")),
        _ if target.is_empty() => None,
        _ => Some(format!("must be absent: {} has no target", kind.as_str())),
    }
}

/// What is wrong with the value, if anything. An empty value counts as absent where none is needed.
fn validate_value(kind: AssertionKind, operator: Operator, value: Option<&str>) -> Option<String> {
    let is_number = || value.is_some_and(|value| Number::parse(value).is_some());
    let is_forbidden = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    match (operator, value) {
        (Operator::Exists | Operator::NotExists, None | Some("")) => None,
        (Operator::Exists | Operator::NotExists, Some(_)) => {
            Some(format!("must be absent: {} compares with no value", operator.as_str()))
        }
        (_, None) => Some(format!("is missing: {} needs a value", operator.as_str())),
        (_, Some(value)) if value.len() > VALUE_BYTES_MAX => Some(format!("must be at most {VALUE_BYTES_MAX} bytes")),
        (_, Some(value)) if value.contains(is_forbidden) => {
            Some("must not contain control characters other than tabs and line breaks".to_owned())
        }
        _ if matches!(kind, AssertionKind::Latency | AssertionKind::Ssl) && !is_number() => {
            Some(format!("must be a number of {}", if kind == AssertionKind::Ssl { "days" } else { "milliseconds" }))
        }
        _ if operator.is_ordering() && !is_number() => Some("must be a number as a string, such as \"10\"".to_owned()),
        (Operator::Contains | Operator::NotContains, Some("")) => {
            Some("must not be empty: every text contains the empty text".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
