//! A run in short and as a whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::metrics::Line;
use crate::run::RunRecord;

/// The bytes at the end of `metrics.jsonl` that hold the last loss.
const END: u64 = 1 << 14;
/// The most characters of an input in a list.
const SHORT: usize = 120;

/// Returns the time in seconds since 1970.
pub(super) fn now() -> f64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Returns a line of the list of runs.
pub(super) fn short(id: &str, dir: &Path, is_live: bool) -> Value {
    let record = match RunRecord::read(dir) {
        Ok(record) => record,
        Err(error) => return damaged(id, &error),
    };
    let latest = latest(dir);
    json!({
        "id": id,
        "status": record.state(is_live),
        "live": is_live,
        "trainer": record.get("trainer"),
        "started_at": record.get("started_at"),
        "completed_at": record.get("completed_at"),
        "updated": latest.updated,
        "step": latest.step,
        "loss": latest.loss,
        "inputs": inputs(record.get("inputs")),
    })
}

/// Returns everything that is recorded of a run.
pub(super) fn whole(id: &str, dir: &Path, is_live: bool) -> Value {
    let record = match RunRecord::read(dir) {
        Ok(record) => record,
        Err(error) => return damaged(id, &error),
    };
    let status = record.state(is_live);
    let checkpoints = std::fs::read_dir(dir.join("checkpoints")).into_iter().flatten().flatten();
    let mut checkpoints: Vec<String> =
        checkpoints.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    checkpoints.retain(|name| name.starts_with("step-"));
    checkpoints.sort();
    json!({
        "id": id,
        "status": status,
        "live": is_live,
        "checkpoints": checkpoints,
        "record": record.into_fields(),
    })
}

fn damaged(id: &str, error: &crate::error::Error) -> Value {
    json!({"id": id, "status": "damaged", "live": false, "problem": error.to_string()})
}

/// Returns the inputs that have a value, in short.
fn inputs(inputs: &Value) -> Map<String, Value> {
    let inputs = inputs.as_object().into_iter().flatten();
    let is_there = |input: &Value| input.get("value").is_some_and(|value| !value.is_null());
    let value = |input: &Value| match input.get("value").unwrap_or(&Value::Null) {
        Value::String(text) => text.chars().take(SHORT).collect(),
        other => other.to_string().chars().take(SHORT).collect::<String>(),
    };
    inputs
        .filter(|(_, input)| is_there(input))
        .map(|(name, input)| (name.clone(), value(input).into()))
        .collect()
}

/// The end of the metrics.
#[derive(Default)]
struct Latest {
    /// When the run last wrote a metric or a line, in seconds since 1970.
    updated: Option<f64>,
    step: Option<f64>,
    loss: Option<f64>,
}

fn latest(dir: &Path) -> Latest {
    let written = |name: &str| Some(seconds(dir.join(name).metadata().ok()?.modified().ok()?));
    let updated = written("log.txt").into_iter().chain(written("metrics.jsonl")).reduce(f64::max);
    let mut latest = Latest { updated, ..Latest::default() };
    let Some(end) = end_of(&dir.join("metrics.jsonl")) else { return latest };
    for line in end.split(|byte| *byte == b'\n').rev() {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { continue };
        latest.step = latest.step.or(line.step);
        let loss = line.values.iter().find(|(name, _)| name == "loss");
        if let Some((_, loss)) = loss {
            latest.loss = Some(*loss);
            break;
        }
    }
    latest
}

fn end_of(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end).ok()?;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_the_last_loss_and_the_inputs_that_have_a_value() {
        let dir = tempfile::tempdir().unwrap();
        let record = json!({
            "trainer": "T", "status": "running", "started_at": "2026-11-23T22:03:11Z",
            "inputs": {
                "epochs": {"value": 3, "origin": "given"},
                "text": {"value": "\u{e9}".repeat(500), "origin": "given"},
                "rate": {"value": 0.5, "origin": "default"},
                "limit": {"value": null, "origin": "absent"},
            },
        });
        std::fs::write(dir.path().join("run.json"), record.to_string()).unwrap();
        let metrics = "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":1.5}\n{\"step\":2,\"time/x\":9}\n{\"step\":3,\"lo";
        std::fs::write(dir.path().join("metrics.jsonl"), metrics).unwrap();
        let found = short("a", dir.path(), false);
        assert_eq!((&found["step"], &found["loss"]), (&json!(2.0), &json!(1.5)));
        assert_eq!(
            found["inputs"],
            json!({"epochs": "3", "text": "\u{e9}".repeat(SHORT), "rate": "0.5"})
        );
        assert_eq!(found["status"], "interrupted", "no process holds its lock");
        assert_eq!(short("a", dir.path(), true)["status"], "running");
        std::fs::write(dir.path().join("run.json"), "{\"status\":").unwrap();
        let found = short("a", dir.path(), false);
        assert_eq!(found["status"], "damaged");
        assert!(found["problem"].as_str().unwrap().contains("run.json` is not whole"), "{found}");
    }
}
