//! From a checked JSON value to a field of the author's struct: [`Item`] for single values, [`InputType`] for what a
//! field may hold (a single value, an `Option`, a `Vec`).

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::problems::{Problem, Problems};
use super::rules;
use super::spec::{Kind, Type};
use super::types::{Path, Secret};

/// A type that one value of an input may have.
///
/// Implemented for the types of the table in the crate's documentation, and by `#[derive(Choice)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of an input",
    label = "not a type of an input",
    note = "inputs are `String`, integers, `f32`, `f64`, `bool`, `cog_train::Path`, `Secret`, `serde_json::Map`, `serde_json::Value`, an enum with `#[derive(Choice)]`, and `Option` or `Vec` of these",
    note = "for a file, write `cog_train::Path` in place of `std::path::Path` or `PathBuf`"
)]
pub trait Item: Sized {
    /// The kind in the schema.
    const KIND: Kind;

    /// Converts a value; `None` when it is of another kind or out of the type's range.
    fn from_value(value: &Value) -> Option<Self>;
}

/// A type that a field of an inputs struct may have: an [`Item`], `Option` of one, `Vec` of them, or `Option<Vec<_>>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of an input",
    label = "not a type of an input",
    note = "inputs are `String`, integers, `f32`, `f64`, `bool`, `cog_train::Path`, `Secret`, `serde_json::Map`, `serde_json::Value`, an enum with `#[derive(Choice)]`, and `Option` or `Vec` of these",
    note = "for a file, write `cog_train::Path` in place of `std::path::Path` or `PathBuf`"
)]
pub trait InputType: Sized {
    /// The type without its `Option` and `Vec`.
    type Item: Item;

    /// The type in the table.
    const TYPE: Type;

    /// Converts a value; `None` when it does not fit.
    fn from_value(value: &Value) -> Option<Self>;

    /// Converts the value `name` of `values`. The derives call this method, so that a type that is not an input is one
    /// compile error and not two: the compiler reports equal errors at one span once.
    ///
    /// # Errors
    ///
    /// A problem at `name` when the value does not fit `Self`. After [`check`](super::check) against the same table that
    /// happens only for a number that overflows an `f32`.
    fn take(values: &dyn Lookup, name: &str) -> Result<Self, Problems> {
        let value = values.value(name).unwrap_or(&Value::Null);
        Self::from_value(value).ok_or_else(|| {
            let shown = rules::shown(Self::TYPE.kind, value);
            let text = format!("{shown} does not fit the type of the field");
            Problems::new(vec![Problem::new(name, text)])
        })
    }
}

/// JSON values by the names of their inputs.
pub trait Lookup {
    /// Returns a value, secrets in the clear; `None` when there is no such input.
    fn value(&self, name: &str) -> Option<&Value>;
}

/// An enum whose variants are the only values of an input; made by `#[derive(Choice)]`.
///
/// ```
/// use cog_train::prelude::*;
///
/// #[derive(Debug, Clone, Copy, PartialEq, Choice)]
/// enum Optimizer {
///     #[choice(rename = "adamw")]
///     AdamW,
///     PlainSgd,
/// }
///
/// assert_eq!(Optimizer::NAMES, ["adamw", "plain_sgd"]);
/// assert_eq!(Optimizer::from_name("plain_sgd"), Some(Optimizer::PlainSgd));
/// assert_eq!(Optimizer::AdamW.name(), "adamw");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a choice",
    label = "needs `#[derive(Choice)]`",
    note = "a default written as a path is a variant of an enum with `#[derive(Choice)]`"
)]
pub trait Choice: Sized {
    /// The names, in the order of the variants.
    const NAMES: &'static [&'static str];

    /// Returns the variant with this name.
    fn from_name(name: &str) -> Option<Self>;

    /// Returns the name of this variant.
    fn name(&self) -> &'static str;
}

impl<T: Item> InputType for T {
    type Item = T;
    const TYPE: Type = Type { kind: T::KIND, list: false, optional: false };

    fn from_value(value: &Value) -> Option<Self> {
        T::from_value(value)
    }
}

impl<T: Item> InputType for Vec<T> {
    type Item = T;
    const TYPE: Type = Type { kind: T::KIND, list: true, optional: false };

    fn from_value(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::from_value).collect()
    }
}

impl<T: Item> InputType for Option<T> {
    type Item = T;
    const TYPE: Type = Type { kind: T::KIND, list: false, optional: true };

    fn from_value(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: Item> InputType for Option<Vec<T>> {
    type Item = T;
    const TYPE: Type = Type { kind: T::KIND, list: true, optional: true };

    fn from_value(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { Vec::<T>::from_value(value).map(Some) }
    }
}

impl Item for String {
    const KIND: Kind = Kind::String;

    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Item for Path {
    const KIND: Kind = Kind::Path;

    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(|text| PathBuf::from(text).into())
    }
}

impl Item for Secret {
    const KIND: Kind = Kind::Secret;

    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(Secret::new)
    }
}

impl Item for bool {
    const KIND: Kind = Kind::Boolean;

    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Item for Map<String, Value> {
    const KIND: Kind = Kind::Object;

    fn from_value(value: &Value) -> Option<Self> {
        value.as_object().cloned()
    }
}

impl Item for Value {
    const KIND: Kind = Kind::Any;

    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl Item for f64 {
    const KIND: Kind = Kind::Float;

    fn from_value(value: &Value) -> Option<Self> {
        value.as_f64().filter(|number| number.is_finite())
    }
}

impl Item for f32 {
    const KIND: Kind = Kind::Float;

    #[expect(
        clippy::cast_possible_truncation,
        reason = "an `f32` field asks for the nearest 32-bit number"
    )]
    fn from_value(value: &Value) -> Option<Self> {
        value.as_f64().map(|number| number as f32).filter(|number| number.is_finite())
    }
}

/// Converts a JSON number to an integer: `3` and `3.0` alike, exact over 64 bits and for any integral float.
#[must_use]
pub(crate) fn whole(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    if let Some(number) = number.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = number.as_u64() {
        return Some(number.into());
    }
    let float = number.as_f64()?;
    // 2^126 is far beyond every integer type, and below it the cast is exact.
    #[expect(clippy::cast_possible_truncation, reason = "integral and in range")]
    (float.fract() == 0.0 && float.abs() < 2f64.powi(126)).then_some(float as i128)
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Item for $ty {
            const KIND: Kind = Kind::Integer { min: <$ty>::MIN as i128, max: <$ty>::MAX as i128 };

            fn from_value(value: &Value) -> Option<Self> {
                whole(value)?.try_into().ok()
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);
