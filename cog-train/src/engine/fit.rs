//! The loop.

use serde_json::{Map, Value};

use super::evaluate::{evaluate, is_cancellation};
use super::learner::Learner;
use super::objective::{Objective, StepReport};
use super::records::{Records, Work};
use super::resume::{Saved, identity, resume};
use super::retry::{Failed, retry};
use super::state::{Mean, State, StopReason};
use super::stream::Stream;
use super::training::{Training, TrainingSummary};
use super::training_config::TrainingConfig;
use super::{probe, report, step};
use crate::cancellable::cancellable;
use crate::checkpoint::{Checkpoint, Checkpoints, Snapshot, folder};
use crate::data::Loader;
use crate::error::Error;
use crate::job::{CHECKPOINTS, Job};
use crate::optim::{Limits, Optimizer};

/// Trains: minimizes the loss of `objective` over the rows of `training.train`.
///
/// Writes `metrics.jsonl` and checkpoints into the job's folder. A resumed job continues from the newest checkpoint, and
/// an interrupted and resumed run is the same run, bit for bit: weights, state, metrics and log.
///
/// In a dry run ([`Job::is_dry_run`]) nothing is trained: two steps on the heaviest batch measure memory and time, a report
/// goes to the job, and the summary has [`StopReason::DryRun`] and no evaluations.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::data::{Batching, Loader, Rows};
/// use cog_train::optim::{Optimizer, Sgd};
/// use cog_train::engine::{Loss, Params, StepContext, TrainingConfig, Training, fit};
/// use cog_train::prelude::*;
///
/// # let dir = tempfile::tempdir()?;
/// # let mut job = Job::for_test(dir.path());
/// // A line through points of y = 3 x + 1.
/// let rows: Vec<Vec<f32>> = (0..64u8).map(|i| f32::from(i) / 32.0 - 1.0).map(|x| vec![x, 3.0 * x + 1.0]).collect();
/// let params = Params::new([("line", Tensor::zeros(2, DType::F32, job.device())?)])?;
/// let line = params.tensors()["line"].clone();
///
/// let train = Loader::new(Rows::new(rows), |rows: Vec<Vec<f32>>, batch| Ok(Tensor::new(rows, batch.device())?))
///     .batch(Batching::Rows(8));
/// let config = TrainingConfig { epochs: 20, learning_rate: 0.1, ..TrainingConfig::default() };
/// let optimizer = Optimizer::new(Sgd::default());
/// let squares = |rows: &Tensor, _context: &StepContext| {
///     let (x, y) = (rows.narrow(1, 0, 1)?.squeeze(1)?, rows.narrow(1, 1, 1)?.squeeze(1)?);
///     let guess = x.broadcast_mul(&line.get(0)?)?.broadcast_add(&line.get(1)?)?;
///     Ok(Loss::sum((guess - y)?.sqr()?.sum_all()?, rows.dim(0)?)?)
/// };
/// let training = Training { config, params: &params, optimizer, train, eval: None };
/// let summary = fit(training, &squares, &mut job)?;
/// assert_eq!(summary.steps, 160);
/// assert!(summary.loss < 1e-3);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Cancelled`] when the run is cancelled: its state is on disk then. [`Error::Diverged`] when too many steps in a
/// row are not finite, when every step was skipped, or when a parameter gets no gradient. [`Error::InvalidConfig`],
/// [`Error::Resume`], [`Error::Checkpoint`] and [`Error::Data`] as they say; else what the author's code fails with.
#[expect(clippy::too_many_lines, reason = "the loop reads top to bottom, in one place")]
pub fn fit<B: Send + 'static>(
    training: Training<'_, B>,
    objective: &impl Objective<B>,
    job: &mut Job,
) -> anyhow::Result<TrainingSummary> {
    let Training { config, params, optimizer, train, eval } = training;
    check(&config, &optimizer, &train, eval.as_ref())?;
    let steps = count_steps(&config, &train, job)?;
    let mut learner = Learner::new(&config, params, optimizer)?;
    let run =
        identity(&job.cancel_token(), &config, &learner.optimizer, params, &train, eval.as_ref())?;
    let resumed = resume(job, &config, &run, &mut learner)?;
    if job.is_dry_run() {
        let taken = resumed.map_or(0, |state| state.step);
        let eval = eval.as_ref();
        let planned = probe::Planned { config: &config, train: &train, eval, steps, taken };
        probe::report(&planned, &mut learner, objective, job)?;
        return Ok(TrainingSummary::of_dry_run(taken));
    }
    // A checkpoint is of its step and its last evaluation.
    let mut saved = resumed.as_ref().map(|state| (state.step, state.evaluated_at()));
    let mut state = resumed.unwrap_or_else(|| State::new(&config, params.computes_in()));
    let mut checkpoints = Checkpoints::open(&job.dir().join(CHECKPOINTS), config.keep_checkpoints)?;
    let mut records = Records::new(state.step, train.has_lengths(), params.device());
    let mut stream = Stream::new(&train, params.device());

    loop {
        let last = state.step >= steps || state.stopped.is_some();
        let epoch_ended = state.position.batch == 0;

        // once in a while: evaluate
        let (mut best, mut cut) = (false, false);
        let due = state.step == 0 || last || config.eval_every.is_due(state.step, epoch_ended);
        if let Some(eval) = &eval
            && due
            && state.evaluated_at() != Some(state.step)
        {
            learner.swap_average()?;
            let found = evaluate(eval, usize::MAX, objective, params.device(), &mut state, job);
            learner.swap_average()?;
            match found? {
                Some(found) => {
                    report::evaluation(job, &found);
                    let verdict = state.record_evaluation(&config, found, last)?;
                    if verdict.stops {
                        report::early_stopping(job, &config, &state);
                    }
                    // The first weights are saved only where they may be what is returned.
                    best = verdict.is_best && (state.step > 0 || config.restore_best);
                }
                None => cut = true, // cancelled; what follows sees to it
            }
        }

        // once in a while: save; also the last state, and on request or cancellation
        let last = last || state.stopped.is_some();
        let cancelled = job.cancelled(); // read once: the state that is saved is the one that is left
        let requested = job.save_requested();
        let due = requested
            || last
            || cancelled
            || best
            || config.save_every.is_due(state.step, epoch_ended);
        let now = Some((state.step, state.evaluated_at()));
        if due && saved != now {
            // A checkpoint holds the lengths of the run's files: so far they are synced before it appears.
            checkpoints.save_after(snapshot(&state, &run, &learner, best, job)?, job.sync()?)?;
            saved = now;
        }
        if requested || last || cancelled {
            checkpoints.finish()?;
        }
        if requested {
            job.note(format_args!("step {}: saved on request", state.step));
        }
        if last && !cut {
            break; // one extra turn, so that the end is evaluated and saved
        }
        if cancelled || cut {
            stream.leave();
            return Err(Error::Cancelled.into());
        }

        // one step: micro-batches -> gradients -> finite? -> clip -> update
        let learning_rate = config.learning_rate * config.schedule.at(state.step, steps);
        let computed = retry(&mut state, train.max_rows(), job, |state, job| {
            let batch = stream.next(state, job)?;
            let computed = step::compute(&mut learner, objective, state, &batch, job)
                .map_err(Failed::on(step::rows_at_once(&batch)))?;
            Ok((batch, computed))
        });
        let (batch, computed) = match computed {
            Ok(taken) => taken,
            Err(error) if is_cancellation(&error, job) => continue,
            Err(error) => return Err(error),
        };
        let applied = step::apply(&mut learner, config.clip, &mut state, computed, learning_rate)?;

        // report
        if batch.at.batch == 0 {
            state.epoch = Mean::default();
        }
        if applied.skipped.is_none() {
            state.epoch.add(applied.sum, applied.weight);
        }
        let step_report = StepReport {
            step: state.step,
            steps,
            epoch: batch.at.epoch + 1,
            loss: applied.loss(),
            learning_rate,
            grad_norm: applied.norm,
            skipped: applied.skipped.is_some(),
        };
        job.epoch(batch.at.epoch + 1, config.epochs);
        let work = Work { rows: batch.rows.len(), tokens: batch.tokens, waited: batch.waited };
        records.step(job, &step_report, applied.skipped, work);
        report::skipped(job, &config, &state, &applied, &batch.rows, &train)?;
        state.position = batch.next;
        if state.position.batch == 0 {
            report::epoch(job, batch.at.epoch + 1, &config, &state);
        }
        if objective.on_step(&step_report).is_break() && state.step < steps {
            report::stopped_by_hook(job, state.step);
            state.stopped = Some(StopReason::Hook);
        }
    }

    stream.leave();
    if state.skipped_every_step() {
        return Err(report::every_step_skipped(&state).into());
    }
    match &state.best {
        Some(best) if config.restore_best && best.step != state.step => {
            let path = job.dir().join(CHECKPOINTS).join(folder(best.step));
            learner.restore_evaluated(&Checkpoint::open(&path)?)?;
            state.last_eval = Some(best.clone());
        }
        _ => learner.swap_average()?,
    }
    report::finished(job, &state);
    Ok(TrainingSummary::of(state))
}

/// Checks all settings before anything is read or computed.
fn check<B: Send + 'static>(
    config: &TrainingConfig,
    optimizer: &Optimizer,
    train: &Loader<B>,
    eval: Option<&Loader<B>>,
) -> Result<(), Error> {
    let mut limits = Limits::default();
    limits.include(config.check());
    limits.include(optimizer.check());
    let needs_eval = config.patience.is_some() || config.restore_best;
    limits.require(eval.is_some() || !needs_eval, || {
        "the config's `patience` and `restore_best` need held-out rows, and there are none"
            .to_owned()
    });
    for loader in [Some(train), eval].into_iter().flatten() {
        let (rank, world) = loader.rank_of();
        limits.require(world <= 1, || {
            format!(
                "the loader is for rank {rank} of {world}, and `fit` trains on one device: nothing would add up the \
                 gradients\nhint: leave `Loader::ranks` out"
            )
        });
    }
    limits.finish()
}

/// Counts the steps. Where batches are by tokens, each epoch's rows are put in order for it.
fn count_steps<B: Send + 'static>(
    config: &TrainingConfig,
    train: &Loader<B>,
    job: &Job,
) -> Result<u64, Error> {
    let (config, train, cancel, seed) =
        (config.clone(), train.clone(), job.cancel_token(), job.seed());
    cancellable(&job.cancel_token(), move || {
        let sampler = train.sampler(seed)?;
        let steps_in =
            |epoch| if cancel.is_cancelled() { u64::MAX } else { sampler.steps_in(epoch) };
        Ok(config.steps(steps_in))
    })?
}

fn snapshot(
    state: &State,
    run: &Map<String, Value>,
    learner: &Learner<'_>,
    best: bool,
    job: &Job,
) -> anyhow::Result<Snapshot> {
    let saved = Saved { state: state.clone(), run: run.clone(), marks: job.marks()? };
    let (step, files) = (state.step, learner.files());
    Ok(Snapshot { step, state: serde_json::to_value(saved)?, files, best })
}
