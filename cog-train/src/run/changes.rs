//! The differences between the inputs of a run and those of its resumption.

use serde_json::{Map, Value};

use crate::error::counted;
use crate::input::{self, Spec};
#[cfg(feature = "serve")]
use {super::recorded::described, crate::input::Values};

/// Returns the differences between the inputs of `run.json` and those that are given now, a line each. Files are left out: their
/// content decides, and is not read here.
#[cfg(feature = "serve")]
pub(crate) fn changes_now(
    table: &[Spec],
    old: &Map<String, Value>,
    values: &Values,
) -> Vec<String> {
    let mut new = described(values);
    for (name, now) in &mut new {
        let is_given = now.get("origin").and_then(Value::as_str) == Some("given");
        let is_path = |spec: &Spec| spec.name == name && spec.ty.kind == input::Kind::Path;
        if let Some(then) = old.get(name)
            && (!is_given || table.iter().any(is_path))
        {
            now.clone_from(then);
        }
    }
    changes(table, old, &new)
}

/// Returns the differences between the inputs of `run.json` and the given ones, a line each.
///
/// Files are the same when their content is. Secrets are not compared, for they are not kept.
pub(crate) fn changes(
    table: &[Spec],
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Vec<String> {
    let mut changes = Vec::new();
    for spec in table.iter().filter(|spec| spec.ty.kind != input::Kind::Secret) {
        let (Some(now), name) = (new.get(spec.name), spec.name) else { continue };
        let Some(then) = old.get(name) else {
            if now.get("origin").and_then(Value::as_str) == Some("given") {
                changes.push(format!("`{name}`: not there before, {} now", text(now)));
            }
            continue;
        };
        if spec.ty.kind == input::Kind::Path {
            changes.extend(files_changed(name, then, now));
        } else if !same(value(then), value(now)) {
            changes.push(format!("`{name}`: {} before, {} now", text(then), text(now)));
        }
    }
    let gone = old.iter().filter(|(name, then)| {
        table.iter().all(|spec| spec.name != *name)
            && then.get("origin").and_then(Value::as_str) == Some("given")
    });
    changes.extend(
        gone.map(|(name, then)| format!("`{name}`: {} before, no such input now", text(then))),
    );
    changes
}

fn value(entry: &Value) -> &Value {
    entry.get("value").unwrap_or(&Value::Null)
}

fn text(entry: &Value) -> String {
    match value(entry) {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    }
}

/// `1` and `1.0` are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if x.is_f64() != y.is_f64() => {
            x.as_f64() == y.as_f64()
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        _ => a == b,
    }
}

fn files_changed(name: &str, then: &Value, now: &Value) -> Option<String> {
    let list = |entry: &Value| entry.get("files").and_then(Value::as_array).cloned();
    // A run that was killed while it read its files has none of their digests: their names decide.
    if list(then).is_none() && !value(then).is_null() && *value(then) != Value::Array(vec![]) {
        let changed = value(then) != value(now);
        return changed.then(|| format!("`{name}`: {} before, {} now", text(then), text(now)));
    }
    let (then, now) = (list(then).unwrap_or_default(), list(now).unwrap_or_default());
    if then.len() != now.len() {
        let then = counted(then.len(), "file");
        return Some(format!("`{name}`: {then} before, {} now", now.len()));
    }
    let describe = |file: &Value| {
        let digest = file.get("sha256").and_then(Value::as_str).unwrap_or_default();
        let bytes = file.get("bytes").and_then(Value::as_u64).unwrap_or_default();
        format!("{} with SHA-256 {}", counted(bytes, "byte"), digest.get(..12).unwrap_or(digest))
    };
    let (then, now) = then.iter().zip(&now).find(|(a, b)| a.get("sha256") != b.get("sha256"))?;
    let path = now.get("path").and_then(Value::as_str).unwrap_or_default();
    Some(format!("`{name}`: `{path}` had {} before, {} now", describe(then), describe(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputType;
    use serde_json::json;

    const TABLE: &[Spec] = &[
        Spec::new("epochs", <u32 as InputType>::TYPE),
        Spec::new("rate", <f64 as InputType>::TYPE),
        Spec::new("data", <crate::Path as InputType>::TYPE),
        Spec::new("token", <Option<crate::Secret> as InputType>::TYPE),
    ];

    fn entries(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { unreachable!() };
        map
    }

    #[cfg(feature = "serve")]
    #[test]
    fn inputs_that_are_given_again_are_compared_without_their_files() {
        let old = entries(json!({
            "epochs": {"value": 5, "origin": "given"},
            "rate": {"value": 0.5, "origin": "default"},
            "data": {"value": "a.txt", "origin": "given", "files": [{"path": "a", "sha256": "aa"}]},
            "token": {"value": "**********", "origin": "given"},
        }));
        let now = |given: Value| {
            let checked = input::check(TABLE, &given, input::Unknown::Drop).unwrap();
            changes_now(TABLE, &old, &checked.values)
        };
        let same = json!({"epochs": 5.0, "rate": 0.5, "data": "b.txt", "token": "other"});
        assert_eq!(now(same), [""; 0]);
        let other = json!({"epochs": 6, "rate": 0.25, "data": "a.txt"});
        assert_eq!(now(other), ["`epochs`: 5 before, 6 now", "`rate`: 0.5 before, 0.25 now"]);
    }

    #[test]
    fn every_change_is_named_with_both_values() {
        let file =
            |digest: &str, bytes: u64| json!([{"path": "d", "bytes": bytes, "sha256": digest}]);
        let old = entries(json!({
            "epochs": {"value": 3, "origin": "default"},
            "rate": {"value": 1, "origin": "given"},
            "data": {"value": "a.txt", "origin": "given", "files": file("aa", 5)},
            "token": {"value": "**********", "origin": "given"},
            "gone": {"value": "x", "origin": "given"},
            "unset": {"value": null, "origin": "absent"},
        }));
        let mut new = old.clone();
        new["rate"] = json!({"value": 1.0, "origin": "given"});
        new["data"] = json!({"value": "b.txt", "origin": "given", "files": file("aa", 5)});
        new["token"] = json!({"value": null, "origin": "absent"});
        assert_eq!(changes(TABLE, &old, &new), ["`gone`: \"x\" before, no such input now"]);
        new["epochs"] = json!({"value": 5, "origin": "given"});
        new["data"]["files"] = file("bb", 1);
        assert_eq!(
            changes(TABLE, &old, &new),
            [
                "`epochs`: 3 before, 5 now",
                "`data`: `d` had 5 bytes with SHA-256 aa before, 1 byte with SHA-256 bb now",
                "`gone`: \"x\" before, no such input now"
            ]
        );
    }
}
