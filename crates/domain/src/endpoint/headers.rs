//! Headers as the API writes them: an object, here kept in the order in which they were written. A name that is there
//! twice is read twice, so that it can be refused in words instead of the last one silently winning.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;

pub(super) fn serialize<S: Serializer>(headers: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<(String, String)>, D::Error> {
    reader.deserialize_map(InOrder)
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
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
    fn headers_are_an_object_that_keeps_its_order_and_its_duplicates() {
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
