//! Compiles the schema that utoipa derives from a type into a [`Shape`].

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::{Field, INTEGER_MAX, Kind, Object, Shape};
use super::text::{Text, bound, text};

/// Deeper schemas are those of a type that contains itself; what lies below is left to serde.
const DEPTH_MAX: usize = 24;

/// Compiles schemas, in which `$ref` names one of the definitions.
pub(super) struct Compiler {
    pub(super) definitions: BTreeMap<String, Value>,
}

impl Compiler {
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/components/schemas/"));
        name.and_then(|name| self.definitions.get(name)).unwrap_or(schema)
    }

    pub(super) fn shape(&self, schema: &Value, depth: usize) -> Shape {
        let schema = self.resolved(schema);
        if depth > DEPTH_MAX {
            return Shape::any();
        }
        if let Some(alternatives) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            return self.alternatives(alternatives, depth);
        }
        if schema["allOf"].is_array() {
            return self.object(schema, depth);
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(only) => vec![only],
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            _ => return Shape::any(),
        };
        let is_nullable = types.contains(&"null");
        let of_type = |name: &&str| *name != "null";
        let kind = match types.iter().copied().find(of_type) {
            Some("string") => Kind::Text(text(schema, types.contains(&"integer"))),
            Some("integer") if types.contains(&"string") => Kind::Text(text(schema, true)),
            Some("integer") => integer(schema),
            Some("number") => Kind::Number,
            Some("boolean") => Kind::Boolean,
            Some("array") => Kind::List {
                item: Box::new(self.shape(&schema["items"], depth + 1)),
                items_min: bound(schema, "minItems").unwrap_or(0),
                items_max: bound(schema, "maxItems").unwrap_or(usize::MAX),
                is_set: schema["uniqueItems"] == true,
            },
            Some("object") => return Shape { is_nullable, ..self.object(schema, depth) },
            _ => Kind::Any,
        };
        Shape { kind, is_nullable }
    }

    fn alternatives(&self, schemas: &[Value], depth: usize) -> Shape {
        let is_null = |schema: &&Value| schema["type"] == "null";
        let is_nullable = schemas.iter().any(|schema| is_null(&schema));
        let others: Vec<_> = schemas.iter().filter(|schema| !is_null(schema)).collect();
        if let [only] = others.as_slice() {
            let shape = self.shape(only, depth + 1);
            return Shape { is_nullable: is_nullable || shape.is_nullable, ..shape };
        }
        let kind = self
            .tagged(&others, depth)
            .unwrap_or_else(|| Kind::Either(others.iter().map(|schema| self.shape(schema, depth + 1)).collect()));
        Shape { kind, is_nullable }
    }

    /// The variants of an enum whose tag is a field with one word.
    fn tagged(&self, schemas: &[&Value], depth: usize) -> Option<Kind> {
        let mut tag: Option<String> = None;
        let mut variants = Vec::new();
        for schema in schemas {
            let Kind::Object(mut object) = self.object(self.resolved(schema), depth).kind else { return None };
            let one_word = |field: &Field| match &field.shape.kind {
                Kind::Text(Text { words, .. }) if words.len() == 1 => Some(words[0].clone()),
                _ => None,
            };
            let (key, word) = match &tag {
                Some(tag) => (tag.clone(), one_word(object.fields.get(tag)?)?),
                None => object.fields.iter().find_map(|(key, field)| Some((key.clone(), one_word(field)?)))?,
            };
            object.fields.remove(&key);
            object.required.retain(|required| *required != key);
            variants.push((word, object));
            tag = Some(key);
        }
        Some(Kind::Tagged { tag: tag?, variants })
    }

    /// An object, with the parts that it is made of.
    fn object(&self, schema: &Value, depth: usize) -> Shape {
        let mut object = Object::default();
        let mut tagged = None;
        self.collect(schema, depth, &mut object, &mut tagged);
        let kind = match tagged {
            // The fields beside the tagged part are those of every variant.
            Some(Kind::Tagged { tag, variants }) => {
                let with_common = |(word, mut variant): (String, Object)| {
                    let mut common = Object::default();
                    let mut ignored = None;
                    self.collect(schema, depth, &mut common, &mut ignored);
                    variant.fields.extend(common.fields);
                    variant.required.extend(common.required);
                    (word, variant)
                };
                Kind::Tagged { tag, variants: variants.into_iter().map(with_common).collect() }
            }
            _ => {
                let additional = &schema["additionalProperties"];
                let is_map = object.fields.is_empty() && !additional.is_null() && *additional != false;
                if is_map {
                    let value = if additional.is_object() { self.shape(additional, depth + 1) } else { Shape::any() };
                    Kind::Map {
                        value: Box::new(value),
                        entries_max: bound(schema, "maxProperties").unwrap_or(usize::MAX),
                    }
                } else {
                    Kind::Object(object)
                }
            }
        };
        Shape { kind, is_nullable: false }
    }

    fn collect(&self, schema: &Value, depth: usize, object: &mut Object, tagged: &mut Option<Kind>) {
        let schema = self.resolved(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.collect(part, depth + 1, object, tagged);
        }
        if let Some(variants) = schema["oneOf"].as_array() {
            *tagged = self.tagged(&variants.iter().collect::<Vec<_>>(), depth + 1);
        }
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let field = Field { shape: self.shape(property, depth + 1), is_required: required.contains(&key.as_str()) };
            object.fields.insert(key.clone(), field);
        }
        object.required.extend(required.into_iter().map(str::to_owned));
        let additional = &schema["additionalProperties"];
        object.is_open |= !object.fields.is_empty() && !additional.is_null() && *additional != false;
    }
}

fn integer(schema: &Value) -> Kind {
    let (min_of_type, max_of_type) = match schema["format"].as_str() {
        Some("u-int8") => (0, u8::MAX.into()),
        Some("u-int16") => (0, u16::MAX.into()),
        Some("u-int32") => (0, u32::MAX.into()),
        Some("u-int64") => (0, INTEGER_MAX),
        Some("int8") => (i8::MIN.into(), i8::MAX as u64),
        Some("int16") => (i16::MIN.into(), i16::MAX as u64),
        Some("int32") => (i32::MIN.into(), i32::MAX as u64),
        _ => (-(INTEGER_MAX as i64), INTEGER_MAX),
    };
    Kind::Integer {
        min: schema["minimum"].as_f64().map_or(min_of_type, |min| min as i64),
        max: schema["maximum"].as_f64().map_or(max_of_type, |max| max as u64),
    }
}
