//! The loop.

use std::cell::Cell;
use std::collections::BTreeMap;

use candle_core::Tensor;
use serde_json::{Map, Value};

use super::evaluate::{evaluate, was_cancelled};
use super::objective::Objective;
use super::records::Records;
use super::resume::{EMA, OPTIMIZER, Saved, WEIGHTS, identity, put_back, resume};
use super::state::{Best, Mean, State};
use super::step::{self, Outcome, Parts};
use super::training_config::{Every, TrainingConfig};
use super::{memory, probe, report};
use crate::cancellable::aside;
use crate::checkpoint::{Checkpoint, Checkpoints, Snapshot, folder};
use crate::data::{Batches, Loader};
use crate::error::Error;
use crate::job::{CHECKPOINTS, Job};
use crate::optim::{Ema, Optimizer};
use crate::params::{Param, Params};
use cog_train_nn::__private::tape::Buffers;

/// What a training is made of, beside the loss.
///
/// The example of [`fit`] has one.
pub struct Training<'a, B> {
    /// The numbers.
    pub config: TrainingConfig,
    /// The tensors, which the loss depends on by [`Params::tensors`].
    pub params: &'a Params,
    /// How they are updated.
    pub optimizer: Optimizer,
    /// The rows to learn from.
    pub train: Loader<B>,
    /// The rows to measure on.
    pub eval: Option<Loader<B>>,
}

/// What came of a training. The weights are in the [`Params`] that were given.
///
/// ```
/// use cog_train::engine::{TrainingSummary, Training, fit};
/// use cog_train::prelude::*;
///
/// /// Trains, and says what came of it.
/// fn tell(
///     training: Training<'_, Vec<f32>>,
///     objective: &impl cog_train::engine::Objective<Vec<f32>>,
///     job: &mut Job,
/// ) -> Result<()> {
///     let fitted: TrainingSummary = fit(training, objective, job)?;
///     let (before, after) = (fitted.before["loss"], fitted.after["loss"]); // with held-out rows
///     job.line(format_args!("{} steps, loss {before:.3} to {after:.3}", fitted.steps));
///     if let Some(best) = fitted.best {
///         job.line(format_args!("it was best after {} steps: {:.3}", best.step, best.loss));
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainingSummary {
    /// Steps taken.
    pub steps: u64,
    /// The mean loss over the last epoch, or what there was of it; NaN if no step had a finite loss.
    pub loss: f64,
    /// The means over the held-out rows before the first step: `loss` and what the objective adds.
    pub before: BTreeMap<String, f64>,
    /// The means over the held-out rows at the end.
    pub after: BTreeMap<String, f64>,
    /// The evaluation with the lowest loss.
    pub best: Option<Best>,
    /// Whether it ended because the loss no longer fell.
    pub stopped_early: bool,
}

/// Trains: the loss of `objective` over the rows of `training.train` is made smaller until the plan's end.
///
/// Writes `metrics.jsonl` and checkpoints into the job's folder. A job that is resumed goes on from the newest
/// checkpoint, and the run that is stopped and resumed is the same run, bit for bit: weights, state, numbers and lines.
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
/// let fitted = fit(training, &squares, &mut job)?;
/// assert_eq!(fitted.steps, 160);
/// assert!(fitted.loss < 1e-3);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Cancelled`] when the run was asked to stop: its state is on disk then. [`Error::Plan`], [`Error::Resume`],
/// [`Error::Diverged`], [`Error::Checkpoint`] and [`Error::Data`] as they say; else what the author's code fails with.
#[expect(clippy::too_many_lines, reason = "the loop reads top to bottom, in one place")]
pub fn fit<B: Send + 'static>(
    training: Training<'_, B>,
    objective: &impl Objective<B>,
    job: &mut Job,
) -> anyhow::Result<TrainingSummary> {
    let Training { config, params, mut optimizer, train, eval } = training;
    let cancel = job.cancel_token();
    let (steps, in_epoch) = steps(&config, &train, eval.as_ref(), job)?;
    optimizer.prepare(params)?;
    let mut ema = averages(&config, params)?;
    let run = identity(&cancel, &config, &optimizer, params, &train, eval.as_ref())?;
    let resumed = resume(job, &config, &run, params, &mut optimizer, ema.as_mut())?;
    if job.plan_only() {
        let taken = resumed.map_or(0, |state| state.step);
        let eval = eval.as_ref();
        let planned = probe::Planned { config: &config, params, train: &train, eval, steps, taken };
        return Err(probe::tell(&planned, &mut optimizer, ema.as_mut(), objective, job)?.into());
    }
    // A checkpoint is of its step and its last evaluation.
    let mut saved = resumed.as_ref().map(|state| (state.step, state.evaluated_at));
    let mut state = resumed.unwrap_or_else(|| State::new(&config, params.computes_in()));
    let mut checkpoints = Checkpoints::open(&job.dir().join(CHECKPOINTS), config.keep_checkpoints)?;
    let early = |every: Every| every.comes_before_the_end(in_epoch, steps);
    if early(config.save_every) || (eval.is_some() && early(config.eval_every)) {
        checkpoints.make_reserve(&tensors(params, &optimizer, ema.as_ref())?);
    }
    let mut records = Records::new(state.step, train.has_lengths(), params.device());
    let mut batches: Option<Batches<B>> = None;
    let mut buffers = buffers(params);

    loop {
        let last = state.step >= steps || state.stopped_early;
        let epoch_ended = state.position.batch == 0;

        // once in a while: evaluate
        let (mut best, mut cut) = (false, false);
        let due = state.step == 0 || last || config.eval_every.is_due(state.step, epoch_ended);
        if let Some(eval) = &eval
            && due
            && state.evaluated_at != Some(state.step)
        {
            swap(ema.as_mut(), params)?;
            let scores = evaluate(eval, objective, params.device(), &mut state.micro, job);
            swap(ema.as_mut(), params)?;
            match scores? {
                Some(scores) => {
                    report::evaluation(job, state.step, &scores);
                    // The first weights are saved only where they may be what is returned.
                    best =
                        state.evaluated(&config, scores) && (state.step > 0 || config.restore_best);
                }
                None => cut = true, // asked to stop; what follows sees to it
            }
        }

        // once in a while: save; also the last state, and when asked to stop
        let last = last || state.stopped_early;
        let cancelled = job.cancelled(); // read once: what is saved is what is left
        let asked = job.save_requested();
        let due =
            asked || last || cancelled || best || config.save_every.is_due(state.step, epoch_ended);
        let now = Some((state.step, state.evaluated_at));
        if due && saved != now {
            let tensors = tensors(params, &optimizer, ema.as_ref())?;
            // The files of the run are on the disk as far as the checkpoint goes back to them.
            checkpoints.begin(snapshot(&state, &run, tensors, best, job)?, job.sync()?)?;
            saved = now;
        }
        if asked || last || cancelled {
            checkpoints.finish()?;
        }
        if asked {
            job.note(format_args!("step {}: saved, as asked", state.step));
        }
        if last && !cut {
            break; // one extra turn, so that the end is evaluated and saved
        }
        if cancelled || cut {
            if let Some(batches) = batches {
                batches.leave(); // a batch that is made for the next step is waited for by nobody
            }
            return Err(Error::Cancelled.into());
        }

        // one step: micro-batches -> gradients -> finite? -> clip -> update
        let stream = batches.get_or_insert_with(|| {
            train.start(job.seed(), state.position, state.micro, params.device())
        });
        let batch = match stream.next_until(&cancel) {
            Ok(batch) => {
                batch.ok_or_else(|| Error::Plan { reason: "the data has ended".to_owned() })?
            }
            Err(error) if was_cancelled(&error, job) => continue,
            Err(error) if memory::is_short(&error) => {
                state.micro =
                    Some(memory::smaller(state.micro.unwrap_or(train.most_rows()), error, job)?);
                batches = None;
                continue;
            }
            Err(error) => return Err(error),
        };
        let rate = config.learning_rate * config.schedule.at(state.step, steps);
        let mut parts = Parts {
            params,
            objective,
            clip: config.clip,
            optimizer: &mut optimizer,
            ema: ema.as_mut(),
            buffers: &mut buffers,
        };
        let step = || step::run(&mut parts, &mut state, &batch, rate, job);
        let done = match checkpoints.change(step) {
            Ok(Outcome::Done(done)) => done,
            Ok(Outcome::Cancelled) => continue,
            Err(error) if was_cancelled(&error, job) => continue,
            Err(error) => return Err(error),
            Ok(Outcome::OutOfMemory(error)) => {
                let largest = batch.parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
                state.micro = Some(memory::smaller(largest, error, job)?);
                batches = None;
                continue;
            }
        };

        // report
        if batch.at.batch == 0 {
            state.epoch = Mean::default();
        }
        if done.skipped.is_none() {
            state.epoch.add(done.sum, done.weight);
        }
        let rows = (batch.rows.len(), batch.tokens, batch.waited);
        records.step(job, (state.step, steps), &done, rate, rows);
        report::skipped(job, &config, &state, &done, &batch.rows, &train)?;
        state.position = batch.next;
        if state.position.batch == 0 {
            report::epoch(job, batch.at.epoch + 1, &config, &state);
        }
    }

    if let Some(batches) = batches {
        batches.leave();
    }
    match state.best {
        Some(best) if config.restore_best && best.step != state.step => {
            let place = job.dir().join(CHECKPOINTS).join(folder(best.step));
            let file = if ema.is_some() { EMA } else { WEIGHTS };
            put_back(params, &Checkpoint::open(&place)?, file)?;
        }
        _ => swap(ema.as_mut(), params)?,
    }
    Ok(TrainingSummary::of(state))
}

/// Looks at the config and the data; how many steps there will be, and how many of them the first epoch has.
fn steps<B: Send + 'static>(
    config: &TrainingConfig,
    train: &Loader<B>,
    eval: Option<&Loader<B>>,
    job: &Job,
) -> Result<(u64, u64), Error> {
    config.check()?;
    if eval.is_none() && (config.patience.is_some() || config.restore_best) {
        let reason =
            "the plan's `patience` and `restore_best` need held-out rows, and there are none";
        return Err(Error::Plan { reason: reason.to_owned() });
    }
    let loaders = [Some(train), eval];
    if let Some((rank, world)) =
        loaders.into_iter().flatten().map(Loader::rank_of).find(|(_, world)| *world > 1)
    {
        return Err(Error::Plan {
            reason: format!(
                "the loader is for rank {rank} of {world}, and `fit` trains on one device: nothing would add up the \
                 gradients\nhint: leave `Loader::ranks` out"
            ),
        });
    }
    // Where batches are by tokens, each epoch's rows are put in order to be counted.
    let (config, train, cancel, seed) =
        (config.clone(), train.clone(), job.cancel_token(), job.seed());
    aside(&job.cancel_token(), move || {
        let sampler = train.sampler(seed)?;
        let steps_in =
            |epoch| if cancel.is_cancelled() { u64::MAX } else { sampler.steps_in(epoch) };
        let first = Cell::new(0);
        let steps = config.steps(|epoch| {
            let steps = steps_in(epoch);
            if epoch == 0 {
                first.set(steps);
            }
            steps
        });
        Ok((steps, first.get()))
    })?
}

fn averages(config: &TrainingConfig, params: &Params) -> Result<Option<Ema>, Error> {
    let Some(decay) = config.ema else { return Ok(None) };
    let mut ema = Ema::new(decay);
    ema.prepare(params)?;
    Ok(Some(ema))
}

/// Memory for the gradients of what is trained.
pub(super) fn buffers(params: &Params) -> Buffers {
    Buffers::new(params.trainable().map(|(_, param)| param.compute().as_tensor()))
}

/// Puts averages in the place of the weights, and back.
fn swap(ema: Option<&mut Ema>, params: &Params) -> Result<(), Error> {
    ema.map_or(Ok(()), |ema| ema.swap(params))
}

/// The tensors of a checkpoint. Frozen parameters are not among them: they are the author's to bring.
fn tensors(params: &Params, optimizer: &Optimizer, ema: Option<&Ema>) -> Result<Files, Error> {
    let tensor = |(name, param): (&str, &Param)| {
        let tensor = param.master().as_detached_tensor();
        // The next step's forward pass may change a buffer while the checkpoint is being written.
        Ok((name.to_owned(), if param.is_buffer() { tensor.copy()? } else { tensor }))
    };
    let weights = params.changing().map(tensor).collect::<Result<_, Error>>()?;
    let mut files =
        BTreeMap::from([(WEIGHTS.to_owned(), weights), (OPTIMIZER.to_owned(), optimizer.state())]);
    files.extend(ema.map(|ema| (EMA.to_owned(), ema.state())));
    Ok(files)
}

type Files = BTreeMap<String, BTreeMap<String, Tensor>>;

fn snapshot(
    state: &State,
    run: &Map<String, Value>,
    files: Files,
    best: bool,
    job: &Job,
) -> anyhow::Result<Snapshot> {
    let saved = Saved { state: state.clone(), run: run.clone(), marks: job.marks()? };
    Ok(Snapshot { step: state.step, state: serde_json::to_value(saved)?, files, best })
}

impl TrainingSummary {
    fn of(state: State) -> Self {
        Self {
            steps: state.step,
            loss: state.epoch.value().unwrap_or(f64::NAN),
            before: state.before,
            after: state.after,
            best: state.best,
            stopped_early: state.stopped_early,
        }
    }
}
