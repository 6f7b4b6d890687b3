//! The inputs and the seed of a run as `run.json` records them.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Map, Value, json};

use super::fetch_inputs::Digests;
use super::previous::{HIDDEN, PreviousRun};
use crate::fetch::{is_url, redact};
use crate::input::{Entry, Mask, Values};

/// Describes each input by its value and its origin; secrets are asterisks, and addresses are without credentials. An input
/// whose value holds a secret is marked as `hidden`.
pub(super) fn described(values: &Values) -> Map<String, Value> {
    let mut shown = values.clone();
    for (_, path) in shown.paths_mut() {
        if is_url(path) {
            *path = redact(path);
        }
    }
    let describe = |entry: Entry<'_>| {
        let mut described = json!({"value": entry.value, "origin": entry.origin.as_str()});
        if entry.hidden {
            described[HIDDEN] = true.into();
        }
        (entry.name.to_owned(), described)
    };
    shown.entries().map(describe).collect()
}

/// Adds the files behind the inputs. A path may hold a secret, as its input's value may.
pub(super) fn add_files(inputs: &mut Map<String, Value>, digests: Digests, mask: &Mask) {
    for (name, mut files) in digests {
        for file in files.as_array_mut().into_iter().flatten() {
            if let Some(path) = file.get_mut("path") {
                *path = mask.value(path.take());
            }
        }
        if let Some(Value::Object(input)) = inputs.get_mut(&name) {
            input.insert("files".to_owned(), files);
        }
    }
}

/// Returns the seed of a resumed run: an input, else `--seed`, else that of its `run.json`.
pub(super) fn resumed_seed(
    previous: &PreviousRun,
    values: &Values,
    argument: Option<u64>,
) -> (u64, String) {
    match (seed_of(values, argument), previous.seed()) {
        ((_, "drawn"), Some(old)) => old,
        ((seed, "--seed"), Some(old)) if old.0 == seed => old,
        ((seed, origin), _) => (seed, origin.to_owned()),
    }
}

/// Returns the run's seed and its origin: an input named `seed`, else `--seed`, else drawn.
pub(super) fn seed_of(values: &Values, argument: Option<u64>) -> (u64, &'static str) {
    let input =
        values.take::<u64>("seed").or_else(|_| values.take::<i64>("seed").map(i64::cast_unsigned));
    if let Ok(seed) = input {
        return (seed, "input");
    }
    if let Some(seed) = argument {
        return (seed, "--seed");
    }
    // The standard library's own source of randomness. 32 bits: a seed that a person can type again.
    let drawn = RandomState::new().build_hasher().finish();
    (drawn >> 32, "drawn")
}
