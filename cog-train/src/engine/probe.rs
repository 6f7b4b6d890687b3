//! The dry run: what a training will take, from two steps on its heaviest batch. Nothing of them is kept.

mod room;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::room::Room;
use super::evaluate::evaluate;
use super::held::Held;
use super::learner::Learner;
use super::memory::{self, Gauge};
use super::objective::Objective;
use super::overlap::exchanged;
use super::reduce::reduce;
use super::retry::{Failed, retry};
use super::state::State;
use super::step;
use super::stream::Stream;
use super::training_config::TrainingConfig;
use crate::cancellable::cancellable;
use crate::data::{Batching, Loader, histogram};
use crate::error::{Error, counted};
use crate::job::Job;
use crate::message::{bar, duration, human};
use crate::table::{Align, Table};

/// The training that would run.
pub(super) struct Planned<'a, B> {
    pub(super) config: &'a TrainingConfig,
    pub(super) train: &'a Loader<B>,
    pub(super) eval: Option<&'a Loader<B>>,
    /// All steps of the run.
    pub(super) steps: u64,
    /// Those that were taken before, when the run is resumed.
    pub(super) taken: u64,
}

/// The bytes of a training by what they are for.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// Held before the probe: on a CPU by the process, on a GPU by all processes.
    base: u64,
    weights: u64,
    gradients: u64,
    optimizer: u64,
    averages: u64,
    /// The rest of the peak: activations and temporary gradients.
    activations: u64,
    /// The copy that a checkpoint is written from, which is the host's.
    snapshot: u64,
    peak: u64,
}

impl Memory {
    /// Returns the most that any rank takes.
    fn most(ranks: &[Self]) -> Self {
        let most = |bytes: fn(&Self) -> u64| ranks.iter().map(bytes).max().unwrap_or(0);
        Self {
            base: most(|it| it.base),
            weights: most(|it| it.weights),
            gradients: most(|it| it.gradients),
            optimizer: most(|it| it.optimizer),
            averages: most(|it| it.averages),
            activations: most(|it| it.activations),
            snapshot: most(|it| it.snapshot),
            peak: most(|it| it.peak),
        }
    }
}

/// Reports rows, lengths, steps, parameters, memory, disk and time, line by line.
///
/// # Errors
///
/// The error of the data or of the author's loss; [`Error::InvalidConfig`](crate::Error::InvalidConfig) for a disk that is too small.
pub(super) fn report<B: Send + 'static>(
    planned: &Planned<'_, B>,
    learner: &mut Learner<'_>,
    objective: &impl Objective<B>,
    job: &mut Job,
) -> anyhow::Result<()> {
    job.open_dry_run_report();
    let Planned { config, train, eval, .. } = *planned;
    let params = learner.params;
    rows(planned, job);
    let (all, trained) = (params.count() as u64, params.trainable_count() as u64);
    job.line(format_args!(
        "parameters: {all}, of which {trained} are trained ({:.3} %), computed in {}",
        percent(trained, all),
        params.computes_in().name()
    ));

    let ranks = learner.ranks.clone();
    let Held { weights, gradients, optimizer, averages, snapshot } = Held::of(learner);
    let mut state = State::new(config, params.computes_in());
    let gauge = Gauge::start(params.device());
    // While one batch is computed, the next is there.
    let measure = |state: &mut State, learner: &Learner<'_>, job: &mut Job| -> anyhow::Result<()> {
        let Some(eval) = eval else { return Ok(()) };
        evaluate(eval, 2, objective, learner, state, job).map(drop)
    };
    // As a run does: the memory of the evaluation before the first step is not all freed.
    measure(&mut state, learner, job)?;
    let seed = job.seed();
    let lengths = train.clone();
    let heaviest = cancellable(&job.cancel_token(), move || lengths.heaviest(seed));
    state.position.batch = ranks.all_done(heaviest)?;
    let mut time = Duration::ZERO;
    // The first step allocates what stays: moments, buffers, worker threads. The second shows how long a step takes.
    for _ in 0..2 {
        let mut stream = Stream::new(train, params.device());
        let computed = retry(&mut state, train.max_rows(), &ranks, job, |state, job| {
            exchanged(learner, config.reduce, |learner, sending| {
                let batch = stream.next(state, job)?;
                let start = Instant::now();
                let computed = step::compute(learner, objective, state, &batch, sending, job)
                    .map_err(Failed::on(step::rows_at_once(&batch)))?;
                Ok((start, computed))
            })
        });
        let Some((start, computed)) = computed? else {
            stream.leave();
            return Err(Error::Cancelled.into());
        };
        let reduced = reduce(learner, computed)?;
        step::apply(learner, config.clip, &mut state, reduced, 0.0)?;
        time = start.elapsed();
    }
    measure(&mut state, learner, job)?;
    ranks.all_done(job.check_cancelled())?;
    let (base, peak) = (gauge.base(), gauge.peak());
    let found = Memory {
        base,
        weights,
        gradients,
        optimizer,
        averages,
        // The optimizer's state was zeros that the system had given no pages to yet.
        activations: peak.saturating_sub(base + optimizer + gradients),
        snapshot,
        peak,
    };
    let found = Memory::most(&ranks.share(found)?);
    in_memory(&found, gauge.is_of_device(), ranks.world(), job);
    let room = Room { checkpoint: snapshot, keep: config.keep_checkpoints, weights: 4 * all };
    ranks.all_done(if ranks.leads() { room.report(job) } else { Ok(()) })?;
    in_time(time, planned, job);
    job.close_dry_run_report();
    Ok(())
}

/// Rows, steps, and where they are known the lengths of rows and the number of truncated ones.
fn rows<B: Send + 'static>(planned: &Planned<'_, B>, job: &mut Job) {
    let Planned { config, train, steps, taken, .. } = *planned;
    let batch = match train.batching() {
        Batching::Rows(rows) => counted(rows, "row"),
        Batching::Tokens { most, .. } => format!("up to {}", counted(most, "token")),
    };
    let until = match config.epochs {
        _ if config.max_steps == Some(steps) => "the config's `max_steps`".to_owned(),
        1 => "in 1 epoch".to_owned(),
        epochs => format!("in {epochs} epochs"),
    };
    let taken = if taken > 0 { format!(", {taken} of them taken") } else { String::new() };
    let count = train.len();
    let (of_data, of_steps) = (counted(count, "row"), counted(steps, "step"));
    job.line(format_args!("data: {of_data}; {of_steps} of {batch}, {until}{taken}"));
    match train.lengths() {
        Some(lengths) => {
            job.line("  tokens of a row, and how many rows have so many:");
            for line in histogram(&lengths) {
                job.line(format_args!("  {line}"));
            }
        }
        None => job.line("  the lengths of rows are not known"),
    }
    match train.truncated_rows() {
        Some(0) => job.line("  no row is truncated"),
        Some(truncated) => {
            let are = if truncated == 1 { "is" } else { "are" };
            let count = counted(count, "row");
            job.line(format_args!(
                "  {truncated} of {count} {are} truncated to the most that fits"
            ));
        }
        None => {}
    }
}

fn in_memory(found: &Memory, of_device: bool, world: usize, job: &mut Job) {
    let each = match world {
        1 => String::new(),
        world => format!(" of each of {world} ranks"),
    };
    let of_training = [
        ("weights", found.weights),
        ("gradients", found.gradients),
        ("optimizer", found.optimizer),
        ("averages", found.averages),
        ("activations", found.activations),
    ];
    let other = ("other", found.base.saturating_sub(found.weights + found.averages));
    let of_checkpoint = ("checkpoint", found.snapshot);
    if of_device {
        let peak = found.peak;
        job.line(format_args!("memory of the device{each}: about {} at most", human(peak)));
        job.table(&bars([&of_training[..], &[other]].concat(), peak));
        job.line(format_args!(
            "memory beside it: the program, its data and the model hold {} now, and a checkpoint on its way takes {}",
            human(memory::resident()),
            human(found.snapshot),
        ));
    } else {
        let peak = found.peak + found.snapshot;
        job.line(format_args!("memory{each}: about {} at most", human(peak)));
        job.table(&bars([&of_training[..], &[of_checkpoint, other]].concat(), peak));
    }
}

/// A table of parts with their sizes and shares of `whole`.
fn bars(parts: Vec<(&str, u64)>, whole: u64) -> Table {
    const COLUMNS: usize = 16;
    let mut table = Table::new([("", Align::Left), ("", Align::Right), ("", Align::Right)]);
    for (name, bytes) in parts {
        table.row([name.to_owned(), human(bytes), bar(bytes, whole, COLUMNS)]);
    }
    table
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

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn percent(part: u64, all: u64) -> f64 {
    100.0 * part as f64 / all as f64
}
