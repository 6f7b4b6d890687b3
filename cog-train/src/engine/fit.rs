//! The loop.

use std::time::Instant;

use super::evaluate::evaluate;
use super::learner::Learner;
use super::objective::{Objective, StepReport};
use super::prepare::{check, check_shares, count_steps};
use super::ranks::Ranks;
use super::records::{Records, Work};
use super::reduce::reduce;
use super::resume::{compare_ranks, identity, resume};
use super::save::Saves;
use super::state::{Mean, State, StopReason};
use super::stream::Stream;
use super::training::{Training, TrainingSummary};
use super::usage::Usage;
use super::{probe, report, step};
use crate::checkpoint::{Checkpoint, folder};
use crate::error::Error;
use crate::job::{CHECKPOINTS, Job};

/// Trains: minimizes the loss of `objective` over the rows of `training.train`.
///
/// Writes `metrics.jsonl` and checkpoints into the job's folder. A resumed job continues from the newest checkpoint, and
/// an interrupted and resumed run is the same run, bit for bit: weights, state, metrics and log.
///
/// The ranks of the job's [communicator](Job::communicator) share the micro-batches of a batch; each of them calls `fit`.
/// The number of ranks is a power of two, at most that of the micro-batches, and has no part in the
/// result: weights, metrics and checkpoints have the same bits on 1, 2 and 4 ranks, and a run is resumed on any of them. The
/// first rank writes the files. Each tensor that is trained, or a part of its rows where it is large and updated element by element, has
/// one rank that holds the optimizer's state and the average; where the model computes in 16 bits, that rank alone holds the
/// [master](crate::engine::Param::master) until `fit` returns.
/// A model with [buffers](crate::engine::Params::buffers) is refused on several ranks, for these depend on the order of
/// micro-batches.
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
/// [`Error::Resume`], [`Error::Checkpoint`] and [`Error::Data`] as they say; [`Error::Ranks`] for what another rank fails
/// with; else what the author's code fails with.
#[expect(clippy::too_many_lines, reason = "the loop reads top to bottom, in one place")]
pub fn fit<B: Send + 'static>(
    training: Training<'_, B>,
    objective: &impl Objective<B>,
    job: &mut Job,
) -> anyhow::Result<TrainingSummary> {
    let Training { mut config, params, optimizer, train, eval } = training;
    config.reduce = job.reduce().unwrap_or(config.reduce);
    check(&config, &optimizer, eval.is_some())?;
    let ranks = Ranks::of(job)?;
    let train = train.for_rank(ranks.shard());
    let eval = eval.map(|eval| eval.for_rank(ranks.shard()));
    let steps = ranks.all_done(count_steps(&config, &train, job))?;
    ranks.all_done(check_shares(&config, &train, params, job))?;
    let mut learner = ranks.all_done(Learner::new(&config, params, optimizer, &ranks))?;
    let run =
        identity(&job.cancel_token(), &config, &learner.optimizer, params, &train, eval.as_ref());
    let run = ranks.all_done(run)?;
    compare_ranks(&ranks, &run, job.seed())?;
    learner.align()?;
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
    let mut checkpoints = Saves::open(job, config.keep_checkpoints, &learner)?;
    let mut records = Records::new(state.step, train.has_lengths(), params.device());
    let mut stream = Stream::new(&train, params.device());
    let mut usage = Usage::start(params.device());
    let mut hook_breaks = false;

    loop {
        // what a signal or the hook of any rank asks for, all do after the same step
        let Signals { cancelled, save_requested, hook_breaks: ends } =
            Signals::agreed(&ranks, job, hook_breaks)?;
        if ends {
            report::stopped_by_hook(job, state.step);
            state.stopped = Some(StopReason::Hook);
        }
        let last = state.step >= steps || state.stopped.is_some();
        let epoch_ended = state.position.batch == 0;

        // once in a while: evaluate
        let (mut best, mut cut) = (false, false);
        let due = state.step == 0 || last || config.eval_every.is_due(state.step, epoch_ended);
        if let Some(eval) = &eval
            && due
            && state.evaluated_at() != Some(state.step)
        {
            let began = Instant::now();
            learner.swap_average()?;
            let found = evaluate(eval, u64::MAX, objective, &learner, &mut state, job);
            learner.swap_average()?;
            usage.evaluation += began.elapsed();
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
        let cancelled = cancelled || cut;
        let due = save_requested
            || last
            || cancelled
            || best
            || config.save_every.is_due(state.step, epoch_ended);
        let now = Some((state.step, state.evaluated_at()));
        let began = Instant::now();
        if due && saved != now {
            checkpoints.save(&state, &run, &learner, best, job)?;
            saved = now;
        }
        if save_requested || last || cancelled {
            checkpoints.finish(&learner)?;
        }
        usage.checkpoint += began.elapsed();
        if save_requested {
            job.note(format_args!("step {}: saved on request", state.step));
        }
        if last && !cut {
            break; // one extra turn, so that the end is evaluated and saved
        }
        if cancelled {
            stream.leave();
            return Err(Error::Cancelled.into());
        }

        // one step: micro-batches -> gradients -> sum over ranks -> finite? -> clip -> update
        let learning_rate = config.learning_rate * config.schedule.at(state.step, steps);
        let (learner, how) = (&mut learner, config.reduce);
        let computed = step::compute_next(&mut stream, learner, objective, &mut state, job, how)?;
        let Some((batch, computed)) = computed else { continue };
        let began = Instant::now();
        let reduced = reduce(learner, computed)?;
        let applied = step::apply(learner, config.clip, &mut state, reduced, learning_rate)?;
        usage.optimizer += began.elapsed();
        usage.data += batch.waited;
        usage.add_passes(std::mem::take(&mut learner.passes));

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
        usage.sample(records.step(job, &step_report, applied.skipped, work));
        report::skipped(job, &config, &state, &applied, &batch.rows, &train)?;
        state.position = batch.next;
        if state.position.batch == 0 {
            report::epoch(job, batch.at.epoch + 1, &config, &state);
        }
        hook_breaks = objective.on_step(&step_report).is_break() && state.step < steps;
    }

    stream.leave();
    if state.skipped_every_step() {
        return Err(report::every_step_skipped(&state).into());
    }
    match &state.best {
        Some(best) if config.restore_best && best.step != state.step => {
            let path = job.dir().join(CHECKPOINTS).join(folder(best.step));
            let checkpoint = ranks.leads().then(|| Checkpoint::open(&path)).transpose();
            learner.restore_evaluated(ranks.all_done(checkpoint)?.as_ref())?;
            state.last_eval = Some(best.clone());
        }
        _ => {
            learner.swap_average()?;
        }
    }
    learner.publish_weights()?;
    usage.report(&learner, job);
    report::finished(job, &state);
    Ok(TrainingSummary::of(state))
}

/// The events between two steps, of all ranks together.
struct Signals {
    cancelled: bool,
    save_requested: bool,
    hook_breaks: bool,
}

impl Signals {
    /// Reads those of this rank once, and returns those of all ranks.
    fn agreed(ranks: &Ranks, job: &Job, hook_breaks: bool) -> Result<Self, Error> {
        let own = [job.cancelled(), job.save_requested(), hook_breaks];
        let flags = own.into_iter().rev().fold(0, |flags, flag| flags << 1 | u64::from(flag));
        let all = ranks.agree(flags)?;
        let has = |at: u32| all >> at & 1 == 1;
        Ok(Self { cancelled: has(0), save_requested: has(1), hook_breaks: has(2) })
    }
}
