//! The depth of nested values.

use serde_json::Value;

/// The most lists and objects within each other in the value of an input. JSON readers, `serde_json` and Python's among
/// them, refuse texts that are nested deeper than some limit (`serde_json`: 127), and a value stands some levels deep
/// in requests, answers and `run.json`.
pub const MAX_DEPTH: usize = 100;

/// Returns the number of lists and objects within each other: 0 for a number, 1 for `[1]`, 2 for `[{"a": 1}]`.
pub(crate) fn depth(value: &Value) -> usize {
    // Level by level and not by recursion, which a value made by a program could make overflow the stack.
    let mut level = vec![value];
    let mut depth = 0;
    loop {
        let mut inner = Vec::new();
        let mut nested = false;
        for value in level {
            match value {
                Value::Array(items) => inner.extend(items.iter().filter(|item| is_nested(item))),
                Value::Object(map) => inner.extend(map.values().filter(|item| is_nested(item))),
                _ => continue,
            }
            nested = true;
        }
        if !nested {
            return depth;
        }
        depth += 1;
        level = inner;
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_array() || value.is_object()
}
