//! The shape of a JSON value, compiled from the schema that utoipa derives from a type.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidings_domain::violation::{Violation, Violations, pointer};
use utoipa::ToSchema;

use super::compile::Compiler;
use super::text::{Text, one_of};

/// The largest integer that every JSON parser keeps exactly: 2⁵³ − 1 (RFC 8259, section 6).
pub(super) const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Query parameters in a request, known and unknown.
const PARAMETERS_MAX: usize = 100;
/// Violations that are counted: a body that is wrong everywhere must not cost more than one that is right.
const COUNTED_MAX: usize = 1_000;

/// What a value must be.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) is_nullable: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Any,
    Text(Text),
    Integer {
        min: i64,
        max: u64,
    },
    Number,
    Boolean,
    List {
        item: Box<Shape>,
        items_min: usize,
        items_max: usize,
        is_set: bool,
    },
    Map {
        value: Box<Shape>,
        entries_max: usize,
    },
    Object(Object),
    /// An object whose other fields depend on the value of one field.
    Tagged {
        tag: String,
        variants: Vec<(String, Object)>,
    },
    /// The first that fits by type.
    Either(Vec<Shape>),
}

#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) fields: BTreeMap<String, Field>,
    /// In the order of their declaration.
    pub(super) required: Vec<String>,
    /// Whether unknown fields are passed over: it is another product's format, which may gain fields.
    pub(super) is_open: bool,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) shape: Shape,
    pub(super) is_required: bool,
}

impl Shape {
    pub(super) fn of<T: ToSchema>() -> Self {
        let mut named = Vec::new();
        T::schemas(&mut named);
        let json = |schema| serde_json::to_value(schema).unwrap_or_default();
        let definitions = named.into_iter().map(|(name, schema)| (name, json(schema))).collect();
        Compiler { definitions }.shape(&json(T::schema()), 0)
    }

    pub(super) fn any() -> Self {
        Self { kind: Kind::Any, is_nullable: true }
    }

    /// Checks the value, and normalises it: numbers such as `1e3` become integers, `null` in place of an absent field is
    /// removed.
    pub(super) fn read(&self, value: &mut Value, at: &str, found: &mut Violations) {
        if value.is_null() && self.is_nullable || found.len() >= COUNTED_MAX {
            return;
        }
        let mut refuse = |message: String| found.push(Violation::new(at, message));
        match &self.kind {
            Kind::Any => {}
            Kind::Text(text) => {
                if text.accepts_integer
                    && let Some(number) = value.as_number().filter(|number| number.is_u64() || number.is_i64())
                {
                    // Integers beyond 64 bits have lost digits by now, and are refused.
                    *value = Value::String(number.to_string());
                }
                match value.as_str() {
                    None => refuse("must be a string".to_owned()),
                    Some(given) => text.fault(given).into_iter().for_each(refuse),
                }
            }
            Kind::Integer { min, max } => match whole_number(value) {
                Some(number) if number >= i128::from(*min) && number <= i128::from(*max) => {
                    *value = i64::try_from(number).map_or_else(|_| (number as u64).into(), Value::from);
                }
                _ => refuse(integer_form(*min, *max)),
            },
            Kind::Number if value.is_number() => {}
            Kind::Number => refuse("must be a number".to_owned()),
            Kind::Boolean if value.is_boolean() => {}
            Kind::Boolean => refuse("must be true or false".to_owned()),
            Kind::List { item, items_min, items_max, is_set } => {
                let Value::Array(items) = value else { return refuse("must be a list".to_owned()) };
                if items.len() > *items_max {
                    return refuse(format!("must hold at most {items_max} items"));
                }
                if items.len() < *items_min {
                    return refuse(item.least_items(*items_min));
                }
                for (index, value) in items.iter_mut().enumerate() {
                    item.read(value, &format!("{at}/{index}"), found);
                }
                if *is_set {
                    let mut kept: Vec<Value> = Vec::with_capacity(items.len());
                    for value in items.drain(..) {
                        if !kept.contains(&value) {
                            kept.push(value);
                        }
                    }
                    *items = kept;
                }
            }
            Kind::Map { value: shape, entries_max } => {
                let Value::Object(entries) = value else { return refuse("must be an object".to_owned()) };
                if entries.len() > *entries_max {
                    return refuse(format!("must hold at most {entries_max} entries"));
                }
                for (key, value) in entries.iter_mut() {
                    shape.read(value, &format!("{at}{}", pointer(key)), found);
                }
            }
            Kind::Object(object) => match value {
                Value::Object(fields) => object.read(fields, at, found),
                _ => refuse("must be an object".to_owned()),
            },
            Kind::Tagged { tag, variants } => match value {
                Value::Object(fields) => read_tagged(tag, variants, fields, at, found),
                _ => refuse("must be an object".to_owned()),
            },
            Kind::Either(shapes) => {
                let fitting = shapes.iter().find(|shape| shape.fits_type(value)).or(shapes.first());
                if let Some(shape) = fitting {
                    shape.read(value, at, found);
                }
            }
        }
    }

    fn least_items(&self, items_min: usize) -> String {
        match &self.kind {
            Kind::Text(text) if !text.words.is_empty() => {
                format!("must list at least {items_min} of {}", text.words.join(", "))
            }
            _ => format!("must hold at least {items_min} items"),
        }
    }

    fn fits_type(&self, value: &Value) -> bool {
        match &self.kind {
            Kind::Any => true,
            Kind::Text(text) => value.is_string() || text.accepts_integer && value.is_number(),
            Kind::Integer { .. } | Kind::Number => value.is_number(),
            Kind::Boolean => value.is_boolean(),
            Kind::List { .. } => value.is_array(),
            Kind::Map { .. } | Kind::Object(_) | Kind::Tagged { .. } => value.is_object(),
            Kind::Either(shapes) => shapes.iter().any(|shape| shape.fits_type(value)),
        }
    }

    /// A query parameter's text as a JSON value.
    fn value_of_text(&self, text: &str) -> Value {
        match &self.kind {
            Kind::Integer { .. } | Kind::Number => {
                text.parse::<i64>().map(Value::from).unwrap_or_else(|_| Value::String(text.to_owned()))
            }
            Kind::Boolean => match text {
                // A parameter without a value is a flag that is set.
                "true" | "1" | "" => Value::Bool(true),
                "false" | "0" => Value::Bool(false),
                _ => Value::String(text.to_owned()),
            },
            Kind::List { item, .. } => {
                text.split(',').filter(|part| !part.is_empty()).map(|part| item.value_of_text(part)).collect()
            }
            // The plus sign of an offset arrives as a space if the client did not percent-encode it.
            Kind::Text(Text { is_instant: true, .. }) => Value::String(text.replace(' ', "+")),
            _ => Value::String(text.to_owned()),
        }
    }
}

impl Object {
    fn read(&self, fields: &mut Map<String, Value>, at: &str, found: &mut Violations) {
        self.read_except(None, fields, at, found);
    }

    fn read_except(&self, tag: Option<&str>, fields: &mut Map<String, Value>, at: &str, found: &mut Violations) {
        let mut unknown = Violations::new();
        fields.retain(|key, value| {
            if Some(key.as_str()) == tag {
                return true;
            }
            let Some(field) = self.fields.get(key) else {
                if self.is_open || unknown.len() >= COUNTED_MAX {
                    return false;
                }
                // The list once is enough: an answer must not be many times as large as the request.
                let message = if unknown.is_empty() {
                    let known: Vec<_> = tag.into_iter().chain(self.fields.keys().map(String::as_str)).collect();
                    format!("is not a known field; known are: {}", known.join(", "))
                } else {
                    "is not a known field".to_owned()
                };
                unknown.push(Violation::new(format!("{at}{}", pointer(key)), message));
                return true;
            };
            if value.is_null() && !field.shape.is_nullable {
                return false;
            }
            field.shape.read(value, &format!("{at}{}", pointer(key)), found);
            true
        });
        for key in &self.required {
            if !fields.contains_key(key) {
                let at = format!("{at}{}", pointer(key));
                // A field that may not be null here has a violation already in an edit.
                if !found.iter().any(|violation| violation.pointer == at) {
                    found.push(Violation::new(at, "is required"));
                }
            }
        }
        found.append(&mut unknown);
    }

    /// Merges a patch over the fields.
    pub(super) fn merge(
        &self,
        fields: &mut Map<String, Value>,
        patch: &Map<String, Value>,
        at: &str,
        found: &mut Violations,
    ) {
        for (key, value) in patch {
            let field = self.fields.get(key);
            if value.is_null() && field.is_some_and(|field| !field.shape.is_nullable) && at.is_empty() {
                let message = field.map_or_else(String::new, |field| field.shape.form());
                found.push(Violation::new(pointer(key), message));
                continue;
            }
            match (field.map(|field| &field.shape.kind), fields.get_mut(key), value) {
                (Some(Kind::Object(object)), Some(Value::Object(fields)), Value::Object(patch)) => {
                    object.merge(fields, patch, &format!("{at}{}", pointer(key)), found);
                }
                (Some(Kind::Tagged { tag, variants }), Some(Value::Object(fields)), Value::Object(patch)) => {
                    merge_tagged(tag, variants, fields, patch, &format!("{at}{}", pointer(key)), found);
                }
                _ => {
                    fields.insert(key.clone(), value.clone());
                }
            }
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Lays the given fields over defaults. Required fields lose their default.
    pub(super) fn fill(&self, defaults: &mut Map<String, Value>, given: Map<String, Value>) {
        defaults.retain(|key, _| self.fields.get(key).is_some_and(|field| !field.is_required));
        for (key, value) in given {
            let field = self.fields.get(&key);
            if value.is_null() && field.is_some_and(|field| !field.shape.is_nullable) {
                continue;
            }
            match (field.map(|field| &field.shape.kind), defaults.get_mut(&key), value) {
                (Some(Kind::Object(object)), Some(Value::Object(defaults)), Value::Object(given)) => {
                    object.merge(defaults, &given, &pointer(&key), &mut Violations::new());
                }
                (_, _, value) => {
                    defaults.insert(key, value);
                }
            }
        }
    }

    /// The object that query parameters make, and the violations of those that are unknown.
    pub(super) fn read_pairs(
        &self,
        pairs: impl IntoIterator<Item = (String, String)>,
        found: &mut Violations,
    ) -> (Value, Violations) {
        let mut object = Map::new();
        let mut unknown = Violations::new();
        for (index, (key, text)) in pairs.into_iter().enumerate() {
            if index >= PARAMETERS_MAX {
                unknown.push(Violation::new("", format!("must have at most {PARAMETERS_MAX} query parameters")));
                break;
            }
            let at = pointer(&key);
            let Some(field) = self.fields.get(&key) else {
                if unknown.is_empty() {
                    let known: Vec<_> = self.fields.keys().map(String::as_str).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    let message = format!("is not a query parameter of this route; known are: {known}");
                    unknown.push(Violation::new(at, message));
                } else if unknown.iter().all(|violation| violation.pointer != at) {
                    unknown.push(Violation::new(at, "is not a query parameter of this route"));
                }
                continue;
            };
            let value = field.shape.value_of_text(&text);
            match (object.get_mut(&key), value) {
                (None, value) => {
                    object.insert(key, value);
                }
                (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
                (Some(_), _) => found.push(Violation::new(at, "must not be repeated")),
            }
        }
        (Value::Object(object), unknown)
    }
}

fn read_tagged(
    tag: &str,
    variants: &[(String, Object)],
    fields: &mut Map<String, Value>,
    at: &str,
    found: &mut Violations,
) {
    let words = || one_of(variants.iter().map(|(word, _)| word.as_str()));
    let tag_at = || format!("{at}{}", pointer(tag));
    let fault = match fields.get(tag) {
        None | Some(Value::Null) => "is required".to_owned(),
        Some(Value::String(given)) => match variants.iter().find(|(word, _)| word == given) {
            Some((_, object)) => return object.read_except(Some(tag), fields, at, found),
            None => words(),
        },
        Some(_) => "must be a string".to_owned(),
    };
    found.push(Violation::new(tag_at(), fault));
    read_untagged(tag, variants, fields, at, found);
}

/// Reads an object of which the variant is not known: the fields that all variants have. Those of some variants are left
/// alone, as it is not known whether they are wrong.
fn read_untagged(
    tag: &str,
    variants: &[(String, Object)],
    fields: &mut Map<String, Value>,
    at: &str,
    found: &mut Violations,
) {
    let Some((_, first)) = variants.first() else { return };
    let in_all = |key: &str| variants.iter().all(|(_, object)| object.fields.contains_key(key));
    let in_some = |key: &str| variants.iter().any(|(_, object)| object.fields.contains_key(key));
    for (key, value) in fields.iter_mut().filter(|(key, _)| *key != tag) {
        let at = format!("{at}{}", pointer(key));
        match first.fields.get(key).filter(|_| in_all(key)) {
            Some(field) if value.is_null() && !field.shape.is_nullable => {}
            Some(field) => field.shape.read(value, &at, found),
            None if in_some(key) => {}
            None => found.push(Violation::new(at, "is not a known field")),
        }
    }
    for (key, _) in first.fields.iter().filter(|(key, field)| field.is_required && in_all(key)) {
        if fields.get(key).is_none_or(Value::is_null) {
            found.push(Violation::new(format!("{at}{}", pointer(key)), "is required"));
        }
    }
}

/// Merges a patch over the fields of a variant. One that names another variant drops the fields that only the former one
/// had.
pub(super) fn merge_tagged(
    tag: &str,
    variants: &[(String, Object)],
    fields: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    at: &str,
    found: &mut Violations,
) {
    let variant = |word: Option<&Value>| {
        let word = word.and_then(Value::as_str)?;
        variants.iter().find(|(known, _)| known == word)
    };
    let before = variant(fields.get(tag));
    let after = if patch.contains_key(tag) { variant(patch.get(tag)) } else { before };
    let Some((word, object)) = after else {
        fields.extend(patch.clone());
        return;
    };
    if before.is_none_or(|(before, _)| before != word) {
        fields.retain(|key, _| variants.iter().all(|(_, object)| object.fields.contains_key(key)));
    }
    object.merge(fields, patch, at, found);
}

impl Shape {
    /// What the value must be, for a `null` that it must not be.
    fn form(&self) -> String {
        let form = match &self.kind {
            Kind::Text(text) if !text.words.is_empty() => return one_of(text.words.iter().map(String::as_str)),
            Kind::Integer { min, max } => return integer_form(*min, *max),
            Kind::Any => "must not be null",
            Kind::Text(_) => "must be a string",
            Kind::Number => "must be a number",
            Kind::Boolean => "must be true or false",
            Kind::List { .. } => "must be a list",
            Kind::Map { .. } | Kind::Object(_) | Kind::Tagged { .. } => "must be an object",
            Kind::Either(shapes) => return shapes.first().map(Self::form).unwrap_or_default(),
        };
        form.to_owned()
    }
}

/// The number, if it is whole, however it is written: JSON has one type of number, so that some serialisers write
/// `1842.0` or `1e3`.
fn whole_number(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    let number = value.as_f64()?;
    // Every whole number up to this bound is exact as a float.
    (number.fract() == 0.0 && number.abs() <= INTEGER_MAX as f64).then_some(number as i128)
}

fn integer_form(min: i64, max: u64) -> String {
    match (min, max) {
        (0, max) if max >= u64::from(u32::MAX) => "must be a whole number, 0 or more".to_owned(),
        (min, max) if max >= u64::from(u32::MAX) => format!("must be a whole number, {min} or more"),
        _ => format!("must be a whole number from {min} to {max}"),
    }
}
