//! Secret text: never printed, serialised as its mask, compared in constant time, zeroed on drop.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};
use zeroize::Zeroize;

/// What is shown and stored in place of a secret.
pub const MASK: &str = "•••";

/// A secret text. Has no `Display`; its `Debug` is redacted. It serialises as [`MASK`], or as the empty text if it is
/// empty, so that what has a field of this type cannot leak it: only [`Self::expose`] yields the text.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. The caller must not log or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it keeps the stored value in an edit: the mask, sent back unchanged, or the empty text.
    pub fn means_stored(&self) -> bool {
        self.is_empty() || self.0 == MASK
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { MASK })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl PartialSchema for Secret {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Password);
        let text = ObjectBuilder::new().schema_type(Type::String).format(Some(format));
        text.description(Some(
            "A secret: stored encrypted, and shown as `•••`. In an edit `•••` and the empty string keep the stored value.",
        ))
        .into()
    }
}

impl ToSchema for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_debug_is_redacted() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(redacted)");
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
    }

    #[test]
    fn secret_serialises_as_its_mask() {
        assert_eq!(serde_json::to_string(&Secret::new("hunter2")).unwrap(), "\"•••\"");
        assert_eq!(serde_json::to_string(&Secret::default()).unwrap(), "\"\"");
        let read: Secret = serde_json::from_str("\"hunter2\"").unwrap();
        assert!(read.expose() == "hunter2" && !read.means_stored());
        assert!(Secret::new(MASK).means_stored() && Secret::default().means_stored());
    }
}
