//! The tasks of the worker's main thread.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coglet::bridge::protocol::{MetricMode, SlotId};
use coglet::{PredictResult, SlotSender};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::capture::Capture;
use super::control::WorkerControl;
use super::messages::{Stage, failure};
use super::publisher::AnswerPublisher;
use super::sink::Sink;
use super::start::WorkerOptions;
use crate::input::{self, Mask, Unknown};
use crate::progress::CancelToken;
use crate::run::{
    Control, Given, Kind, Observer, Outcome, Prepared, Request, Resume, Role, RoleWorker, Status,
    Worker, execute, run_dir_of,
};

/// The time in which coglet's threads read what `setup` has printed. What comes after the worker is ready is no part of the
/// setup's log.
const SETTLE: Duration = Duration::from_millis(50);

/// A request of the server.
pub(super) enum Task {
    Setup(oneshot::Sender<Result<(), String>>),
    Run(Box<Call>, oneshot::Sender<PredictResult>),
    Healthcheck(oneshot::Sender<Result<(), String>>),
}

/// One training or prediction.
pub(super) struct Call {
    pub(super) id: String,
    pub(super) input: Value,
    /// The line that ends its output.
    pub(super) mark: String,
    pub(super) sender: Arc<SlotSender>,
    pub(super) cancel: CancelToken,
}

/// The calls in progress, as both threads see them.
#[derive(Default)]
pub(super) struct Shared(Mutex<HashMap<SlotId, CancelToken>>);

impl Shared {
    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<SlotId, CancelToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, slot: SlotId, cancel: CancelToken) {
        self.calls().insert(slot, cancel);
    }

    pub(super) fn end(&self, slot: SlotId) {
        self.calls().remove(&slot);
    }

    pub(super) fn cancel(&self, slot: SlotId) {
        if let Some(cancel) = self.calls().get(&slot) {
            cancel.cancel();
        }
    }

    pub(super) fn cancel_all(&self) {
        self.calls().values().for_each(CancelToken::cancel);
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.calls().is_empty()
    }
}

/// Performs tasks until the server's thread has ended.
pub(super) fn perform(
    tasks: &Receiver<Task>,
    role: &Role,
    mut worker: RoleWorker<'_>,
    options: &WorkerOptions,
    control: &WorkerControl,
    mut capture: Capture,
) {
    // What `setup` prints goes to its log through coglet, that of a call to the call's.
    for task in tasks {
        match task {
            Task::Setup(answer) => {
                let ended = worker.prepare(&CancelToken::new(), &Sink::default()).map(drop);
                drop(std::io::stdout().flush());
                std::thread::sleep(SETTLE);
                // A server that has gone takes no answer, here and below.
                drop(answer.send(ended.map_err(|error| format!("{error:#}"))));
            }
            Task::Healthcheck(answer) => {
                drop(answer.send(worker.healthcheck().map_err(|error| format!("{error:#}"))));
            }
            Task::Run(call, answer) => {
                let result = match capture.begin() {
                    Ok(()) => run(*call, role, &mut worker, options, control, &mut capture),
                    Err(error) => {
                        capture.end(&call.mark);
                        PredictResult::failed(format!("cannot capture the output: {error}"), 0.0)
                    }
                };
                drop(answer.send(result));
            }
        }
    }
}

fn run(
    call: Call,
    role: &Role,
    worker: &mut RoleWorker<'_>,
    options: &WorkerOptions,
    control: &WorkerControl,
    capture: &mut Capture,
) -> PredictResult {
    let started = Instant::now();
    // The server has checked it; `execute` does so again.
    let checked = input::check(role.table, &call.input, Unknown::Drop);
    let mask = Mask::new(checked.iter().flat_map(|checked| checked.values.secrets()));
    let input = match call.input {
        Value::Object(input) => input,
        _ => Map::new(),
    };
    control.save.store(false, Ordering::SeqCst);
    let dir = (role.kind == Kind::Train).then(|| run_dir_of(&call.id));
    let publisher = AnswerPublisher::new(&call.id, options.upload_url.as_deref(), &call.cancel);
    let request = Request {
        role,
        inputs: Some(Given::new(input, Vec::new())),
        seed: None,
        run_dir: dir.as_deref(),
        resume: dir.as_deref().filter(|dir| holds_run(dir)).map(|_| Resume::Same),
        destination: Some(&publisher),
        files: options.files(),
    };
    let mut observed = Observed { worker, is_prepared: false };
    let run = Control {
        cancel: call.cancel.clone(),
        save: Arc::clone(&control.save),
        ..Control::default()
    };
    let outcome = execute(&request, &mut observed, &run, &Sink(Some(Arc::clone(&call.sender))));
    capture.end(&call.mark);
    let is_prepared = observed.is_prepared;
    send_metrics(&outcome, &call.sender);
    let seconds = started.elapsed().as_secs_f64();
    match outcome.status() {
        Status::Succeeded => publisher.send(&call.sender, seconds),
        Status::Canceled => PredictResult::cancelled(seconds),
        Status::Failed => {
            let stage = if is_prepared { publisher.stage() } else { Stage::Input };
            let error = failure(&outcome, role.kind, stage);
            PredictResult::failed(mask.text(&error).into_owned(), seconds)
        }
    }
}

/// Whether an earlier process began a run in the folder.
fn holds_run(dir: &Path) -> bool {
    dir.join("run.json").exists()
}

/// Sends the metrics of the end: those of a run that is published again were not recorded here. The elapsed time is the
/// server's to measure.
fn send_metrics(outcome: &Outcome, sender: &SlotSender) {
    for (name, value) in outcome.metrics.iter().filter(|(name, _)| *name != "predict_time") {
        drop(sender.send_metric(name.clone(), value.clone(), MetricMode::Replace));
    }
}

/// Notices whether the author's code was reached.
struct Observed<'a, 'b> {
    worker: &'a mut RoleWorker<'b>,
    is_prepared: bool,
}

impl Worker for Observed<'_, '_> {
    fn prepare(
        &mut self,
        cancel: &CancelToken,
        observer: &dyn Observer,
    ) -> anyhow::Result<Prepared<'_>> {
        self.is_prepared = true;
        self.worker.prepare(cancel, observer)
    }
}
