//! The inputs and the seed of a run as `run.json` records them.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Map, Value, json};

use super::fetch_inputs::Digests;
use crate::fetch::{is_url, parse_digest, redact};
use crate::input::{Entry, Mask, Values};

/// The mark in `run.json` of an input whose recorded value is masked: a secret, or a value that holds one.
pub(super) const HIDDEN: &str = "hidden";

/// The place of an input that was given in a file: `run.yaml:3:9`.
const PLACE: &str = "place";

/// Describes each input by its value and its origin; secrets are asterisks, and addresses are without credentials. An input
/// whose value holds a secret is marked as `hidden`.
pub(super) fn described(values: &Values) -> Map<String, Value> {
    let mut shown = values.clone();
    for (_, path) in shown.paths_mut() {
        if is_url(path) {
            *path = recorded_address(path);
        }
    }
    let describe = |entry: Entry<'_>| {
        let mut described = json!({"value": entry.value, "origin": entry.origin.as_str()});
        if entry.hidden {
            described[HIDDEN] = true.into();
        }
        if let Some(place) = entry.place {
            described[PLACE] = place.into();
        }
        (entry.name.to_owned(), described)
    };
    shown.entries().map(describe).collect()
}

/// Returns an address as `run.json` keeps it: with its digest, and without what may be a credential. Where something is left
/// out, the address ends in `...`, so that a resumed run does not fetch another file.
fn recorded_address(url: &str) -> String {
    let (base, fragment) = url.split_once('#').unwrap_or((url, ""));
    let mut recorded = redact(url);
    if recorded != base && !recorded.ends_with("...") {
        recorded.push_str("?...");
    }
    if let Some(digest) = fragment.strip_prefix("sha256=").and_then(parse_digest) {
        recorded.push_str("#sha256=");
        recorded.push_str(&digest);
    }
    recorded
}

/// Whether a recorded address lacks a part of the address that was given.
pub(super) fn is_shortened(address: &str) -> bool {
    address.split('#').next().is_some_and(|base| base.ends_with("..."))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_address_is_the_very_address_or_shortened() {
        let digest = "a".repeat(64);
        for (url, expected) in [
            ("http://h/a b's.csv", "http://h/a b's.csv"),
            ("http://h/ver.jsonl?v=2", "http://h/ver.jsonl?..."),
            ("https://user:pw@h/x", "https://h/x?..."),
            ("http://h/x#part", "http://h/x"),
            ("data:text/plain,secret", "data:text/plain,..."),
            (&format!("http://h/x#sha256={digest}"), &format!("http://h/x#sha256={digest}")),
            (
                &format!("http://h/x?k=1#sha256={digest}"),
                &format!("http://h/x?...#sha256={digest}"),
            ),
        ] {
            let recorded = recorded_address(url);
            assert_eq!(recorded, expected);
            assert_eq!(recorded_address(&recorded), expected, "a resumed run records the same");
            let whole = url.split('#').next() == expected.split('#').next();
            assert_eq!(is_shortened(&recorded), !whole, "{url}");
        }
    }
}
