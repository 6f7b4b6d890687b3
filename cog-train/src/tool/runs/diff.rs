//! The differences between two runs: inputs, seed, versions, device, and the last metrics.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::summary::Metrics;
use crate::cli::table_text;
use crate::error::Error;
use crate::message::printable_start;
use crate::run::RunRecord;
use crate::table::{Align, Table};

/// The most characters of a value in the table.
const SHORT: usize = 60;

/// A value that differs.
struct Difference {
    of: &'static str,
    name: String,
    /// As each run has it; null where one does not.
    values: [Value; 2],
}

/// Compares two runs by their folders.
pub(super) fn diff(a: &Path, b: &Path, as_json: bool) -> Result<String, Error> {
    let records = [RunRecord::read(a)?.into_fields(), RunRecord::read(b)?.into_fields()];
    let metrics = [a, b].map(|dir| Metrics::read(&dir.join("metrics.jsonl")).last);
    let mut found = Vec::new();
    for (of, name) in [("run", "trainer"), ("run", "status"), ("run", "device")] {
        let values = records.each_ref().map(|record| record.get(name).cloned().unwrap_or_default());
        add(&mut found, of, name, values);
    }
    let seeds = records.each_ref().map(|record| record["seed"].get("value").cloned());
    add(&mut found, "run", "seed", seeds.map(Option::unwrap_or_default));
    compare(&mut found, "version", &records.each_ref().map(|record| object(record, "versions")));
    compare(&mut found, "input", &records.each_ref().map(inputs));
    compare(&mut found, "metric", &metrics);
    let names = [a, b].map(|dir| {
        dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    });
    if as_json {
        let differences: Vec<Value> = found
            .iter()
            .map(|it| json!({"of": it.of, "name": it.name, "a": it.values[0], "b": it.values[1]}))
            .collect();
        return Ok(format!(
            "{:#}\n",
            json!({"a": names[0], "b": names[1], "differences": differences})
        ));
    }
    if found.is_empty() {
        return Ok("the two runs have the same inputs, versions and metrics\n".to_owned());
    }
    let [first, second] = names;
    let mut table = Table::new([
        ("of".to_owned(), Align::Left),
        ("name".to_owned(), Align::Left),
        (first, Align::Left),
        (second, Align::Left),
    ]);
    for Difference { of, name, values: [a, b] } in found {
        table.row([of.to_owned(), name, text(&a), text(&b)]);
    }
    Ok(table_text(&table))
}

fn object(record: &Map<String, Value>, name: &str) -> Map<String, Value> {
    record.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The values of the inputs; a file is its path and the start of its digest.
fn inputs(record: &Map<String, Value>) -> Map<String, Value> {
    let value = |entry: &Value| {
        let files = entry["files"].as_array().map_or(&[][..], Vec::as_slice);
        let digests: Vec<&str> = files
            .iter()
            .filter_map(|file| file["sha256"].as_str().map(|it| it.get(..8).unwrap_or(it)))
            .collect();
        match (&entry["value"], digests.is_empty()) {
            (Value::String(path), false) => format!("{path} ({})", digests.join(", ")).into(),
            (value, _) => value.clone(),
        }
    };
    object(record, "inputs").iter().map(|(name, entry)| (name.clone(), value(entry))).collect()
}

fn compare(found: &mut Vec<Difference>, of: &'static str, maps: &[Map<String, Value>; 2]) {
    let [a, b] = maps;
    let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
    for name in names {
        let values = maps.each_ref().map(|map| map.get(name).cloned().unwrap_or_default());
        add(found, of, name, values);
    }
}

fn add(found: &mut Vec<Difference>, of: &'static str, name: &str, values: [Value; 2]) {
    if values[0] != values[1] {
        found.push(Difference { of, name: name.to_owned(), values });
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable_start(text, SHORT),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(String::new, |it| {
                if it == 0.0 || (1e-3..1e6).contains(&it.abs()) {
                    format!("{it:.6}").trim_end_matches('0').trim_end_matches('.').to_owned()
                } else {
                    format!("{it:e}")
                }
            })
        }
        other => printable_start(&other.to_string(), SHORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(dir: &Path, record: &Value, metrics: &str) -> std::path::PathBuf {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("run.json"), record.to_string()).unwrap();
        std::fs::write(dir.join("metrics.jsonl"), metrics).unwrap();
        dir.to_owned()
    }

    #[test]
    fn a_difference_has_both_values_and_equal_ones_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let record = |rate: f64, digest: &str| {
            json!({
                "trainer": "T", "status": "succeeded", "seed": {"value": 7, "origin": "drawn"},
                "versions": {"cog-train": "0.1.0"},
                "inputs": {
                    "rate": {"value": rate, "origin": "given"},
                    "data": {"value": "d.csv", "origin": "given", "files": [{"sha256": digest}]},
                    "epochs": {"value": 3, "origin": "default"},
                },
            })
        };
        let a =
            run(&dir.path().join("a"), &record(0.5, "0123456789"), "{\"step\":1,\"loss\":2.5}\n");
        let b =
            run(&dir.path().join("b"), &record(0.25, "0123456789"), "{\"step\":1,\"loss\":2.0}\n");
        assert_eq!(
            diff(&a, &b, false).unwrap(),
            "of      name  a    b\ninput   rate  0.5  0.25\nmetric  loss  2.5  2\n"
        );
        let c =
            run(&dir.path().join("c"), &record(0.5, "9876543210"), "{\"step\":1,\"loss\":2.5}\n");
        let text = diff(&a, &c, true).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value["differences"],
            json!([{"of": "input", "name": "data", "a": "d.csv (01234567)", "b": "d.csv (98765432)"}])
        );
        assert!(diff(&a, &a, false).unwrap().starts_with("the two runs have the same"));
    }
}
