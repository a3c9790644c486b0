//! Instants: milliseconds since the Unix epoch, serialised as RFC 3339 in UTC.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// An instant with millisecond precision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant this many milliseconds after (before, if negative) the Unix epoch.
    pub const fn from_unix_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down, as signatures and headers use them.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The instant `ms` milliseconds later; saturates.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ms))
    }

    /// The instant `ms` milliseconds earlier; saturates.
    pub const fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub_unsigned(ms))
    }

    /// Milliseconds from `earlier` to this instant; 0 if `earlier` is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        let ms = self.0.saturating_sub(earlier.0);
        if ms < 0 { 0 } else { ms as u64 }
    }

    /// Parses RFC 3339, such as `2026-05-02T04:00:12.345Z` or `…+02:00`; truncates to milliseconds.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|instant| Self(instant.as_millisecond()))
    }

    /// The jiff timestamp, clamped to the range that jiff supports.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        let text = ObjectBuilder::new().schema_type(Type::String).format(Some(format));
        text.examples(["2026-05-02T04:00:12.345Z"]).into()
    }
}

impl ToSchema for Timestamp {}

/// The length of `2026-05-02T04:00:12.345Z`.
const TEXT_BYTES: usize = 24;

impl Timestamp {
    /// Writes the text into the buffer; `None` outside of 1970 to 2106. A fast path, as instants are formatted several
    /// times per event, and going through a calendar library and `fmt` is slow.
    fn encode(self, buffer: &mut [u8; TEXT_BYTES]) -> Option<&str> {
        let seconds = u32::try_from(self.unix_seconds()).ok()?;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Computes in a calendar whose years start in March, so that the leap day is the last day of a year
        // (Neri and Schneider, “Euclidean affine functions and their application to calendar algorithms”, 2022).
        let quarters = 4 * (days + 719_468) + 3;
        let (century, quarters) = (quarters / 146_097, (quarters % 146_097) | 3);
        let (year, day) = (quarters / 1_461, quarters % 1_461 / 4);
        let month = 2_141 * day + 197_913;
        let (month, day) = (month >> 16, (month & 0xffff) / 2_141 + 1);
        let is_next_year = month > 12;
        let year = 100 * century + year + u32::from(is_next_year);
        let month = if is_next_year { month - 12 } else { month };

        *buffer = *b"0000-00-00T00:00:00.000Z";
        let mut write_two = |at: usize, number: u32| {
            buffer[at] += (number / 10) as u8;
            buffer[at + 1] += (number % 10) as u8;
        };
        write_two(0, year / 100);
        write_two(2, year % 100);
        write_two(5, month);
        write_two(8, day);
        write_two(11, second / 3_600);
        write_two(14, second / 60 % 60);
        write_two(17, second % 60);
        let ms = self.0.rem_euclid(1_000) as u32;
        write_two(20, ms / 10);
        buffer[22] += (ms % 10) as u8;
        str::from_utf8(buffer).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.encode(&mut [0; TEXT_BYTES]) {
            Some(text) => f.write_str(text),
            None => write!(f, "{:.3}", self.to_jiff()),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.encode(&mut [0; TEXT_BYTES]) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("expected an instant as RFC 3339, such as 2026-05-02T04:00:12.345Z")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_formats_in_utc_with_milliseconds() {
        let instant = Timestamp::parse("2026-05-02T06:00:12.3456+02:00").unwrap();
        assert_eq!(instant.to_string(), "2026-05-02T04:00:12.345Z");
        assert_eq!(Timestamp::from_unix_ms(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(instant.unix_seconds() * 1000 + 345, instant.unix_ms());
    }

    proptest::proptest! {
        #[test]
        fn timestamp_formats_like_jiff(
            ms in proptest::prop_oneof![-100_000_000_000_000i64..300_000_000_000_000, -9_999_999i64..5_000_000_000_000]
        ) {
            let instant = Timestamp::from_unix_ms(ms);
            proptest::prop_assert_eq!(instant.to_string(), format!("{:.3}", instant.to_jiff()));
            let json = serde_json::to_string(&instant).unwrap();
            // Outside of jiff's range, the nearest supported instant is formatted.
            let expected = Timestamp::from_unix_ms(instant.to_jiff().as_millisecond());
            proptest::prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), expected);
        }
    }

    #[test]
    fn every_day_formats_like_jiff() {
        for day in 0..=u32::MAX / 86_400 {
            let instant = Timestamp::from_unix_ms(i64::from(day) * 86_400_000);
            assert_eq!(instant.to_string(), format!("{:.3}", instant.to_jiff()));
        }
    }

    #[test]
    fn parse_rejects_other_texts() {
        for wrong in ["", "now", "2026-05-02", "2026-05-02T04:00:12", "1777694412", "2026-13-02T04:00:12Z"] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }
}
