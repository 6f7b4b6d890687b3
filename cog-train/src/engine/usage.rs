//! The time and the memory of a training by what takes them, as a record of the run: `usage.time` in seconds, `usage.memory` in bytes.

use std::time::Duration;

use candle_core::Device;
use serde_json::json;

use super::held::Held;
use super::learner::Learner;
use super::memory;
use super::pass_time::PassTime;
use crate::job::Job;
use crate::progress::Record;
use cog_train_nn::__private::device_memory;

/// Times of this process, and what it held at its start and at the most.
pub(super) struct Usage {
    /// Waiting for batches.
    pub(super) data: Duration,
    pub(super) passes: PassTime,
    /// Adding up over ranks, clipping and updating.
    pub(super) optimizer: Duration,
    pub(super) evaluation: Duration,
    pub(super) checkpoint: Duration,
    /// Of the device where it reports its memory, else of the process.
    base: u64,
    peak: u64,
    /// The peak of the process before.
    peak_before: u64,
    is_of_device: bool,
}

impl Usage {
    /// Starts when the weights and their average are there.
    pub(super) fn start(device: &Device) -> Self {
        let on_device = device_memory::used(device);
        let base = on_device.unwrap_or_else(memory::resident);
        Self {
            data: Duration::ZERO,
            passes: PassTime::default(),
            optimizer: Duration::ZERO,
            evaluation: Duration::ZERO,
            checkpoint: Duration::ZERO,
            base,
            peak: base,
            peak_before: memory::peak(),
            is_of_device: on_device.is_some(),
        }
    }

    /// Takes the passes of a step.
    pub(super) fn add_passes(&mut self, PassTime { forward, backward }: PassTime) {
        self.passes.forward += forward;
        self.passes.backward += backward;
    }

    /// Takes the memory that is held between two steps.
    pub(super) fn sample(&mut self, bytes: u64) {
        self.peak = self.peak.max(bytes);
    }

    /// Records the times of the training and its memory at the most.
    pub(super) fn report(self, learner: &Learner<'_>, job: &mut Job) {
        let time = json!({
            "data": self.data.as_secs_f64(),
            "forward": self.passes.forward.as_secs_f64(),
            "backward": self.passes.backward.as_secs_f64(),
            "optimizer": self.optimizer.as_secs_f64(),
            "evaluation": self.evaluation.as_secs_f64(),
            "checkpoint": self.checkpoint.as_secs_f64(),
        });
        // The system keeps one peak. If an earlier one was higher, what was sampled between steps is all that is known.
        let of_process = Some(memory::peak()).filter(|peak| *peak > self.peak_before);
        let peak = match of_process.filter(|_| !self.is_of_device) {
            Some(peak) => self.peak.max(peak),
            None => self.peak,
        };
        let Held { weights, gradients, optimizer, averages, snapshot } = Held::of(learner);
        // A checkpoint is copied to the host.
        let checkpoint = if self.is_of_device { 0 } else { snapshot };
        let of_training = optimizer + gradients + checkpoint;
        let memory = json!({
            "weights": weights,
            "gradients": gradients,
            "optimizer": optimizer,
            "averages": averages,
            "activations": peak.saturating_sub(self.base + of_training),
            "checkpoint": checkpoint,
            "other": self.base.saturating_sub(weights + averages),
            "peak": peak,
        });
        job.record("usage", json!({"time": time, "memory": memory}), Record::Replace);
    }
}
