//! Literals against the spelled type, and against each other.

use std::cmp::Ordering;

use crate::spelled::Item;
use crate::value::{Literal, Value};

/// Returns the message for a literal that is not a value of the type.
pub(super) fn misfit(literal: &Literal, value: &Value, item: Item) -> Option<String> {
    Some(match (item, literal) {
        // The whole default of a `Secret` is refused before its items are checked.
        (Item::Unknown | Item::Any | Item::Secret, _)
        | (Item::String | Item::Path, Literal::Str(_))
        | (Item::Bool, Literal::Bool(_))
        | (Item::F64, Literal::Int(_) | Literal::Float(_)) => return None,
        (Item::F32, Literal::Int(_) | Literal::Float(_)) => {
            let number = as_f64(literal)?;
            if number.abs() <= f64::from(f32::MAX) {
                return None;
            }
            format!("{value} is outside the range of `f32`")
        }
        (Item::Integer { name, min, max }, Literal::Int(number)) => {
            if (min..=max).contains(number) {
                return None;
            }
            format!("{number} is outside the range of `{name}`, which is {min} to {max}")
        }
        (Item::Integer { name, .. }, Literal::Float(number))
            if number.fract() == 0.0 && number.abs() < 1e15 =>
        {
            format!("`{name}` is a whole number: write `{number:.0}`")
        }
        (Item::String, Literal::Int(_) | Literal::Float(_) | Literal::Bool(_)) => {
            format!("`String` is a text: write `\"{value}\"`")
        }
        (Item::Object, _) => {
            "an object has no literal: leave the default out and make the field an `Option`"
                .to_owned()
        }
        (Item::String | Item::Path, _) => {
            format!("`{}` is written as a text in double quotes", type_name(item))
        }
        (Item::Bool, _) => "`bool` is `true` or `false`".to_owned(),
        (Item::Integer { name, .. }, _) => format!("`{name}` is a whole number"),
        (Item::F32 | Item::F64, _) => format!("`{}` is a number", type_name(item)),
    })
}

/// Compares two numbers or two texts; `None` for values of different kinds.
pub(super) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (&a.literal, &b.literal) {
        (Literal::Int(a), Literal::Int(b)) => Some(a.cmp(b)),
        (Literal::Str(a), Literal::Str(b)) => Some(a.cmp(b)),
        (a, b) => as_f64(a)?.partial_cmp(&as_f64(b)?),
    }
}

pub(super) fn integer(value: &Value) -> Option<i128> {
    match value.literal {
        Literal::Int(number) => Some(number),
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a whole number is compared with a float as the float nearest to it"
)]
fn as_f64(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Int(number) => Some(*number as f64),
        Literal::Float(number) => Some(*number),
        _ => None,
    }
}

pub(super) fn type_name(item: Item) -> &'static str {
    match item {
        Item::String => "String",
        Item::Integer { name, .. } => name,
        Item::F32 => "f32",
        Item::F64 => "f64",
        Item::Bool => "bool",
        Item::Path => "Path",
        Item::Secret => "Secret",
        Item::Object => "serde_json::Map",
        Item::Any => "serde_json::Value",
        Item::Unknown => "type",
    }
}
