//! The answers of trainings that have ended, kept beside `run.json` in their folder.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::listing::status_of;
use super::logs::TARGET;
use crate::fetch::hex;
use crate::input::{Entry, Spec, Values};
use crate::run::{Lock, RunRecord, changes_now, is_locked, run_dir_of};

const FILE: &str = "answer.json";
/// The most answers that are held in memory.
const MOST_UNKEPT: usize = 16;
/// The most bytes of such an answer of a training that has succeeded, which may hold files.
const LARGEST_UNKEPT: usize = 4 << 20;

/// The end of a training.
#[derive(Serialize, Deserialize)]
pub(super) struct Ended {
    /// The digest of the inputs, secrets left out.
    inputs_sha256: String,
    /// The times that the training had been resumed: of one that was resumed again, this is not the end.
    #[serde(default)]
    resumed: Option<usize>,
    pub(super) answer: Value,
}

impl Ended {
    /// Reads the end of a training; `None` when it has not ended, or nothing readable is there.
    pub(super) async fn find(id: &str) -> Option<Self> {
        let dir = run_dir_of(id);
        let read = move || {
            let ended: Self = serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()?;
            let is_last = ended.resumed.is_none_or(|count| count == resumed(&dir));
            is_last.then_some(ended)
        };
        tokio::task::spawn_blocking(read).await.ok()?
    }

    pub(super) fn has_inputs(&self, digest: &str) -> bool {
        self.inputs_sha256 == digest
    }

    pub(super) fn succeeded(&self) -> bool {
        self.answer.get("status").and_then(Value::as_str) == Some("succeeded")
    }
}

/// Returns how many times the run in a folder was resumed, also by the command line.
fn resumed(dir: &Path) -> usize {
    RunRecord::read(dir).ok().and_then(|it| Some(it.get("resumed").as_array()?.len())).unwrap_or(0)
}

/// A training that was begun in its folder, perhaps by an earlier server.
pub(super) struct Begun(RunRecord);

impl Begun {
    pub(super) async fn find(id: &str) -> Option<Self> {
        let dir = run_dir_of(id);
        let read = move || RunRecord::read(&dir).ok().map(Self);
        tokio::task::spawn_blocking(read).await.ok()?
    }

    /// Returns the inputs that are given now and have other values than they had, a line each. Those of files are compared when it
    /// is resumed.
    pub(super) fn changes(&self, table: &[Spec], values: &Values) -> Vec<String> {
        let inputs = self.0.get("inputs").as_object();
        inputs.map_or_else(Vec::new, |old| changes_now(table, old, values))
    }
}

/// Returns the digest of inputs. Secrets are not a part of it, as they are not kept.
pub(super) fn digest_of(values: &Values) -> String {
    let pair = |Entry { name, value, .. }: Entry<'_>| json!([name, canonical(value.into_owned())]);
    let entries: Vec<Value> = values.entries().map(pair).collect();
    hex(Sha256::digest(Value::from(entries).to_string()))
}

/// Returns the one form of equal values: `2.0` is 2, and the order of an object's names is nothing.
fn canonical(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            // Up to 2^53 each whole number is a float of its own.
            let is_whole = float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is a whole number of at most 54 bits"
            )]
            if is_whole { Value::from(float as i64) } else { Value::Number(number) }
        }
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Object(fields) => {
            let mut fields: Map<String, Value> =
                fields.into_iter().map(|(name, value)| (name, canonical(value))).collect();
            fields.sort_keys();
            Value::Object(fields)
        }
        other => other,
    }
}

/// The last answers that could not be written, as on a full disk. A large one of a training that has succeeded is not among them: its
/// output is in its folder, and is published again.
#[derive(Default)]
pub(super) struct Unkept(Mutex<VecDeque<Value>>);

impl Unkept {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the answer of a training that was refused before it was resumed: the end of its earlier process stays in its folder.
    pub(super) fn remember(&self, id: &str, answer: &Value) {
        let mut answers = self.lock();
        answers.retain(|answer| !is_of(answer, id));
        answers.truncate(MOST_UNKEPT - 1);
        answers.push_front(answer.clone());
    }

    /// Keeps the answer of a training that has ended: in its folder, else here.
    pub(super) async fn keep(&self, id: &str, digest: &str, answer: &Value) {
        let has_failed = answer["status"] != "succeeded";
        let (digest, kept, dir) = (digest.to_owned(), answer.clone(), run_dir_of(id));
        let write = move || {
            let resumed = Some(resumed(&dir));
            write(&dir, &Ended { inputs_sha256: digest, resumed, answer: kept })
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.map_err(io::Error::other).flatten();
        self.lock().retain(|answer| !is_of(answer, id));
        if let Err(error) = written {
            // A training that fails early has no folder.
            if error.kind() != io::ErrorKind::NotFound {
                warn!(target: TARGET, "the answer of `{id}` is not kept: {error}");
            }
            if has_failed || answer.to_string().len() <= LARGEST_UNKEPT {
                self.remember(id, answer);
            }
        }
    }

    fn find(&self, id: &str) -> Option<Value> {
        self.lock().iter().find(|answer| is_of(answer, id)).cloned()
    }

    /// Returns the state of a training that is not in progress here; `None` when there is no such training.
    pub(super) async fn state_of(&self, id: &str) -> Option<Value> {
        match self.find(id) {
            Some(answer) => Some(answer),
            None => state_of(id).await,
        }
    }
}

fn is_of(answer: &Value, id: &str) -> bool {
    answer.get("id").and_then(Value::as_str) == Some(id)
}

fn write(dir: &Path, ended: &Ended) -> io::Result<()> {
    let mut staged = tempfile::Builder::new().prefix(".answer.").tempfile_in(dir)?;
    let mut writer = io::BufWriter::new(staged.as_file_mut());
    serde_json::to_writer(&mut writer, ended)?;
    writer.flush()?;
    drop(writer);
    staged.as_file().sync_all()?;
    staged.persist(dir.join(FILE))?;
    Ok(())
}

/// Whether another process, such as a second server of this folder, is training under this id.
pub(super) async fn is_training_elsewhere(id: &str) -> bool {
    let dir = run_dir_of(id);
    let locked = move || dir.is_dir() && matches!(Lock::take(&dir), Ok(None));
    tokio::task::spawn_blocking(locked).await.unwrap_or(false)
}

async fn state_of(id: &str) -> Option<Value> {
    if let Some(ended) = Ended::find(id).await {
        return Some(ended.answer);
    }
    let (id, dir) = (id.to_owned(), run_dir_of(id));
    tokio::task::spawn_blocking(move || recorded(&id, &dir)).await.ok()?
}

/// Returns the state of a training that another process trains, or whose answer nobody has kept, from the files of its run.
fn recorded(id: &str, dir: &Path) -> Option<Value> {
    // The lock of the run is not taken: a process that begins at this moment is not refused.
    let is_elsewhere = is_locked(dir);
    let record = RunRecord::read(dir).ok()?;
    let status = status_of(&record, is_elsewhere)?;
    let logs = std::fs::read(dir.join("log.txt")).unwrap_or_default();
    let metrics = record.get("metrics").as_object().cloned().unwrap_or_default();
    let error = match (status.as_str(), record.get("error").as_str()) {
        ("processing", _) => None,
        ("succeeded", _) => {
            Some("its answer was not kept\nhint: a PUT of this id gives it".to_owned())
        }
        (_, error) => {
            let error = error.unwrap_or("the process of the training ended");
            Some(format!("{error}\nhint: a PUT of this id resumes it"))
        }
    };
    let mut state = json!({"id": id, "status": status, "logs": String::from_utf8_lossy(&logs), "metrics": metrics});
    if let Some(error) = error {
        state["error"] = error.into();
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{self, InputType, Literal, Spec, Unknown};

    const TABLE: &[Spec] = &[
        Spec::new("epochs", <u32 as InputType>::TYPE).default(Literal::Int(3)),
        Spec::new("extra", <Option<Value> as InputType>::TYPE),
        Spec::new("token", <Option<crate::Secret> as InputType>::TYPE),
    ];

    #[test]
    fn equal_inputs_have_one_digest() {
        let digest =
            |value: Value| digest_of(&input::check(TABLE, &value, Unknown::Drop).unwrap().values);
        let first = digest(json!({"extra": {"a": 1, "b": [2, 0.5]}}));
        for same in [
            json!({"epochs": 3, "extra": {"b": [2.0, 0.5], "a": 1.0}}),
            json!({"epochs": 3.0, "extra": {"a": 1, "b": [2, 0.5]}, "unknown": 1}),
        ] {
            assert_eq!(digest(same.clone()), first, "{same}");
        }
        for other in [
            json!({}),
            json!({"epochs": 4, "extra": {"a": 1, "b": [2, 0.5]}}),
            json!({"extra": {"a": 1, "b": [0.5, 2]}}),
            json!({"extra": {"a": "1", "b": [2, 0.5]}}),
        ] {
            assert_ne!(digest(other.clone()), first, "{other}");
        }
        let secret = |text: &str| digest(json!({"token": text}));
        assert_eq!(secret("a"), secret("b"), "a secret is not a part of it");
    }
}
