//! One step: the gradients of its micro-batches, and the update by their sum.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::check_gradients;
use super::context::StepContext;
use super::learner::Learner;
use super::objective::Objective;
use super::overlap::{Sending, exchanged};
use super::reduce::{Computed, Reduced, sum_of_losses};
use super::retry::{Failed, retry};
use super::scale::Scale;
use super::state::State;
use super::stream::Stream;
use super::sums::Sums;
use super::tree::Tree;
use crate::data::Batch;
use crate::error::Error;
use crate::job::Job;
use crate::optim::Clip;
use crate::parallel::Reduce;
use crate::params::Gradients;
use cog_train_nn::__private::tape::{Complete, collect_early};

/// The statistics of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stats {
    /// The sum over the targets, and their weight.
    pub(super) sum: f64,
    pub(super) weight: f64,
    /// The norm of the gradient of the mean loss, before it is clipped.
    pub(super) norm: f64,
    /// Why the weights were left as they are.
    pub(super) skipped: Option<Skip>,
}

impl Stats {
    /// The mean loss; NaN without targets.
    pub(super) fn loss(&self) -> f64 {
        if self.weight == 0.0 { f64::NAN } else { self.sum / self.weight }
    }
}

/// Why a step has not changed the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// The batch has no targets.
    Empty,
    /// The scaled loss exceeds the range of a half; the scale is smaller now.
    Scale,
    /// The loss or the gradient is not finite.
    NotFinite,
}

/// Computes the gradients of the next batch, with fewer rows at once after a lack of memory: those that this rank updates by. `None`
/// when the run is cancelled.
///
/// # Errors
///
/// The errors of loading and of the author's loss.
pub(super) fn compute_next<B: Send + 'static, O: Objective<B>>(
    stream: &mut Stream<'_, B>,
    learner: &mut Learner<'_>,
    objective: &O,
    state: &mut State,
    job: &mut Job,
    how: Reduce,
) -> anyhow::Result<Option<(Batch<B>, Computed)>> {
    let ranks = learner.ranks.clone();
    let computed = retry(state, stream.max_rows(), &ranks, job, |state, job| {
        exchanged(learner, how, |learner, sending| {
            let batch = stream.next(state, job)?;
            let computed = compute(learner, objective, state, &batch, sending, job)
                .map_err(Failed::on(rows_at_once(&batch)))?;
            Ok((batch, computed))
        })
    })?;
    if computed.is_some() {
        learner.order_buckets()?;
    }
    Ok(computed)
}

/// Computes the gradients of this rank's part of a batch, and hands them to `sending`. When it fails, the model's buffers are as
/// they were before.
///
/// # Errors
///
/// [`Error::Cancelled`]; the error of the author's loss, a lack of memory included.
pub(super) fn compute<B, O: Objective<B>>(
    learner: &mut Learner<'_>,
    objective: &O,
    state: &State,
    batch: &Batch<B>,
    sending: Option<Sending>,
    job: &Job,
) -> anyhow::Result<Computed> {
    let before = learner.params.copy_buffers()?;
    let computed = gradients_of(learner, objective, state, batch, sending, job);
    if computed.is_err() {
        learner.buffers.release();
        learner.params.restore_buffers(&before)?;
    }
    let (gradients, loss) = computed?;
    Ok(Computed { gradients, present: Vec::new(), loss, before })
}

/// The gradients of micro-batches are leaves of a tree: added up in place, one after the other, their sum would depend on the
/// number of ranks.
fn gradients_of<B, O: Objective<B>>(
    learner: &mut Learner<'_>,
    objective: &O,
    state: &State,
    batch: &Batch<B>,
    mut sending: Option<Sending>,
    job: &Job,
) -> anyhow::Result<(Gradients, Option<Sums>)> {
    let (mut gradients, mut losses) = (Tree::default(), Tree::default());
    let mut open = None;
    learner.buffers.clear();
    for (at, part) in batch.parts.iter().enumerate() {
        job.check_cancelled()?;
        let context = StepContext::training(job.seed(), state.step, part.number as u64);
        let mut early = None;
        if at + 1 == batch.parts.len()
            && let Some(sending) = sending.take()
        {
            let (rest, complete) = sending.begin(std::mem::take(&mut gradients).into_sums());
            // Where the loss is scaled, a gradient is complete when it is divided.
            early = Some(complete).filter(|_| !state.scale.is_dynamic());
            open = Some(rest);
        }
        let leaf = backward(learner, objective, &part.batch, &context, state.scale, early)?;
        losses.push(leaf.loss, sum_of_losses)?;
        gradients.push(leaf.gradients, |one, two| sum_of_gradients(learner, one, two))?;
    }
    let losses = losses.finish(sum_of_losses)?;
    let gradients = gradients.finish(|one, two| sum_of_gradients(learner, one, two))?;
    let mut gradients = gradients.unwrap_or_default();
    // A rank without a micro-batch adds nothing.
    let open = open.or_else(|| sending.map(|sending| sending.begin(Vec::new()).0));
    if let Some(open) = open {
        open.finish(std::mem::take(&mut gradients));
    }
    Ok((gradients, losses))
}

fn sum_of_gradients(
    learner: &mut Learner<'_>,
    mut one: Gradients,
    two: Gradients,
) -> Result<Gradients, Error> {
    one.absorb(two, |name, gradient| learner.recycle(name, gradient))?;
    Ok(one)
}

/// The rows of a batch's largest micro-batch.
pub(super) fn rows_at_once<B>(batch: &Batch<B>) -> usize {
    batch.parts.iter().map(|part| part.rows.len()).max().unwrap_or(0)
}

/// Updates the weights and advances `state`, all but its position. A skipped step changes neither weights nor buffers.
///
/// # Errors
///
/// [`Error::Diverged`] for parameters without a gradient; what the optimizer fails with.
pub(super) fn apply(
    learner: &mut Learner<'_>,
    clip: Clip,
    state: &mut State,
    reduced: Reduced,
    learning_rate: f64,
) -> Result<Stats, Error> {
    let Reduced { mut gradients, squares, loss: Sums { sum, weight }, norm, before } = reduced;
    let finite = sum.is_finite() && norm.is_finite();
    let blamed = state.scale.after(finite);
    let skipped = match (weight == 0.0, finite) {
        (true, _) => Some(Skip::Empty),
        (false, false) if blamed && sum.is_finite() => Some(Skip::Scale),
        (false, false) => Some(Skip::NotFinite),
        (false, true) => None,
    };
    if skipped.is_none() {
        check_gradients::check(learner.params, &squares, state)?;
        // The one division.
        gradients = clip.values(gradients, 1.0 / weight)?;
        learner.update(&gradients, learning_rate, clip.factor(norm) / weight, state)?;
    } else {
        learner.params.restore_buffers(&before)?;
        state.skipped_steps += 1;
    }
    for (name, gradient) in gradients {
        learner.recycle(&name, gradient);
    }
    let in_a_row = state.skipped_in_a_row + 1;
    state.skipped_in_a_row = if skipped == Some(Skip::NotFinite) { in_a_row } else { 0 };
    state.step += 1;
    Ok(Stats { sum, weight, norm, skipped })
}

/// The contribution of a micro-batch to its step.
struct Leaf {
    loss: Sums,
    gradients: Gradients,
}

/// Computes the gradients of one micro-batch, but for those that go to `early`. The graph and its activations are freed when it returns.
fn backward<B, O: Objective<B>>(
    learner: &mut Learner<'_>,
    objective: &O,
    batch: &B,
    context: &StepContext,
    scale: Scale,
    early: Option<Sender<Complete>>,
) -> anyhow::Result<Leaf> {
    let began = Instant::now();
    let mut forward = Duration::ZERO;
    let (loss, factor, mut store) = collect_early(&mut learner.buffers, early, || {
        context.run(|| {
            let loss = objective.loss(batch, context)?;
            forward = began.elapsed();
            let factor = scale.of_sum(loss.weight());
            let scaled = if scale.is_dynamic() {
                (loss.tensor() * factor).map_err(Error::from)?
            } else {
                loss.tensor().clone()
            };
            let store = scaled.backward().map_err(Error::from)?;
            anyhow::Ok((loss, factor, store))
        })
    })?;
    let mut gradients = Gradients::take_all(learner.params, &mut store, &mut learner.buffers)?;
    learner.check_sent(&gradients)?;
    if scale.is_dynamic() {
        // Each micro-batch has a factor of its own, and they add up.
        gradients.multiply(1.0 / factor)?;
    }
    let loss = Sums::of(&loss)?;
    learner.passes.forward += forward;
    learner.passes.backward += began.elapsed().saturating_sub(forward);
    Ok(Leaf { loss, gradients })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use cog_train_nn::Linear;

    use super::*;
    use crate::data::{MicroBatch, Position};
    use crate::engine::ranks::Ranks;
    use crate::engine::reduce::reduce;
    use crate::engine::{Loss, TrainingConfig};
    use crate::optim::{Optimizer, Sgd};
    use crate::params::Params;

    /// Their memory is free for an evaluation, and for the activations of the next step.
    #[test]
    fn a_step_leaves_no_gradients_in_buffers() {
        let dir = tempfile::tempdir().unwrap();
        let job = Job::for_test(dir.path());
        let ones = |shape| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let params = Params::new([("weight", ones((2, 3)))]).unwrap();
        let linear = Linear::from_tensors(params.tensors()["weight"].clone(), None);
        let config = TrainingConfig::default();
        let mut learner = Learner::new(
            &config,
            &params,
            Optimizer::new(Sgd::default()),
            &Ranks::of(&job).unwrap(),
        )
        .unwrap();
        let mut state = State::new(&config, params.computes_in());
        let objective = |x: &Tensor, _: &StepContext| -> anyhow::Result<Loss> {
            anyhow::ensure!(x.dim(0)? == 1, "no such row");
            Ok(Loss::sum(linear.forward(x)?.sqr()?.sum_all()?, 1)?)
        };
        let batch = |rows| Batch {
            at: Position::default(),
            next: Position::default(),
            rows: vec![0],
            parts: vec![
                MicroBatch { number: 0, rows: 0..1, batch: ones((1, 3)) },
                MicroBatch { number: 1, rows: 0..1, batch: ones((rows, 3)) },
            ],
            tokens: 0,
            waited: Duration::ZERO,
        };
        let holds =
            |learner: &Learner<'_>| format!("{:?}", learner.buffers).contains("tensor: Some");
        for _step in 0..2 {
            let computed =
                compute(&mut learner, &objective, &state, &batch(1), None, &job).unwrap();
            assert_eq!(computed.gradients.iter().count(), 1);
            assert!(!holds(&learner), "a step has its gradients");
            let reduced = reduce(&learner, computed).unwrap();
            apply(&mut learner, Clip::None, &mut state, reduced, 0.1).unwrap();
            assert!(!holds(&learner));
        }
        assert!(compute(&mut learner, &objective, &state, &batch(2), None, &job).is_err());
        assert!(!holds(&learner), "after a failure");
    }
}
