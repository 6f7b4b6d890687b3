//! The kinds of values.

use serde_json::{Map, Value};

/// A value that a key may have.
pub(crate) trait KeyValue: Sized {
    /// The kind of value in a message: `a whole number`.
    const KIND: &'static str;

    /// Converts a JSON value; `None` when it is of another kind.
    fn of(value: &Value) -> Option<Self>;
}

impl KeyValue for usize {
    const KIND: &'static str = "a whole number below 2^31";

    /// The product of two such sizes, as of heads and their width, does not overflow.
    fn of(value: &Value) -> Option<Self> {
        let number = value.as_u64().filter(|number| *number < 1 << 31);
        number.and_then(|number| number.try_into().ok())
    }
}

impl KeyValue for u32 {
    const KIND: &'static str = "a whole number below 2^32";

    fn of(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|number| number.try_into().ok())
    }
}

impl KeyValue for f64 {
    const KIND: &'static str = "a number";

    fn of(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl KeyValue for bool {
    const KIND: &'static str = "true or false";

    fn of(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl KeyValue for String {
    const KIND: &'static str = "a text";

    fn of(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl KeyValue for Value {
    const KIND: &'static str = "a value";

    fn of(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl KeyValue for Map<String, Value> {
    const KIND: &'static str = "an object";

    fn of(value: &Value) -> Option<Self> {
        value.as_object().cloned()
    }
}

impl<T: KeyValue> KeyValue for Vec<T> {
    const KIND: &'static str = "a list";

    fn of(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::of).collect()
    }
}
