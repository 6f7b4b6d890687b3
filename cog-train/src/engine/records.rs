//! The records of a step: a line of metrics that the run determines, and a line of those that depend on the machine.

use std::time::{Duration, Instant};

use candle_core::Device;
use serde_json::{Map, Value};

use super::memory;
use super::objective::StepReport;
use super::step::Skip;
use crate::job::Job;
use crate::progress::json_number;
use cog_train_nn::__private::device_memory;

/// The rows of a step, for the rates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) rows: usize,
    pub(super) tokens: usize,
    /// The time that the step waited for its batch.
    pub(super) waited: Duration,
}

/// Measures time between steps.
pub(super) struct Records {
    started: Instant,
    /// Steps taken before this process.
    first_step: u64,
    /// Whether rows say how many tokens they have.
    has_lengths: bool,
    /// The device of the parameters.
    device: Device,
    /// The end of the step before.
    last: Instant,
}

impl Records {
    pub(super) fn new(first_step: u64, has_lengths: bool, device: &Device) -> Self {
        let now = Instant::now();
        Self { started: now, first_step, has_lengths, device: device.clone(), last: now }
    }

    /// Records a step. Returns the bytes that the device holds, or the process where the device does not say.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    pub(super) fn step(
        &mut self,
        job: &mut Job,
        report: &StepReport,
        skipped: Option<Skip>,
        work: Work,
    ) -> u64 {
        let (step, steps) = (report.step, report.steps);
        let mut values = Map::new();
        values.insert("loss".to_owned(), json_number(report.loss));
        values.insert("learning_rate".to_owned(), json_number(report.learning_rate));
        values.insert("grad_norm".to_owned(), json_number(report.grad_norm));
        if let Some(skip) = skipped {
            let why = match skip {
                Skip::Empty => "no targets",
                Skip::Scale => "loss scale",
                Skip::NotFinite => "not finite",
            };
            values.insert("skipped".to_owned(), why.into());
        }
        job.step(step, &values);
        job.progress(step, steps);

        // A line of its own: a resumed run does not repeat what the clock decides.
        let now = Instant::now();
        let resident = memory::resident();
        // A GPU's memory is that of the moment after a step, taken by all processes together.
        let on_device = device_memory::used(&self.device);
        let mut values = self.speed(now.duration_since(self.last), work, step, steps);
        values.insert("time/memory_bytes".to_owned(), (resident as f64).into());
        if let Some(bytes) = on_device {
            values.insert("time/device_memory_bytes".to_owned(), (bytes as f64).into());
        }
        job.step(step, &values);
        self.last = now;
        on_device.unwrap_or(resident)
    }

    #[expect(clippy::cast_precision_loss, reason = "rates are rounded anyway")]
    fn speed(
        &self,
        since: Duration,
        Work { rows, tokens, waited }: Work,
        step: u64,
        steps: u64,
    ) -> Map<String, Value> {
        let seconds = since.as_secs_f64().max(1e-9);
        let per_step = self.started.elapsed().as_secs_f64() / (step - self.first_step) as f64;
        let tokens = self.has_lengths.then(|| ("time/tokens_per_second", tokens as f64 / seconds));
        let metrics = [
            ("time/rows_per_second", rows as f64 / seconds),
            ("time/data_wait", (waited.as_secs_f64() / seconds).min(1.0)),
            ("time/eta_seconds", per_step * (steps - step) as f64),
        ];
        let metrics = metrics.into_iter().chain(tokens);
        metrics.map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}
