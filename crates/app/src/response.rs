//! What operations answer.

use serde::{Serialize, Serializer};
use tidings_domain::secret::Secret;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The answer of an operation.
pub trait Response: Serialize + ToSchema {
    /// Whether it has a [`Self::revision`].
    const IS_VERSIONED: bool = false;

    /// The revision of the resource in it, which the next edit may expect.
    fn revision(&self) -> Option<u32> {
        None
    }

    /// Whether it may hold a secret, so that it must not be cached.
    fn holds_secret(&self) -> bool {
        false
    }
}

/// A secret that is shown in plain text, once.
#[derive(Debug, Clone)]
pub struct SecretOnce(pub Secret);

impl Serialize for SecretOnce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl PartialSchema for SecretOnce {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).description(Some("A secret that is shown only once.")).into()
    }
}

impl ToSchema for SecretOnce {}
