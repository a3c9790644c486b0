//! The contract of a request: its type's schema, by which it is validated and described.
//!
//! A request type derives `Deserialize` and utoipa's `ToSchema`. [`read`] validates a JSON value against that schema and
//! reports *all* violations with their JSON pointers: unknown keys, missing ones, wrong types, words and bounds. Only
//! then does serde read it. The OpenAPI description holds the same schemas, so that it cannot say anything else than what
//! the server accepts.
//!
//! - [`Input`] is a request as far as it could be read, and what is wrong with it so far. Operations add the violations
//!   that no schema can express, so that the caller gets all of them at once.
//! - [`merge`] applies a JSON merge patch (RFC 7396) to the present draft of a resource, so that creation and edit share
//!   one type.
//! - [`read_query`] reads query parameters in the same way.

mod compile;
mod shape;
mod text;
mod word;

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tidings_domain::violation::{Violation, Violations};
use utoipa::ToSchema;

use shape::{Kind, Shape, merge_tagged};

/// Violations in one answer; further ones are only counted, as the answer to a large body must not be many times its
/// size.
pub const VIOLATIONS_MAX: usize = 100;

/// A type of requests.
pub trait Request: DeserializeOwned + ToSchema + 'static {}

impl<T: DeserializeOwned + ToSchema + 'static> Request for T {}

/// A request, and everything that is known to be wrong with it.
#[derive(Debug, Clone)]
pub struct Input<T> {
    /// The fields with violations have their defaults.
    pub value: T,
    /// Empty if it is valid as far as it was checked.
    pub violations: Violations,
}

impl<T> Input<T> {
    /// A request without violations so far.
    pub fn new(value: T) -> Self {
        Self { value, violations: Violations::new() }
    }

    /// Adds violations, except of fields that have one already, or that are part of a field that has one.
    pub fn refuse(&mut self, found: impl IntoIterator<Item = Violation>) {
        for violation in found {
            if !is_refused(&self.violations, &violation.pointer) {
                self.violations.push(violation);
            }
        }
    }

    /// Adds a violation of one field.
    pub fn refuse_field(&mut self, pointer: &str, message: impl Into<String>) {
        self.refuse([Violation::new(pointer, message)]);
    }

    /// Whether the field, a part of it, or what it is a part of, has a violation.
    pub fn is_refused(&self, pointer: &str) -> bool {
        is_refused(&self.violations, pointer)
    }

    /// The value, if nothing is wrong with it.
    ///
    /// # Errors
    /// All violations.
    pub fn finish(self) -> Result<T, Violations> {
        if self.violations.is_empty() { Ok(self.value) } else { Err(self.violations) }
    }
}

impl<T> From<T> for Input<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Whether the field, a part of it, or what it is a part of, has a violation.
fn is_refused(violations: &[Violation], pointer: &str) -> bool {
    let within = |part: &str, whole: &str| {
        part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || !whole.is_empty() && rest.starts_with('/'))
    };
    violations.iter().any(|found| within(pointer, &found.pointer) || within(&found.pointer, pointer))
}

/// The shapes of the types that were read so far.
static SHAPES: LazyLock<RwLock<HashMap<TypeId, Arc<Shape>>>> = LazyLock::new(RwLock::default);

fn shape_of<T: Request>() -> Arc<Shape> {
    let id = TypeId::of::<T>();
    let known = SHAPES.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&id).cloned();
    known.unwrap_or_else(|| {
        let shape = Arc::new(Shape::of::<T>());
        SHAPES.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, Arc::clone(&shape));
        shape
    })
}

/// Reads a request. `null` is the same as an absent field, unless the field may be `null`.
///
/// # Errors
/// All violations, if so much is wrong that there is no value to go on with.
pub fn read<T: Request>(mut value: Value) -> Result<Input<T>, Violations> {
    let mut violations = Violations::new();
    shape_of::<T>().read(&mut value, "", &mut violations);
    finish(value, violations)
}

/// Reads a request over defaults that are not those of its type, such as the preferences of a workspace. Required fields
/// have no default.
///
/// # Errors
/// As [`read`].
pub fn read_over<T: Request + Serialize>(defaults: &T, value: Value) -> Result<Input<T>, Violations> {
    match (&shape_of::<T>().kind, value) {
        (Kind::Object(object), Value::Object(given)) => {
            let mut fields = match draft_value(defaults) {
                Value::Object(fields) => fields,
                _ => Map::new(),
            };
            object.fill(&mut fields, given);
            read(Value::Object(fields))
        }
        (_, value) => read(value),
    }
}

fn draft_value<T: Serialize>(draft: &T) -> Value {
    serde_json::to_value(draft).unwrap_or_else(|error| {
        tracing::error!(%error, "BUG: a draft cannot be serialised");
        Value::Null
    })
}

/// The names of a request type's fields.
pub fn field_names<T: Request>() -> Vec<String> {
    match &shape_of::<T>().kind {
        Kind::Object(object) => object.names().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Applies a JSON merge patch to a draft: absent fields keep their value, `null` is only for fields that may be `null`,
/// objects with known fields are merged, lists and free-form objects are replaced. Another value of the field that names
/// the variant of an object drops the fields of the former variant.
///
/// # Errors
/// As [`read`].
pub fn merge<T: Request + Serialize>(before: &T, patch: &Map<String, Value>) -> Result<Input<T>, Violations> {
    let shape = shape_of::<T>();
    let mut violations = Violations::new();
    let mut merged = draft_value(before);
    match (&mut merged, &shape.kind) {
        (Value::Object(fields), Kind::Object(object)) => object.merge(fields, patch, "", &mut violations),
        (Value::Object(fields), Kind::Tagged { tag, variants }) => {
            merge_tagged(tag, variants, fields, patch, "", &mut violations);
        }
        _ => {}
    }
    shape.read(&mut merged, "", &mut violations);
    finish(merged, violations)
}

/// Reads query parameters: each at most once, lists as `a,b` or repeated.
///
/// # Errors
/// As [`read`].
pub fn read_query<T: Request>(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Input<T>, Violations> {
    let shape = shape_of::<T>();
    let mut violations = Violations::new();
    let (mut value, mut unknown) = match &shape.kind {
        Kind::Object(object) => object.read_pairs(pairs, &mut violations),
        _ => (Value::Object(Map::new()), Violations::new()),
    };
    shape.read(&mut value, "", &mut violations);
    violations.append(&mut unknown);
    finish(value, violations)
}

/// The value, read by serde without the members that have violations.
fn finish<T: Request>(mut value: Value, violations: Violations) -> Result<Input<T>, Violations> {
    if let Value::Object(object) = &mut value {
        for violation in &violations {
            let first = violation.pointer.strip_prefix('/').and_then(|rest| rest.split('/').next());
            if let Some(key) = first {
                object.remove(&key.replace("~1", "/").replace("~0", "~"));
            }
        }
    }
    match serde_json::from_value(value) {
        Ok(value) => Ok(Input { value, violations }),
        Err(_) if !violations.is_empty() => Err(violations),
        Err(error) => {
            // Its message may quote the value, which may be a secret.
            tracing::error!(kind = ?error.classify(), request = %T::name(), "BUG: a value fits the schema, but not the type");
            Err(vec![Violation::new("", "cannot be read")])
        }
    }
}

#[cfg(test)]
mod tests;
