//! Ids: a prefix for the type, then a UUIDv7 (RFC 9562) as 32 hex digits, so that ids sort by creation time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::time::Timestamp;

/// The text is not an id of the expected type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId {
    /// The expected prefix, such as `evt_`.
    pub prefix: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected an id of the form {}<32 hex digits>", self.prefix)
    }
}

impl std::error::Error for InvalidId {}

/// Common to all id types, for code that is generic over them (the id generator, the store).
pub trait Id: Copy + FromStr {
    /// Such as `evt_`.
    const PREFIX: &'static str;
    /// The id with this UUID.
    fn from_uuid(uuid: Uuid) -> Self;
    /// The id with these stored bytes.
    fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_uuid(Uuid::from_bytes(bytes))
    }
    /// The UUID's bytes, as stored.
    fn as_bytes(&self) -> &[u8; 16];
    /// The creation time: the first 48 bits of a UUIDv7.
    fn made_at(&self) -> Timestamp {
        let ms = self.as_bytes()[..6].iter().fold(0, |ms, byte| ms << 8 | i64::from(*byte));
        Timestamp::from_unix_ms(ms)
    }
    /// A 63-bit key that sorts like the ids: the low 42 bits of the creation time in milliseconds (sufficient until the
    /// year 2109), then the 21-bit number of [`id_suffix`]. Unique among ids of one type from one generator.
    fn sort_key(&self) -> i64 {
        let bytes = self.as_bytes();
        let integer = |range: std::ops::Range<usize>| {
            bytes[range].iter().fold(0, |integer, byte| integer << 8 | i64::from(*byte))
        };
        // 12 bits after the version nibble, then 9 of the bits after the variant: see `id_suffix`.
        let number = (integer(6..8) & 0xfff) << 9 | (integer(8..10) & 0x3fff) >> 5;
        sort_key_at(integer(0..6)) | number
    }
}

/// The bits of the number within a millisecond: two million ids, more than one process can create.
const NUMBER_BITS: u32 = 21;

/// The least [`Id::sort_key`] of an instant, in milliseconds since the Unix epoch.
pub fn sort_key_at(unix_ms: i64) -> i64 {
    (unix_ms & ((1 << (63 - NUMBER_BITS)) - 1)) << NUMBER_BITS
}

/// The instant of a sort key.
pub fn sort_key_time(sort_key: i64) -> Timestamp {
    Timestamp::from_unix_ms(sort_key >> NUMBER_BITS)
}

/// The part of an id after the time: the low 21 bits of `number` in the bits that follow the version and the variant (a
/// counter as in RFC 9562, 6.2, method 1), then random bits. Version and variant are set by [`uuid_v7`].
pub fn id_suffix(number: u32, random: [u8; 10]) -> [u8; 10] {
    let mut suffix = random;
    suffix[0] = (number >> 17) as u8 & 0x0f;
    suffix[1] = (number >> 9) as u8;
    suffix[2] = (number >> 3) as u8 & 0x3f;
    suffix[3] = (number << 5) as u8 | random[3] & 0x1f;
    suffix
}

/// A UUIDv7 from milliseconds since the Unix epoch and an [`id_suffix`].
pub fn uuid_v7(unix_ms: u64, suffix: &[u8; 10]) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(unix_ms, suffix).into_uuid()
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
            /// Writes the text into the buffer at once. Ids are formatted several times per event, and going through
            /// `fmt` piece by piece is slower.
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

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let pattern = concat!("^", $prefix, "[0-9a-f]{32}$");
                let example = concat!($prefix, "01890a5d00007000800000000000002a");
                let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).examples([example]);
                text.into()
            }
        }

        impl ToSchema for $name {}

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
    /// The record of an API key, not its secret.
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
    /// An inbound webhook.
    InboundWebhookId "inb_";
    /// An event.
    EventId "evt_";
    /// A delivery; also the `webhook-id` header.
    DeliveryId "dlv_";
    /// A user, who may be a member of many workspaces.
    UserId "usr_";
    /// A signed-in browser of a user, not its secret.
    SessionId "ses_";
    /// An invitation into a workspace, not its secret.
    InvitationId "invt_";
    /// An entry of the audit log.
    AuditEntryId "aud_";
}

fn parse(text: &str, prefix: &str) -> Option<Uuid> {
    let digits = text.strip_prefix(prefix)?;
    let is_canonical = digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_canonical.then(|| Uuid::try_parse(digits).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_sort_by_time() {
        let early = EventId::from_uuid(uuid_v7(1_000, &[0xff; 10]));
        let late = EventId::from_uuid(uuid_v7(1_001, &[0; 10]));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<EventId>(), Ok(early));
        assert_eq!((early.made_at().unix_ms(), late.made_at().unix_ms()), (1_000, 1_001));
        assert!(early.to_string().parse::<RuleId>().is_err(), "the prefix of another type");
        assert_eq!(serde_json::to_value(early).unwrap(), early.to_string());
    }

    #[test]
    fn sort_key_is_instant_and_number() {
        let id = |ms, number, random| EventId::from_uuid(uuid_v7(ms, &id_suffix(number, [random; 10])));
        let highest = (1 << NUMBER_BITS) - 1;
        assert_eq!(id(1_777_000_000_000, 0, 0xff).sort_key(), sort_key_at(1_777_000_000_000));
        assert_eq!(id(1_777_000_000_000, highest, 0).sort_key() + 1, sort_key_at(1_777_000_000_001));
        assert_eq!(id(7, 0x0015_4321, 3).sort_key(), sort_key_at(7) + 0x0015_4321);
        assert!(id(7, 8, 0xff) < id(7, 9, 0), "ids sort like their sort keys");
        assert!(id((1 << 42) - 1, highest, 0xff).sort_key() == i64::MAX && id(1 << 48 >> 1, 0, 0).sort_key() >= 0);
    }

    #[test]
    fn id_has_one_spelling() {
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
