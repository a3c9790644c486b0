//! Serialises headers as a JSON object that keeps the order of its members. Duplicate names are kept when reading, so
//! that validation can report them; a map would silently keep the last one. Values are masked, except of harmless headers.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use utoipa::PartialSchema;
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Type};

use super::limits::HEADERS_MAX;
use super::secrets::is_harmless_header;
use crate::secret::Secret;

pub(super) fn serialize<S: Serializer>(headers: &[(String, Secret)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, Shown { name, value })))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<(String, Secret)>, D::Error> {
    reader.deserialize_map(HeaderVisitor)
}

/// A value as it may be shown.
struct Shown<'a> {
    name: &'a str,
    value: &'a Secret,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if is_harmless_header(self.name) {
            serializer.serialize_str(self.value.expose())
        } else {
            self.value.serialize(serializer)
        }
    }
}

pub(super) fn schema() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "Additional request headers. Values are secret, except of harmless headers such as Accept and Content-Type: they \
             are stored encrypted and shown as `•••`, which, like the empty string, keeps the stored value in an edit.",
        ))
        .additional_properties(Some(AdditionalProperties::RefOr(Secret::schema())))
        .max_properties(Some(HEADERS_MAX))
        .build()
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Vec<(String, Secret)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of header names and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut headers = Vec::new();
        while let Some(header) = members.next_entry()? {
            headers.push(header);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use crate::endpoint::{Definition, HttpProbe, Probe};
    use crate::secret::Secret;

    #[test]
    fn headers_round_trip_as_an_object_with_order_and_duplicates() {
        let headers = [("Accept", "1"), ("X-A", ""), ("accept", "3")];
        let headers = headers.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let probe = Probe::Http(HttpProbe { headers: headers.to_vec(), ..HttpProbe::new("https://example.com/") });
        let definition = Definition::new(probe);
        let json = serde_json::to_string(&definition).unwrap();
        assert!(json.contains(r#""headers":{"Accept":"1","X-A":"","accept":"3"}"#), "{json}");
        assert_eq!(serde_json::from_str::<Definition>(&json).unwrap(), definition);
        for wrong in [r#""headers":[]"#, r#""headers":{"a":1}"#, r#""headers":null"#] {
            let json = json.replace(r#""headers":{"Accept":"1","X-A":"","accept":"3"}"#, wrong);
            assert!(serde_json::from_str::<Definition>(&json).is_err(), "{wrong}");
        }
    }
}
