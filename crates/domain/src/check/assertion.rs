//! The assertion: what an answer must show beyond its status, and which assertions make sense.

use serde::{Deserialize, Serialize};

use super::CheckStatus;
use super::json_path::JsonPath;
use super::number::Number;
use crate::endpoint::{Probe, header_name_fault};
use crate::violation::{Violation, Violations};

/// Assertions that one endpoint may have.
pub const ASSERTIONS_MAX: usize = 10;
/// Longest target, in bytes.
pub const TARGET_BYTES_MAX: usize = 500;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// What an answer must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assertion {
    /// What is looked at.
    pub kind: AssertionKind,
    /// How it is compared.
    pub operator: Operator,
    /// Which header, or which path in the JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it means if it fails: `down` or `degraded`.
    pub severity: CheckStatus,
}

/// What an assertion looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionKind {
    /// The total time, in milliseconds.
    Latency,
    /// The body, as text.
    Body,
    /// A header.
    Header,
    /// A value in the JSON body.
    Json,
    /// The days that the certificate is still valid.
    Ssl,
}

impl AssertionKind {
    /// Every kind, in the order in which documents list them.
    pub const ALL: [Self; 5] = [Self::Latency, Self::Body, Self::Header, Self::Json, Self::Ssl];

    /// The word for it in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Body => "body",
            Self::Header => "header",
            Self::Json => "json",
            Self::Ssl => "ssl",
        }
    }

    /// The kind that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether it makes sense to compare so: texts take every operator, numbers those of numbers. A latency is always
    /// there; a certificate may not be.
    pub const fn takes(self, operator: Operator) -> bool {
        match (self, operator) {
            (Self::Body | Self::Header | Self::Json, _) => true,
            (Self::Ssl, Operator::Exists | Operator::NotExists) => true,
            (Self::Latency | Self::Ssl, _) => {
                operator.is_ordering() || matches!(operator, Operator::Eq | Operator::Neq)
            }
        }
    }

    /// Whether it makes sense for this kind of probe.
    fn fits(self, probe: &Probe) -> bool {
        match self {
            Self::Latency => true,
            Self::Header => matches!(probe, Probe::Http(_)),
            Self::Body | Self::Json => matches!(probe, Probe::Http(http) if http.method != "HEAD"),
            Self::Ssl => matches!(probe, Probe::Http(_) | Probe::Tls { .. }),
        }
    }
}

/// How an assertion compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Less than.
    Lt,
    /// At most.
    Lte,
    /// More than.
    Gt,
    /// At least.
    Gte,
    /// Equal: as numbers if both are, else as texts.
    Eq,
    /// Not equal: as numbers if both are, else as texts.
    Neq,
    /// The text holds it.
    Contains,
    /// The text does not hold it.
    NotContains,
    /// Equal, as texts: `1.0` is not `1`.
    Equals,
    /// It is there.
    Exists,
    /// It is not there.
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

    /// The word for it in the API.
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

    /// The operator that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.as_str() == word)
    }

    /// Whether it asks which of two numbers is larger.
    pub const fn is_ordering(self) -> bool {
        matches!(self, Self::Lt | Self::Lte | Self::Gt | Self::Gte)
    }

    /// Whether it compares with a value.
    pub const fn needs_value(self) -> bool {
        !matches!(self, Self::Exists | Self::NotExists)
    }
}

/// What became of one assertion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssertionResult {
    /// Its place in the list.
    pub index: usize,
    /// Whether it held.
    pub passed: bool,
    /// What was found, shortened; none if there was nothing.
    pub actual: Option<String>,
    /// In words, such as `JSON status: expected to equal "ok", is "starting"`.
    pub description: String,
}

/// What is wrong with the assertions of an endpoint that is probed so, seen from their list.
pub(crate) fn violations(assertions: &[Assertion], probe: &Probe) -> Violations {
    if assertions.len() > ASSERTIONS_MAX {
        return vec![Violation::new("", format!("must list at most {ASSERTIONS_MAX} assertions"))];
    }
    let of_one =
        |(index, assertion)| faults(assertion, probe).into_iter().map(move |fault| fault.under(format!("/{index}")));
    assertions.iter().enumerate().flat_map(of_one).collect()
}

fn faults(assertion: &Assertion, probe: &Probe) -> Violations {
    let Assertion { kind, operator, .. } = *assertion;
    let mut found = Violations::new();
    let mut refuse = |field: &str, message: String| found.push(Violation::new(field, message));
    if !kind.fits(probe) {
        refuse("/kind", kind_message(kind, probe));
    }
    if !kind.takes(operator) {
        let fitting: Vec<_> =
            Operator::ALL.into_iter().filter(|other| kind.takes(*other)).map(Operator::as_str).collect();
        refuse("/operator", format!("does not fit {}: must be one of {}", kind.as_str(), fitting.join(", ")));
    }
    if let Some(message) = target_fault(kind, assertion.target.as_deref().unwrap_or("")) {
        refuse("/target", message);
    }
    if let Some(message) = value_fault(kind, operator, assertion.value.as_deref()) {
        refuse("/value", message);
    }
    if !assertion.severity.is_failing() {
        refuse("/severity", "must be down or degraded".to_owned());
    }
    found
}

fn kind_message(kind: AssertionKind, probe: &Probe) -> String {
    match (kind, probe) {
        (AssertionKind::Body | AssertionKind::Json, Probe::Http(_)) => "answers to HEAD have no body".to_owned(),
        (AssertionKind::Ssl, _) => "only HTTP and TLS show a certificate".to_owned(),
        _ => format!("only HTTP answers have a {}", if kind == AssertionKind::Header { "header" } else { "body" }),
    }
}

/// An empty target is none.
fn target_fault(kind: AssertionKind, target: &str) -> Option<String> {
    match kind {
        _ if target.len() > TARGET_BYTES_MAX => Some(format!("must be at most {TARGET_BYTES_MAX} bytes")),
        AssertionKind::Header => header_name_fault(target).map(str::to_owned),
        AssertionKind::Json => JsonPath::parse(target).err().map(|fault| format!("is no path: {fault}")),
        _ if target.is_empty() => None,
        _ => Some(format!("must be absent: {} has none", kind.as_str())),
    }
}

fn value_fault(kind: AssertionKind, operator: Operator, value: Option<&str>) -> Option<String> {
    let is_number = || value.is_some_and(|value| Number::parse(value).is_some());
    let is_text_only = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    match (operator, value) {
        (Operator::Exists | Operator::NotExists, None | Some("")) => None,
        (Operator::Exists | Operator::NotExists, Some(_)) => {
            Some(format!("must be absent: {} compares with nothing", operator.as_str()))
        }
        (_, None) => Some(format!("is missing: {} compares with it", operator.as_str())),
        (_, Some(value)) if value.len() > VALUE_BYTES_MAX => Some(format!("must be at most {VALUE_BYTES_MAX} bytes")),
        (_, Some(value)) if value.contains(is_text_only) => {
            Some("must not hold control characters other than tabs and line breaks".to_owned())
        }
        _ if matches!(kind, AssertionKind::Latency | AssertionKind::Ssl) && !is_number() => {
            Some(format!("must be a number of {}", if kind == AssertionKind::Ssl { "days" } else { "milliseconds" }))
        }
        _ if operator.is_ordering() && !is_number() => Some("must be a number, in quotes, such as \"10\"".to_owned()),
        (Operator::Contains | Operator::NotContains, Some("")) => {
            Some("must not be empty: every text contains the empty one".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::endpoint::HttpProbe;

    /// An assertion that means `down`.
    pub(crate) fn assertion(kind: AssertionKind, operator: Operator, target: &str, value: &str) -> Assertion {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Assertion { kind, operator, target: given(target), value: given(value), severity: CheckStatus::Down }
    }

    fn http() -> Probe {
        Probe::Http(HttpProbe::new("https://example.com/"))
    }

    fn wrong(one: Assertion, probe: &Probe) -> Vec<String> {
        violations(&[one], probe).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_word_everywhere() {
        for kind in AssertionKind::ALL {
            assert_eq!(AssertionKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for operator in Operator::ALL {
            assert_eq!(Operator::parse(operator.as_str()), Some(operator));
            assert_eq!(serde_json::to_value(operator).unwrap(), operator.as_str());
        }
    }

    #[test]
    fn each_kind_takes_the_operators_that_fit() {
        let fitting = |kind: AssertionKind| Operator::ALL.into_iter().filter(|operator| kind.takes(*operator)).count();
        assert_eq!(AssertionKind::ALL.map(fitting), [6, 11, 11, 11, 8]);
        assert_eq!(
            wrong(assertion(AssertionKind::Latency, Operator::Contains, "", "5"), &http()),
            ["/0/operator: does not fit latency: must be one of lt, lte, gt, gte, eq, neq"]
        );
    }

    #[test]
    fn good_assertions_have_no_violations() {
        use {AssertionKind::*, Operator::*};
        for good in [
            assertion(Latency, Lt, "", "500"),
            assertion(Ssl, Gte, "", "30.5"),
            assertion(Ssl, Exists, "", ""),
            assertion(Body, Contains, "", "line\nbreak"),
            assertion(Body, NotExists, "", ""),
            assertion(Header, Equals, "Content-Type", "text/html"),
            assertion(Json, Eq, "data.items[0].name", "ok"),
            assertion(Json, Lt, "$", "-1e3"),
        ] {
            assert_eq!(wrong(good.clone(), &http()), [""; 0], "{good:?}");
        }
        let empty = Assertion { value: Some(String::new()), ..assertion(Header, Equals, "x", "") };
        assert_eq!(wrong(empty, &http()), [""; 0], "a header may be there and empty");
        let tls = Probe::Tls { host: "example.com".into(), port: 443 };
        assert_eq!(wrong(assertion(Ssl, Gt, "", "7"), &tls), [""; 0]);
    }

    #[test]
    fn each_fault_is_named_at_its_field() {
        use {AssertionKind::*, Operator::*};
        let long = "x".repeat(TARGET_BYTES_MAX + 1);
        for (bad, at) in [
            (assertion(Latency, Lt, "", ""), "/0/value: is missing"),
            (assertion(Latency, Eq, "", "fast"), "/0/value: must be a number of milliseconds"),
            (assertion(Ssl, Gt, "", "14d"), "/0/value: must be a number of days"),
            (assertion(Latency, Lt, "x", "1"), "/0/target: must be absent"),
            (assertion(Body, Gt, "", "many"), "/0/value: must be a number"),
            (assertion(Body, Exists, "", "x"), "/0/value: must be absent"),
            (assertion(Body, Equals, "", "a\0"), "/0/value: must not hold control"),
            (assertion(Body, Equals, "", &"x".repeat(VALUE_BYTES_MAX + 1)), "/0/value: must be at most"),
            (assertion(Header, Exists, "", ""), "/0/target: must not be empty"),
            (assertion(Header, Exists, "a b", ""), "/0/target: must be a header name"),
            (assertion(Json, Exists, "", ""), "/0/target: is no path: at character 1"),
            (assertion(Json, Exists, "a[", ""), "/0/target: is no path: at character 3: expected an index"),
            (assertion(Json, Exists, &long, ""), "/0/target: must be at most 500 bytes"),
            (Assertion { value: Some("".into()), ..assertion(Body, Contains, "", "") }, "/0/value: must not be empty"),
            (
                Assertion { severity: CheckStatus::Healthy, ..assertion(Body, Exists, "", "") },
                "/0/severity: must be down or degraded",
            ),
        ] {
            let found = wrong(bad.clone(), &http());
            assert!(found.len() == 1 && found[0].starts_with(at), "{bad:?}: {found:?}");
        }
        let eleven = vec![assertion(Body, Exists, "", ""); ASSERTIONS_MAX + 1];
        assert_eq!(violations(&eleven, &http()).len(), 1);
        assert_eq!(violations(&eleven, &http())[0].pointer, "");
    }

    #[test]
    fn an_assertion_must_fit_the_probe() {
        let tcp = Probe::Tcp { host: "db".into(), port: 5432 };
        let head = Probe::Http(HttpProbe { method: "HEAD".into(), ..HttpProbe::new("https://example.com/") });
        for (kind, probe, message) in [
            (AssertionKind::Body, &tcp, "/0/kind: only HTTP answers have a body"),
            (AssertionKind::Ssl, &tcp, "/0/kind: only HTTP and TLS show a certificate"),
            (AssertionKind::Body, &head, "/0/kind: answers to HEAD have no body"),
        ] {
            assert_eq!(wrong(assertion(kind, Operator::Exists, "", ""), probe), [message]);
        }
        assert_eq!(
            wrong(assertion(AssertionKind::Header, Operator::Exists, "x", ""), &tcp),
            ["/0/kind: only HTTP answers have a header"]
        );
    }
}
