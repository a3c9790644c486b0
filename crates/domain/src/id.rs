//! Ids: a prefix that says what it names, then a UUIDv7, so that they sort by the time they were made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A string that is no id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId {
    /// The prefix that was expected, such as `evt_`.
    pub prefix: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected an id of the form {}<32 hex digits>", self.prefix)
    }
}

impl std::error::Error for InvalidId {}

/// What every id type can do, for code that is generic over them (the id generator, the store).
pub trait Id: Copy + FromStr {
    /// What the id begins with, such as `evt_`.
    const PREFIX: &'static str;
    /// Wraps the UUID.
    fn from_uuid(uuid: Uuid) -> Self;
    /// The id whose 16 bytes are these, as stored.
    fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_uuid(Uuid::from_bytes(bytes))
    }
    /// The UUID's 16 bytes, as stored.
    fn as_bytes(&self) -> &[u8; 16];
}

/// A UUIDv7 from its parts: milliseconds since the Unix epoch and ten random bytes.
pub fn uuid_v7(unix_ms: u64, random: &[u8; 10]) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn from_uuid(uuid: Uuid) -> Self { Self(uuid) }
            fn as_bytes(&self) -> &[u8; 16] { self.0.as_bytes() }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0u8; 32];
                f.write_str($prefix)?;
                f.write_str(self.0.as_simple().encode_lower(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse(text, $prefix).map(Self).ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> { serializer.collect_str(self) }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A workspace, the tenant.
    WorkspaceId "ws_";
    /// An API key (its record, not its secret).
    ApiKeyId "key_";
    /// A channel.
    ChannelId "ch_";
    /// A rule.
    RuleId "rule_";
    /// An event.
    EventId "evt_";
    /// A delivery; also the `webhook-id` on the wire.
    DeliveryId "dlv_";
}

fn parse(text: &str, prefix: &str) -> Option<Uuid> {
    let digits = text.strip_prefix(prefix)?;
    let canonical = digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    canonical.then(|| Uuid::try_parse(digits).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let early = EventId::from_uuid(uuid_v7(1_000, &[0xff; 10]));
        let late = EventId::from_uuid(uuid_v7(1_001, &[0; 10]));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<EventId>(), Ok(early));
        assert!(early.to_string().parse::<RuleId>().is_err(), "another kind's prefix");
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        for wrong in [
            "",
            "evt_",
            "evt_0",
            "EVT_00000000000000000000000000000000",
            "evt_0000000000000000000000000000000G",
            "evt_00000000-0000-0000-0000-000000000000",
            "evt_ABCDEF00000000000000000000000000",
        ] {
            assert!(wrong.parse::<EventId>().is_err(), "{wrong}");
        }
    }
}
