//! A run in one line, from `run.json` and `metrics.jsonl`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::message::duration;
use crate::run::RunRecord;

/// A run in short.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) id: String,
    pub(super) trainer: Option<String>,
    pub(super) state: String,
    /// `2026-11-23T22:03:11.123456Z`.
    pub(super) started: Option<String>,
    /// Seconds of training.
    pub(super) seconds: Option<f64>,
    pub(super) metrics: Metrics,
}

/// The end of the metrics.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// The last step.
    pub(super) step: Option<u64>,
    /// The last value of each metric that does not depend on the clock.
    pub(super) last: Map<String, Value>,
    /// The lowest `eval_loss`.
    pub(super) best: Option<f64>,
}

const DAMAGED: &str = "damaged";

impl Summary {
    pub(super) fn read(dir: &Path) -> Self {
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
        let id = name.unwrap_or_else(|| dir.display().to_string());
        let Ok(record) = RunRecord::read(dir) else {
            let state = DAMAGED.to_owned();
            let metrics = Metrics::default();
            return Self { id, trainer: None, state, started: None, seconds: None, metrics };
        };
        let text = |name: &str| record.get(name).as_str().map(str::to_owned);
        Self {
            id,
            trainer: text("trainer"),
            state: record.state(false),
            started: text("started_at"),
            seconds: record.get("metrics").get("predict_time").and_then(Value::as_f64),
            metrics: Metrics::read(&dir.join("metrics.jsonl")),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "trainer": self.trainer,
            "status": self.state,
            "started_at": self.started,
            "steps": self.metrics.step,
            "loss": self.metrics.last.get("loss"),
            "best_eval_loss": self.metrics.best,
            "seconds": self.seconds,
        })
    }

    pub(super) fn cells(&self) -> [String; 8] {
        let dash = || "-".to_owned();
        let started = self.started.as_deref().and_then(|text| text.get(..16));
        let loss = self.metrics.last.get("loss").and_then(Value::as_f64);
        [
            self.id.clone(),
            self.trainer.clone().unwrap_or_else(dash),
            self.state.clone(),
            started.map_or_else(dash, |text| text.replace('T', " ")),
            self.metrics.step.map_or_else(dash, |step| step.to_string()),
            loss.map_or_else(dash, |loss| format!("{loss:.4}")),
            self.metrics.best.map_or_else(dash, |loss| format!("{loss:.4}")),
            self.seconds.map_or_else(dash, duration),
        ]
    }
}

impl Metrics {
    /// Reads a file of metrics. What cannot be read, such as a line that is being written, counts as absent.
    pub(super) fn read(path: &Path) -> Self {
        let mut found = Self::default();
        let Ok(file) = File::open(path) else { return found };
        for line in BufReader::with_capacity(1 << 18, file).split(b'\n').map_while(Result::ok) {
            let Ok(values) = serde_json::from_slice::<Map<String, Value>>(&line) else { continue };
            for (name, value) in values {
                match name.as_str() {
                    "step" => found.step = value.as_u64().or(found.step),
                    _ if name.starts_with("time/") => {}
                    _ => {
                        if let (true, Some(loss)) = (name == "eval_loss", value.as_f64()) {
                            found.best = Some(found.best.map_or(loss, |best| best.min(loss)));
                        }
                        found.last.insert(name, value);
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_lowest_and_the_last_is_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("metrics.jsonl");
        let lines = [
            r#"{"step":0,"eval_loss":2.5}"#,
            r#"{"step":1,"loss":2.0,"learning_rate":0.1}"#,
            r#"{"step":1,"time/rows_per_second":9.0}"#,
            r#"{"step":1,"eval_loss":1.5}"#,
            r#"{"step":2,"loss":1.0}"#,
            r#"{"step":2,"eval_loss":1.75}"#,
            r#"{"step":3,"lo"#,
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        let found = Metrics::read(&file);
        assert_eq!((found.step, found.best), (Some(2), Some(1.5)));
        let expected = json!({"eval_loss": 1.75, "loss": 1.0, "learning_rate": 0.1});
        assert_eq!(Value::Object(found.last), expected);
        assert_eq!(Metrics::read(&dir.path().join("none")).step, None);
    }
}
