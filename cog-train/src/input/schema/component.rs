//! Components of a trainer's own declarations: its inputs, its output, its enumerations.

use serde_json::{Map, Value, json};

use super::reference;
use crate::input::convert::Item;
use crate::input::output_type::OutputType;
use crate::input::rules::{bounds, choices, type_name};
use crate::input::spec::{Kind, Number, Spec};

/// Returns the component of all inputs. `register` takes each enumeration and returns its component's name.
pub(super) fn input(
    title: &str,
    table: &[Spec],
    mut register: impl FnMut(&Spec, Value) -> String,
) -> Value {
    let mut properties = Map::new();
    for (order, spec) in table.iter().enumerate() {
        properties.insert(spec.name.to_owned(), property(order, spec, &mut register));
    }
    let required: Vec<&str> =
        table.iter().filter(|spec| spec.required()).map(|spec| spec.name).collect();
    object(title, properties, &required)
}

/// Returns the component of an output. Cog gives it this title on both sides.
pub(super) fn output(output: &OutputType) -> Value {
    titled(output_schema(output), "Output", false)
}

pub(super) fn enumeration(title: &str, values: &[Value], type_name: &str) -> Value {
    json!({"description": "An enumeration.", "enum": values, "title": title, "type": type_name})
}

/// Converts a name to a title: `learning_rate` is `Learning Rate`.
pub(super) fn title(name: &str) -> String {
    let part = |part: &str| {
        let mut chars = part.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    };
    name.split('_').map(part).collect::<Vec<_>>().join(" ")
}

fn property(order: usize, spec: &Spec, register: &mut impl FnMut(&Spec, Value) -> String) -> Value {
    let mut schema = item(spec, register);
    if spec.ty.list {
        schema = Map::from_iter([
            ("items".to_owned(), sorted(schema)),
            ("type".to_owned(), "array".into()),
        ]);
    }
    if !schema.contains_key("allOf") {
        schema.insert("title".to_owned(), title(spec.name).into());
    }
    schema.insert("x-order".to_owned(), order.into());
    if let Some(text) = spec.description {
        schema.insert("description".to_owned(), text.into());
    }
    if let Some(default) = spec.default {
        schema.insert("default".to_owned(), default.to_json());
    } else if spec.ty.optional {
        schema.insert("default".to_owned(), Value::Null);
    }
    if spec.ty.optional {
        schema.insert("nullable".to_owned(), true.into());
    }
    if spec.deprecated {
        schema.insert("deprecated".to_owned(), true.into());
    }
    sorted(schema)
}

/// Returns the schema of one value with its rules: the property itself, or the items of a list.
fn item(spec: &Spec, register: &mut impl FnMut(&Spec, Value) -> String) -> Map<String, Value> {
    let mut schema = Map::new();
    let kind = spec.ty.kind;
    if let Some(choices) = choices(spec) {
        let name = register(spec, enumeration(spec.name, &choices, type_name(kind)));
        schema.insert("allOf".to_owned(), json!([reference(&name)]));
    } else {
        schema.insert("type".to_owned(), type_name(kind).into());
    }
    match kind {
        Kind::Path => {
            schema.insert("format".to_owned(), "uri".into());
        }
        Kind::Secret => {
            schema.insert("format".to_owned(), "password".into());
            schema.insert("writeOnly".to_owned(), true.into());
            schema.insert("x-cog-secret".to_owned(), true.into());
        }
        _ => {}
    }
    let (least, greatest) = bounds(spec);
    // Cog's integer is an `i64`, whose own range is not written.
    let is_implied = |declared: Option<Number>| kind == <i64 as Item>::KIND && declared.is_none();
    for (keyword, value) in [
        ("minimum", least.filter(|_| !is_implied(spec.ge)).map(Number::to_json)),
        ("maximum", greatest.filter(|_| !is_implied(spec.le)).map(Number::to_json)),
        ("minLength", spec.min_length.map(Value::from)),
        ("maxLength", spec.max_length.map(Value::from)),
        ("pattern", spec.regex.map(Value::from)),
    ] {
        if let Some(value) = value {
            schema.insert(keyword.to_owned(), value);
        }
    }
    schema
}

fn output_schema(output: &OutputType) -> Value {
    match output {
        OutputType::String => json!({"type": "string"}),
        OutputType::Integer => json!({"type": "integer"}),
        OutputType::Number => json!({"type": "number"}),
        OutputType::Boolean => json!({"type": "boolean"}),
        OutputType::Path => json!({"format": "uri", "type": "string"}),
        OutputType::Object => json!({"type": "object"}),
        OutputType::Array(items) => json!({"items": output_schema(items), "type": "array"}),
        OutputType::Fields(fields) => {
            let mut properties = Map::new();
            for field in fields {
                let schema = titled(output_schema(&field.ty), &title(field.name), field.optional);
                properties.insert(field.name.to_owned(), schema);
            }
            let required: Vec<&str> =
                fields.iter().filter(|field| !field.optional).map(|field| field.name).collect();
            object("Output", properties, &required)
        }
    }
}

/// Returns the schema of an object. Cog omits an empty `required`.
fn object(title: &str, properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut schema = Map::from_iter([("properties".to_owned(), Value::Object(properties))]);
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("title".to_owned(), title.into());
    schema.insert("type".to_owned(), "object".into());
    Value::Object(schema)
}

fn titled(schema: Value, title: &str, nullable: bool) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    if nullable {
        schema.insert("nullable".to_owned(), true.into());
    }
    schema.insert("title".to_owned(), title.into());
    sorted(schema)
}

/// Sorts keywords alphabetically, as the generator prints them.
fn sorted(mut schema: Map<String, Value>) -> Value {
    schema.sort_keys();
    Value::Object(schema)
}
