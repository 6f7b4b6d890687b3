//! A training's public state, which follows what its worker reports.
//!
//! coglet's event loop writes the worker's messages into an inner state, and ends that by texts of its own when the worker
//! dies. The outer state is what clients and webhooks see: it takes metrics and outputs from the inner one, its log from the worker's
//! output, and its end from [`Training`](super::training::Training), which knows why a worker died.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coglet::bridge::protocol::MetricMode;
use coglet::{Prediction, PredictionOutput, PredictionStatus};
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// A state that several tasks share.
pub(super) type Shared = Arc<Mutex<Prediction>>;

/// The end of a training.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    Succeeded(PredictionOutput),
    Failed(String),
    Canceled,
}

impl Ending {
    /// Returns the answer of a training with this end, which its state does not have yet.
    pub(super) fn answer(&self, state: &Prediction) -> Value {
        let mut answer = state.build_state_snapshot();
        answer["metrics"]["predict_time"] = state.elapsed().as_secs_f64().into();
        let status = match self {
            Self::Succeeded(output) => {
                answer["output"] = match output {
                    PredictionOutput::Single(value) => value.clone(),
                    PredictionOutput::Stream(values) => values.clone().into(),
                };
                PredictionStatus::Succeeded
            }
            Self::Failed(error) => {
                answer["error"] = error.clone().into();
                PredictionStatus::Failed
            }
            Self::Canceled => PredictionStatus::Canceled,
        };
        answer["status"] = status.as_str().into();
        answer
    }

    /// Ends the state, which ends the streams of its events.
    pub(super) fn set(self, state: &mut Prediction) {
        match self {
            Self::Succeeded(output) => state.set_succeeded(output),
            Self::Failed(error) => state.set_failed(error),
            Self::Canceled => state.set_canceled(),
        }
    }
}

/// The outer and the inner state of a training.
pub(super) struct Mirror<E> {
    outer: Shared,
    inner: Shared,
    /// The broadcasts of coglet. Only that something has happened is of use: a receiver that is late misses events, and the
    /// state misses nothing.
    events: Receiver<E>,
    /// The inner outputs that the outer state has.
    outputs: usize,
    metrics: HashMap<String, Value>,
}

/// Begins to mirror a new inner state of this id.
pub(super) fn mirror(id: &str, outer: Shared) -> Mirror<impl Clone + Send + 'static> {
    let inner = Prediction::new(id.to_owned(), None);
    let events = inner.subscribe_stream();
    let inner = Arc::new(Mutex::new(inner));
    Mirror { outer, inner, events, outputs: 0, metrics: HashMap::new() }
}

impl<E: Clone> Mirror<E> {
    /// The state that the worker's messages go to.
    pub(super) fn inner(&self) -> Shared {
        Arc::clone(&self.inner)
    }

    /// Waits until the worker has reported something, and takes it over. Returns the end, once it is there.
    pub(super) async fn next(&mut self) -> Option<Ending> {
        match self.events.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => while self.events.try_recv().is_ok() {},
            // The inner state lives as long as this does.
            Err(RecvError::Closed) => std::future::pending().await,
        }
        self.sync()
    }

    /// Takes over what the worker has reported so far. Returns the end, if it is there.
    pub(super) fn sync(&mut self) -> Option<Ending> {
        let inner = lock(&self.inner);
        let mut outer = lock(&self.outer);
        for (name, value) in inner.metrics() {
            if self.metrics.get(name) != Some(value) {
                self.metrics.insert(name.clone(), value.clone());
                outer.set_metric(name.clone(), value.clone(), MetricMode::Replace);
            }
        }
        self.metrics.retain(|name, _| {
            let is_kept = inner.metrics().contains_key(name);
            if !is_kept {
                outer.set_metric(name.clone(), Value::Null, MetricMode::Replace);
            }
            is_kept
        });
        // At the end the outputs have moved into the output.
        let ended = inner.output().cloned();
        let outputs = match &ended {
            Some(output) => output.clone().into_values(),
            None => inner.outputs().to_vec(),
        };
        for output in outputs.iter().skip(self.outputs) {
            outer.append_output(output.clone());
            self.outputs += 1;
        }
        match inner.status() {
            PredictionStatus::Succeeded => {
                Some(Ending::Succeeded(ended.unwrap_or(PredictionOutput::Single(Value::Null))))
            }
            PredictionStatus::Failed => {
                Some(Ending::Failed(inner.error().unwrap_or("unknown error").to_owned()))
            }
            PredictionStatus::Canceled => Some(Ending::Canceled),
            PredictionStatus::Starting | PredictionStatus::Processing => None,
        }
    }
}

/// Locks a state. One whose holder has panicked is still a state.
pub(super) fn lock(state: &Shared) -> MutexGuard<'_, Prediction> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_is_deleted_is_deleted_in_both() {
        let outer = Arc::new(Mutex::new(Prediction::new("a".to_owned(), None)));
        let mut mirror = mirror("a 1", Arc::clone(&outer));
        let set = |mirror: &Mirror<_>, value: Value| {
            let inner = mirror.inner();
            lock(&inner).set_metric("rows".to_owned(), value, MetricMode::Replace);
        };
        set(&mirror, 1.into());
        mirror.sync();
        assert_eq!(lock(&outer).metrics()["rows"], 1);
        set(&mirror, Value::Null);
        mirror.sync();
        assert!(lock(&outer).metrics().is_empty());
        set(&mirror, 2.into());
        mirror.sync();
        assert_eq!(lock(&outer).metrics()["rows"], 2);
    }
}
