//! JSON of inputs, without repeated names: a misplaced `"epochs"` would train with the other value.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::flaw::Flaw;
use crate::json::UniqueKeys;

/// Parses one JSON value, with nothing after it.
pub(super) fn parse(text: &str) -> Result<Value, Flaw> {
    read::<UniqueKeys>(text)?;
    read(text)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Flaw> {
    serde_json::from_str(text).map_err(|error| Flaw::new(format!("the text is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_names_are_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#, r#"{"a":1,"\u0061":2}"#]
        {
            let flaw = parse(text).err().unwrap().message;
            assert!(
                flaw.starts_with("the text is not JSON: the key `a` is there twice at line 1"),
                "{flaw}"
            );
        }
        assert_eq!(
            parse(r#"[{"a":1},{"a":{"a":1}}]"#).ok(),
            Some(json!([{"a": 1}, {"a": {"a": 1}}]))
        );
    }

    #[test]
    fn invalid_json_is_refused() {
        for text in ["", " ", "{", "[1,]", "{} {}", "NaN", "1e999", "'a'", "tru", "\u{feff}{}"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_read_back(value in any_json()) {
            prop_assert_eq!(parse(&value.to_string()).ok(), Some(value));
        }
    }
}
