//! `--plan`: what a training will take, from two steps on its heaviest batch. Nothing is kept of them.

use std::time::{Duration, Instant};

use super::checkpoint::Keep;
use super::data::{Batching, Loader, Position, histogram};
use super::evaluate;
use super::memory::{self, human};
use super::objective::Objective;
use super::optim::{Ema, Optimizer};
use super::params::Params;
use super::plan::Plan;
use super::state::State;
use super::step::{self, Outcome, Parts};
use crate::error::Error;
use crate::job::Job;

/// What is to be told of.
pub(super) struct Planned<'a, B> {
    pub(super) plan: &'a Plan,
    pub(super) params: &'a Params,
    pub(super) train: &'a Loader<B>,
    pub(super) held_out: Option<&'a Loader<B>>,
    pub(super) steps: u64,
}

/// The bytes of a training by what they are for.
struct Memory {
    /// The process before the probe: the program, the data, the model.
    base: u64,
    gradients: u64,
    /// What the peak has beside: activations, and gradients on their way.
    activations: u64,
    /// The copy that a checkpoint is written from.
    snapshot: u64,
    peak: u64,
}

/// Tells rows, lengths, steps, parameters, memory, disk and time, line by line. The error that ends the run is
/// [`Error::Planned`].
///
/// # Errors
///
/// What the data or the author's loss fails with; a disk that is too small.
pub(super) fn tell<B: Send + 'static>(
    planned: &Planned<'_, B>,
    optimizer: &mut Optimizer,
    mut ema: Option<&mut Ema>,
    objective: &impl Objective<B>,
    job: &mut Job,
) -> anyhow::Result<Error> {
    let Planned { plan, params, train, held_out, steps } = *planned;
    rows(plan, train, steps, job);
    let (all, trained) = (params.count() as u64, params.trainable_count() as u64);
    job.line(format_args!(
        "parameters: {all}, of which {trained} are trained ({:.3} %), computed in {}",
        percent(trained, all),
        params.computes_in().name()
    ));

    let state_of = |tensors: usize| 4 * tensors as u64;
    let optimizer_state: usize =
        optimizer.state().values().map(candle_core::Tensor::elem_count).sum();
    let averages = if ema.is_some() { trained } else { 0 };
    let snapshot = 4 * (trained + averages) + state_of(optimizer_state);
    let mut state = State::new(plan, params.computes_in());
    let heaviest = Position { epoch: 0, batch: train.heaviest(job.seed()) };
    let mut times = [Duration::ZERO; 2];
    // Before anything is computed: what the allocator keeps of a step would count as held.
    let base = memory::resident();
    memory::forget_peak();
    // As a run does: what it measures with before the first step is not given back whole.
    let measure = |micro, job: &Job| match held_out {
        Some(held_out) => evaluate::try_out(held_out, objective, params.device(), micro, job),
        None => Ok(()),
    };
    measure(state.micro, job)?;
    for time in &mut times {
        let mut batches = train.start(job.seed(), heaviest, state.micro, params.device());
        let Some(batch) = batches.next()? else { break };
        drop(batches);
        // The first step makes what stays: moments, buffers, worker threads. The second shows how long a step takes.
        let start = Instant::now();
        let mut parts =
            Parts { params, objective, clip: plan.clip, optimizer, ema: ema.as_deref_mut() };
        match step::run(&mut parts, &mut state, &batch, 0.0, job)? {
            Outcome::Done(_) => *time = start.elapsed(),
            Outcome::Cancelled => return Ok(Error::Cancelled),
            Outcome::OutOfMemory(error) => {
                let rows = batch.parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
                state.micro = Some(memory::smaller(rows, error, job)?);
            }
        }
    }
    measure(state.micro, job)?;
    let gradients = 4 * trained;
    let peak = memory::peak();
    // The optimizer's state was zeros that the system had given no pages to yet.
    let stays = state_of(optimizer_state);
    let found = Memory {
        base,
        gradients,
        activations: peak.saturating_sub(base + stays + gradients),
        snapshot,
        peak: peak + snapshot,
    };
    in_memory(&found, params, optimizer_state, averages, job);
    on_disk(snapshot, plan.keep, job)?;
    in_time(times[1], steps, job);
    Ok(Error::Planned)
}

/// Rows, steps and a histogram of lengths.
fn rows<B: Send + 'static>(plan: &Plan, train: &Loader<B>, steps: u64, job: &mut Job) {
    let batch = match train.batching() {
        Batching::Rows(rows) => format!("{rows} rows"),
        Batching::Tokens { most, .. } => format!("up to {most} tokens"),
    };
    let epochs = if plan.epochs == 1 { "epoch" } else { "epochs" };
    job.line(format_args!(
        "data: {} rows; {steps} steps of {batch} in {} {epochs}",
        train.len(),
        plan.epochs
    ));
    if let Some(lengths) = train.lengths() {
        for line in histogram(&lengths) {
            job.line(format_args!("  {line}"));
        }
    }
}

fn in_memory(
    found: &Memory,
    params: &Params,
    optimizer_state: usize,
    averages: u64,
    job: &mut Job,
) {
    let compute = params.count() as u64
        * (4 + match params.computes_in().dtype().size_in_bytes() {
            4 => 0,
            bytes => bytes as u64,
        });
    job.line(format_args!(
        "memory: about {} at most, of which weights {}, optimizer {}, averages {}, gradients {}, activations {}, a checkpoint on its way {}",
        human(found.peak),
        human(compute),
        human(4 * optimizer_state as u64),
        human(4 * averages),
        human(found.gradients),
        human(found.activations),
        human(found.snapshot),
    ));
    job.line(format_args!("  the program, its data and the model hold {} now", human(found.base)));
}

/// The room that checkpoints take, and whether it is there.
///
/// # Errors
///
/// [`Error::Plan`] when it is not.
fn on_disk(checkpoint: u64, keep: Keep, job: &mut Job) -> Result<(), Error> {
    // A new one is written before an old one goes.
    let count = keep.last as u64 + u64::from(keep.best) + 1;
    let needed = checkpoint * count;
    let free = rustix::fs::statvfs(job.dir())
        .map(|disk| disk.f_bavail * disk.f_frsize)
        .map_err(|error| Error::file("look at the disk of", job.dir())(error.into()))?;
    if free < needed {
        return Err(Error::Plan {
            reason: format!(
                "checkpoints need {} and the disk has {} left\nhint: keep fewer, or put `--run-dir` on another disk",
                human(needed),
                human(free)
            ),
        });
    }
    job.line(format_args!(
        "disk: {} for a checkpoint, {} for all of them; {} are free",
        human(checkpoint),
        human(needed),
        human(free)
    ));
    Ok(())
}

fn in_time(step: Duration, steps: u64, job: &mut Job) {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let all = step.as_secs_f64() * steps as f64;
    job.line(format_args!(
        "time: {:.3} s for a step of the longest rows, so at most about {} for all, evaluations aside",
        step.as_secs_f64(),
        duration(all)
    ));
}

/// `2 h 05 min`, `3 min 20 s`, `12 s`.
fn duration(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole seconds, positive"
    )]
    let seconds = seconds.ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn percent(part: u64, all: u64) -> f64 {
    100.0 * part as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (seconds, text) in [
            (0.2, "1 s"),
            (59.0, "59 s"),
            (61.0, "1 min 01 s"),
            (3599.5, "1 h 00 min"),
            (7500.0, "2 h 05 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
