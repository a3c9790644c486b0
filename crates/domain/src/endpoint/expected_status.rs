//! The status codes that count as up: single codes and ranges.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A status code, such as `200`, or a range with both ends included, such as `"200-299"`. Kept as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectedStatus {
    Code(u16),
    Range { low: u16, high: u16 },
}

impl ExpectedStatus {
    /// Parses `200` or `200-299`. Whether the numbers make sense is for validation to decide.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let text = text.trim();
            let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_code { text.parse().ok() } else { None }
        };
        match text.split_once('-') {
            None => number(text).map(Self::Code),
            Some((low, high)) => Some(Self::Range { low: number(low)?, high: number(high)? }),
        }
    }

    /// The lowest and the highest code.
    pub const fn bounds(self) -> (u16, u16) {
        match self {
            Self::Code(code) => (code, code),
            Self::Range { low, high } => (low, high),
        }
    }

    /// Whether the code is among those expected.
    pub fn contains(self, code: u16) -> bool {
        let (low, high) = self.bounds();
        (low..=high).contains(&code)
    }
}

impl From<u16> for ExpectedStatus {
    fn from(code: u16) -> Self {
        Self::Code(code)
    }
}

impl fmt::Display for ExpectedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Range { low, high } => write!(f, "{low}-{high}"),
        }
    }
}

impl Serialize for ExpectedStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Code(code) => serializer.serialize_u16(*code),
            Self::Range { .. } => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for ExpectedStatus {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(StatusVisitor)
    }
}

struct StatusVisitor;

impl Visitor<'_> for StatusVisitor {
    type Value = ExpectedStatus;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status code or a range of them")
    }

    fn visit_u64<E: Error>(self, code: u64) -> Result<ExpectedStatus, E> {
        u16::try_from(code).map(ExpectedStatus::Code).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ExpectedStatus, E> {
        ExpectedStatus::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

/// The `format` of a range in schemas.
pub const STATUS_RANGE_FORMAT: &str = "status-range";

impl PartialSchema for ExpectedStatus {
    fn schema() -> RefOr<Schema> {
        let code = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(100)).maximum(Some(599));
        let range = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::Custom(STATUS_RANGE_FORMAT.to_owned())))
            .examples(["200-299"]);
        let either = OneOfBuilder::new().item(code).item(range);
        either.description(Some("A status code, or a range of them with both ends included.")).into()
    }
}

impl ToSchema for ExpectedStatus {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_status_round_trips_as_it_was_given() {
        for (json, low, high) in [("200", 200, 200), ("\"204-206\"", 204, 206), ("\"200-200\"", 200, 200)] {
            let status: ExpectedStatus = serde_json::from_str(json).unwrap();
            assert_eq!((status.bounds(), serde_json::to_string(&status).unwrap()), ((low, high), json.to_owned()));
            assert!(status.contains(low) && status.contains(high));
            assert!(!status.contains(low - 1) && !status.contains(high + 1));
        }
        assert_eq!(ExpectedStatus::parse("404"), Some(ExpectedStatus::Code(404)));
        assert_eq!(ExpectedStatus::parse(" 200 - 299 "), Some(ExpectedStatus::Range { low: 200, high: 299 }));
        for text in ["", "-", "2xx", "200-", "-299", "200-299-300", "+200", "20", "2000", "200,204"] {
            assert_eq!(ExpectedStatus::parse(text), None, "{text}");
        }
    }
}
