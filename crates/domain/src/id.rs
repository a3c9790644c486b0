//! Ids: a prefix that says what it names, then a UUIDv7, so that they sort by the time they were made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::time::Timestamp;

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
    /// When it was made.
    fn made_at(&self) -> Timestamp {
        let ms = self.as_bytes()[..6].iter().fold(0, |ms, byte| ms << 8 | i64::from(*byte));
        Timestamp::from_unix_ms(ms)
    }
    /// Where the id stands in the order of ids: the instant's low 42 bits (they last until the year 2109), then the
    /// number of [`tail`]. Ids of one kind that one clock made each have their own.
    fn sort_key(&self) -> i64 {
        let bytes = self.as_bytes();
        let word =
            |range: std::ops::Range<usize>| bytes[range].iter().fold(0, |word, byte| word << 8 | i64::from(*byte));
        let number = (word(6..8) & 0xfff) << 9 | (word(8..10) & 0x3fff) >> 5;
        sort_key_at(word(0..6)) | number
    }
}

/// The bits of the number within a millisecond: more than one process can make.
const NUMBER_BITS: u32 = 21;

/// The smallest [`Id::sort key`] of this instant, in milliseconds since the Unix epoch.
pub fn sort_key_at(unix_ms: i64) -> i64 {
    (unix_ms & ((1 << (63 - NUMBER_BITS)) - 1)) << NUMBER_BITS
}

/// What stands behind the time in an id: a number (its low 21 bits) where a UUIDv7 has its first bits after time, version
/// and variant (RFC 9562, 6.2), then random bits.
pub fn id_suffix(number: u32, random: [u8; 10]) -> [u8; 10] {
    let mut tail = random;
    tail[0] = (number >> 17) as u8 & 0x0f;
    tail[1] = (number >> 9) as u8;
    tail[2] = (number >> 3) as u8 & 0x3f;
    tail[3] = (number << 5) as u8 | random[3] & 0x1f;
    tail
}

/// A UUIDv7 from its parts: milliseconds since the Unix epoch and a [`tail`].
pub fn uuid_v7(unix_ms: u64, tail: &[u8; 10]) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(unix_ms, tail).into_uuid()
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

        impl $name {
            /// Its text in this buffer. Ids are written several times for each event, so not piece by piece.
            fn encode<'a>(&self, buffer: &'a mut [u8; $prefix.len() + 32]) -> &'a str {
                let (prefix, digits) = buffer.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                self.0.as_simple().encode_lower(digits);
                str::from_utf8(buffer).unwrap_or_else(|_| unreachable!("prefixes and hex digits are text"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.encode(&mut [0; _]))
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
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.encode(&mut [0; _]))
            }
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
    /// An endpoint.
    EndpointId "ep_";
    /// An incident.
    IncidentId "inc_";
    /// A mute.
    MuteId "mute_";
    /// A check of an endpoint.
    CheckId "chk_";
    /// An inbound door.
    InboundWebhookId "door_";
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
        assert_eq!((early.made_at().unix_ms(), late.made_at().unix_ms()), (1_000, 1_001));
        assert!(early.to_string().parse::<RuleId>().is_err(), "another kind's prefix");
        assert_eq!(serde_json::to_value(early).unwrap(), early.to_string());
    }

    #[test]
    fn the_rank_is_instant_and_number() {
        let id = |ms, number, random| EventId::from_uuid(uuid_v7(ms, &id_suffix(number, [random; 10])));
        let highest = (1 << NUMBER_BITS) - 1;
        assert_eq!(id(1_777_000_000_000, 0, 0xff).sort_key(), sort_key_at(1_777_000_000_000));
        assert_eq!(id(1_777_000_000_000, highest, 0).sort_key() + 1, sort_key_at(1_777_000_000_001));
        assert_eq!(id(7, 0x0015_4321, 3).sort_key(), sort_key_at(7) + 0x0015_4321);
        assert!(id(7, 8, 0xff) < id(7, 9, 0), "ids sort like their ranks");
        assert!(id((1 << 42) - 1, highest, 0xff).sort_key() == i64::MAX && id(1 << 48 >> 1, 0, 0).sort_key() >= 0);
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
