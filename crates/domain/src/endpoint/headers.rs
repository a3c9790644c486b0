//! Serialises headers as a JSON object that keeps the order of its members. Duplicate names are kept when reading, so
//! that validation can report them; a map would silently keep the last one.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;

pub(super) fn serialize<S: Serializer>(headers: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<(String, String)>, D::Error> {
    reader.deserialize_map(HeaderVisitor)
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Vec<(String, String)>;

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

    #[test]
    fn headers_round_trip_as_an_object_with_order_and_duplicates() {
        let headers =
            [("x-b", "1"), ("X-A", "2"), ("x-b", "3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let probe = Probe::Http(HttpProbe { headers: headers.to_vec(), ..HttpProbe::new("https://example.com/") });
        let definition = Definition::new(probe);
        let json = serde_json::to_string(&definition).unwrap();
        assert!(json.contains(r#""headers":{"x-b":"1","X-A":"2","x-b":"3"}"#), "{json}");
        assert_eq!(serde_json::from_str::<Definition>(&json).unwrap(), definition);
        for wrong in [r#""headers":[]"#, r#""headers":{"a":1}"#, r#""headers":null"#] {
            let json = json.replace(r#""headers":{"x-b":"1","X-A":"2","x-b":"3"}"#, wrong);
            assert!(serde_json::from_str::<Definition>(&json).is_err(), "{wrong}");
        }
    }
}
