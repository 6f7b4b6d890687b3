//! `--plan`: what a training will take, from two steps on its heaviest batch. Nothing is kept of them.

mod room;

use std::time::{Duration, Instant};

use self::room::Room;
use super::evaluate;
use super::fit::buffers;
use super::memory::{self, Gauge, human};
use super::objective::Objective;
use super::state::State;
use super::step::{self, Outcome, Parts};
use super::training_config::TrainingConfig;
use crate::cancellable::aside;
use crate::data::{Batch, Batches, Batching, Loader, Position, histogram};
use crate::error::Error;
use crate::job::Job;
use crate::optim::{Ema, Optimizer};
use crate::params::Params;

/// What is to be told of.
pub(super) struct Planned<'a, B> {
    pub(super) config: &'a TrainingConfig,
    pub(super) params: &'a Params,
    pub(super) train: &'a Loader<B>,
    pub(super) eval: Option<&'a Loader<B>>,
    /// All steps of the run.
    pub(super) steps: u64,
    /// Those that are taken already, when the run is resumed.
    pub(super) taken: u64,
}

/// The bytes of a training by what they are for.
struct Memory {
    /// What was held before the probe: on a CPU by the process, on a GPU by all processes.
    base: u64,
    gradients: u64,
    optimizer: u64,
    averages: u64,
    /// What the peak has beside: activations, and gradients on their way.
    activations: u64,
    /// The copy that a checkpoint is written from, which is the host's.
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
    let Planned { config, params, train, eval, .. } = *planned;
    rows(planned, job);
    let (all, trained) = (params.count() as u64, params.trainable_count() as u64);
    job.line(format_args!(
        "parameters: {all}, of which {trained} are trained ({:.3} %), computed in {}",
        percent(trained, all),
        params.computes_in().name()
    ));

    let slots: usize = optimizer.state().values().map(candle_core::Tensor::elem_count).sum();
    let (held, averages) = (4 * slots as u64, if ema.is_some() { 4 * trained } else { 0 });
    let snapshot = 4 * trained + averages + held;
    let mut state = State::new(config, params.computes_in());
    let mut buffers = buffers(params);
    let (mut time, mut done) = (Duration::ZERO, 0);
    // Before anything is computed: what the allocator keeps of a step would count as held.
    let gauge = Gauge::start(params.device());
    // As a run does: what it measures with before the first step is not given back whole.
    let measure = |micro, job: &Job| match eval {
        Some(eval) => evaluate::try_out(eval, objective, params.device(), micro, job),
        None => Ok(()),
    };
    measure(state.micro, job)?;
    // The first step makes what stays: moments, buffers, worker threads. The second shows how long a step takes.
    while done < 2 {
        let (batches, batch) = match heaviest(train, state.micro, params, job) {
            Ok(made) => made,
            Err(error) if memory::is_short(&error) => {
                let rows = state.micro.unwrap_or(train.most_rows());
                state.micro = Some(memory::smaller(rows, error, job)?);
                continue;
            }
            Err(error) => return Err(error),
        };
        let start = Instant::now();
        let mut parts = Parts {
            params,
            objective,
            clip: config.clip,
            optimizer,
            ema: ema.as_deref_mut(),
            buffers: &mut buffers,
        };
        match step::run(&mut parts, &mut state, &batch, 0.0, job)? {
            Outcome::Done(_) => (time, done) = (start.elapsed(), done + 1),
            Outcome::Cancelled => {
                batches.leave();
                return Ok(Error::Cancelled);
            }
            Outcome::OutOfMemory(error) => {
                let rows = batch.parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
                state.micro = Some(memory::smaller(rows, error, job)?);
            }
        }
    }
    measure(state.micro, job)?;
    let (base, peak) = (gauge.base(), gauge.peak());
    let gradients = 4 * trained;
    let found = Memory {
        base,
        gradients,
        optimizer: held,
        averages,
        // The optimizer's state was zeros that the system had given no pages to yet.
        activations: peak.saturating_sub(base + held + gradients),
        snapshot,
        peak,
    };
    in_memory(&found, params, gauge.is_of_device(), job);
    Room { checkpoint: snapshot, keep: config.keep_checkpoints, weights: 4 * all }.tell(job)?;
    in_time(time, planned, job);
    Ok(Error::Planned)
}

/// The batch of the first epoch that is the largest, and what makes those after it: they are made ahead while the probe
/// measures, as they are in a run, and take memory too.
fn heaviest<B: Send + 'static>(
    train: &Loader<B>,
    micro: Option<usize>,
    params: &Params,
    job: &Job,
) -> anyhow::Result<(Batches<B>, Batch<B>)> {
    let (cancel, seed) = (job.cancel_token(), job.seed());
    let lengths = train.clone();
    let batch = aside(&cancel, move || lengths.heaviest(seed))?;
    let mut batches = train.start(seed, Position { epoch: 0, batch }, micro, params.device());
    let step = batches.next_until(&cancel)?;
    let none = || Error::InvalidConfig { reason: "the data has no batches".to_owned() };
    Ok((batches, step.ok_or_else(none)?))
}

/// Rows, steps, and where they are known the lengths of rows and how many of them are cut.
fn rows<B: Send + 'static>(planned: &Planned<'_, B>, job: &mut Job) {
    let Planned { config, train, steps, taken, .. } = *planned;
    let batch = match train.batching() {
        Batching::Rows(rows) => format!("{rows} rows"),
        Batching::Tokens { most, .. } => format!("up to {most} tokens"),
    };
    let until = match config.epochs {
        _ if config.max_steps == Some(steps) => "the most of the plan".to_owned(),
        1 => "in 1 epoch".to_owned(),
        epochs => format!("in {epochs} epochs"),
    };
    let taken = if taken > 0 { format!(", of which {taken} are taken") } else { String::new() };
    let count = train.len();
    job.line(format_args!("data: {count} rows; {steps} steps of {batch}, {until}{taken}"));
    match train.lengths() {
        Some(lengths) => {
            job.line("  tokens of a row, and how many rows have so many:");
            for line in histogram(&lengths) {
                job.line(format_args!("  {line}"));
            }
        }
        None => job.line("  the lengths of rows are not told"),
    }
    match train.cut_rows() {
        Some(0) => job.line("  no row is cut"),
        Some(cut) => {
            job.line(format_args!("  {cut} of {count} rows are cut to the most that fits"));
        }
        None => {}
    }
}

fn in_memory(found: &Memory, params: &Params, of_device: bool, job: &mut Job) {
    let compute = match params.computes_in().dtype().size_in_bytes() {
        4 => 0,
        bytes => bytes as u64,
    };
    let weights = human(params.count() as u64 * (4 + compute));
    let parts = format!(
        "weights {weights}, optimizer {}, averages {}, gradients {}, activations {}",
        human(found.optimizer),
        human(found.averages),
        human(found.gradients),
        human(found.activations),
    );
    let snapshot = human(found.snapshot);
    if of_device {
        job.line(format_args!(
            "memory of the device: about {} at most, of which {parts}",
            human(found.peak)
        ));
        job.line(format_args!("  all that runs on it holds {} now", human(found.base)));
        job.line(format_args!(
            "memory beside it: the program, its data and the model hold {} now, and a checkpoint on its way takes {snapshot}",
            human(memory::resident()),
        ));
    } else {
        job.line(format_args!(
            "memory: about {} at most, of which {parts}, a checkpoint on its way {snapshot}",
            human(found.peak + found.snapshot)
        ));
        job.line(format_args!(
            "  the program, its data and the model hold {} now",
            human(found.base)
        ));
    }
}

fn in_time<B: Send + 'static>(step: Duration, planned: &Planned<'_, B>, job: &mut Job) {
    let left = planned.steps.saturating_sub(planned.taken);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let all = step.as_secs_f64() * left as f64;
    let seconds = step.as_secs_f64();
    let (which, most) =
        if planned.train.has_lengths() { (" of the longest rows", "at most ") } else { ("", "") };
    let those =
        if planned.taken > 0 { format!("the {left} that are left") } else { "all".to_owned() };
    job.line(format_args!(
        "time: {seconds:.3} s for a step{which}, so {most}about {} for {those}, evaluations aside",
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
