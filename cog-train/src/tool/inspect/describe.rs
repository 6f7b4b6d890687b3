//! Metadata as flat JSON, and the sizes of dtypes.

use serde_json::{Map, Value};

use crate::gguf;

/// Returns the bits of an element of a dtype by its name in safetensors: `BF16`, `F8_E4M3`, `BOOL`.
pub(super) fn bits(dtype: &str) -> u64 {
    let digits = dtype.chars().skip_while(|c| !c.is_ascii_digit());
    let digits: String = digits.take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(8) // `BOOL`
}

/// Adds the values of an object under the paths of their keys, `rope_scaling.factor`. Lists and what is null stay whole.
pub(super) fn flatten(path: &str, value: &Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, into);
            }
        }
        value => drop(into.insert(path.to_owned(), value.clone())),
    }
}

/// The most values of an array that are kept: a vocabulary is listed nowhere.
const MOST: usize = 8;

/// Returns a value of a GGUF file; of a long array its first values and its length.
pub(super) fn gguf_value(value: &gguf::Value) -> Value {
    use gguf::Value as V;
    match value {
        V::U8(it) => (*it).into(),
        V::I8(it) => (*it).into(),
        V::U16(it) => (*it).into(),
        V::I16(it) => (*it).into(),
        V::U32(it) => (*it).into(),
        V::I32(it) => (*it).into(),
        V::F32(it) => serde_json::json!(it),
        V::Bool(it) => (*it).into(),
        V::String(it) => it.as_str().into(),
        V::U64(it) => (*it).into(),
        V::I64(it) => (*it).into(),
        V::F64(it) => serde_json::json!(it),
        V::Array(array) => {
            let mut values: Vec<Value> = array.values().iter().take(MOST).map(gguf_value).collect();
            if array.len() > MOST {
                values.push(format!("... {} values", array.len()).into());
            }
            values.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_name_of_a_dtype_begins_with_its_bits() {
        for (dtype, expected) in [
            ("F32", 32),
            ("BF16", 16),
            ("F8_E4M3", 8),
            ("F4", 4),
            ("F6_E2M3", 6),
            ("BOOL", 8),
            ("I64", 64),
            ("C64", 64),
        ] {
            assert_eq!(bits(dtype), expected, "{dtype}");
        }
    }

    #[test]
    fn nested_settings_get_the_paths_of_their_keys() {
        let mut flat = Map::new();
        flatten("", &json!({"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}), &mut flat);
        assert_eq!(Value::Object(flat), json!({"a.b": 1, "a.c": {}, "d": [1, {"e": 2}]}));
    }
}
