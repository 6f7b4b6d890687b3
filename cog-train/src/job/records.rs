//! The `metrics` of an answer: named values that are replaced, added up or gathered.

use serde_json::{Map, Value};

use crate::input::{MAX_DEPTH, depth};
use crate::progress::Record;

/// Puts a value under a dotted name; the problem with the name or the value when it cannot be.
pub(super) fn put(
    at: &mut Map<String, Value>,
    name: &str,
    value: Value,
    mode: Record,
) -> Result<(), &'static str> {
    let segments: Vec<&str> = name.split('.').collect();
    if name.chars().count() > 128 {
        Err("has more than 128 characters")
    } else if segments.len() > 4 {
        Err("has more than 4 segments")
    } else if segments.iter().any(|segment| segment.is_empty()) {
        Err("has an empty segment")
    } else if name == "predict_time" || segments[0] == "cog" {
        Err("is reserved")
    } else if depth(&value) + segments.len() > MAX_DEPTH {
        Err("is nested more than 100 levels deep")
    } else {
        insert(at, &segments, value, mode)
    }
}

fn insert(
    at: &mut Map<String, Value>,
    segments: &[&str],
    value: Value,
    mode: Record,
) -> Result<(), &'static str> {
    let (name, rest) = segments.split_first().expect("a name has a segment");
    if !rest.is_empty() {
        let inner = at.entry(*name).or_insert_with(|| Value::Object(Map::new()));
        return insert(
            inner.as_object_mut().ok_or("goes through a value that is not an object")?,
            rest,
            value,
            mode,
        );
    }
    if value.is_null() {
        at.shift_remove(*name);
        return Ok(());
    }
    let Some(old) = at.get_mut(*name) else {
        at.insert(
            (*name).to_owned(),
            if mode == Record::Append { Value::Array(vec![value]) } else { value },
        );
        return Ok(());
    };
    match mode {
        Record::Replace => *old = value,
        Record::Increment => *old = sum(old, &value).ok_or("adds what is not a number")?,
        Record::Append => match old {
            Value::Array(list) => list.push(value),
            single => *single = Value::Array(vec![single.take(), value]),
        },
    }
    Ok(())
}

fn sum(a: &Value, b: &Value) -> Option<Value> {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.checked_add(b).map(Value::from),
        _ => Some(Value::from(a.as_f64()? + b.as_f64()?)),
    }
}
