//! One step: the gradients of its micro-batches, and the update by them.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::check_gradients;
use super::context::StepContext;
use super::learner::Learner;
use super::objective::Objective;
use super::scale::Scale;
use super::state::State;
use crate::data::Batch;
use crate::error::Error;
use crate::job::Job;
use crate::optim::{Clip, norm};
use crate::params::Gradients;
use cog_train_nn::__private::tape::collect;

/// The gradients of a batch. Of the model only its buffers have changed.
pub(super) struct Computed {
    gradients: Gradients,
    /// The sum over the targets, and their weight.
    sum: f64,
    weight: f64,
    /// The divisor of the gradients: all targets of the step times the factor of the loss.
    divisor: f64,
    /// The norm of the gradient of the mean loss, before it is clipped.
    norm: f64,
    /// The model's buffers before the step, by name.
    before: BTreeMap<String, Tensor>,
}

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

/// Computes the gradients of a batch. When it fails, the model's buffers are as they were before.
///
/// # Errors
///
/// [`Error::Cancelled`]; the error of the author's loss, a lack of memory included.
pub(super) fn compute<B, O: Objective<B>>(
    learner: &mut Learner<'_>,
    objective: &O,
    state: &State,
    batch: &Batch<B>,
    job: &Job,
) -> anyhow::Result<Computed> {
    let before = learner.params.copy_buffers()?;
    let computed = gradients_of(learner, objective, state, batch, job);
    if computed.is_err() {
        learner.buffers.release();
        learner.params.restore_buffers(&before)?;
    }
    Ok(Computed { before, ..computed? })
}

fn gradients_of<B, O: Objective<B>>(
    learner: &mut Learner<'_>,
    objective: &O,
    state: &State,
    batch: &Batch<B>,
    job: &Job,
) -> anyhow::Result<Computed> {
    let mut factor = None;
    let mut gradients: Option<Gradients> = None;
    let (mut sum, mut weight) = (0.0, 0.0);
    learner.buffers.clear();
    for (number, part) in (0..).zip(&batch.parts) {
        job.check_cancelled()?;
        let context = StepContext::training(job.seed(), state.step, number);
        let scaling = Scaling { scale: state.scale, factor: &mut factor };
        let computed = backward(learner, objective, &part.batch, &context, scaling)?;
        sum += computed.sum;
        weight += computed.weight;
        match &mut gradients {
            Some(gradients) => gradients.add(computed.gradients)?,
            None => gradients = Some(computed.gradients),
        }
    }
    let mut gradients = gradients.unwrap_or_default();
    gradients.gather(learner.params, &learner.buffers)?;
    // The one division.
    let divisor = weight * factor.unwrap_or(1.0);
    let norm = norm(&gradients)?;
    let norm = if weight == 0.0 { 0.0 } else { norm / divisor };
    Ok(Computed { gradients, sum, weight, divisor, norm, before: BTreeMap::new() })
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
    computed: Computed,
    learning_rate: f64,
) -> Result<Stats, Error> {
    let Computed { gradients, sum, weight, divisor, norm, before } = computed;
    let finite = sum.is_finite() && norm.is_finite();
    let blamed = state.scale.after(finite);
    let skipped = match (weight == 0.0, finite) {
        (true, _) => Some(Skip::Empty),
        (false, false) if blamed && sum.is_finite() => Some(Skip::Scale),
        (false, false) => Some(Skip::NotFinite),
        (false, true) => None,
    };
    if skipped.is_none() {
        check_gradients::check(learner.params, &gradients, state)?;
        let gradients = clip.values(gradients, 1.0 / divisor)?;
        let factor = clip.factor(norm) / divisor;
        learner.update(&gradients, learning_rate, factor, state)?;
    } else {
        drop(gradients);
        learner.params.restore_buffers(&before)?;
        state.skipped_steps += 1;
    }
    learner.buffers.release();
    let in_a_row = state.skipped_in_a_row + 1;
    state.skipped_in_a_row = if skipped == Some(Skip::NotFinite) { in_a_row } else { 0 };
    state.step += 1;
    Ok(Stats { sum, weight, norm, skipped })
}

/// The loss scale, and the factor that follows from the first micro-batch of a step: one for all of them, so that their
/// gradients add up.
struct Scaling<'a> {
    scale: Scale,
    factor: &'a mut Option<f64>,
}

/// The contribution of a micro-batch to its step.
struct Part {
    sum: f64,
    weight: f64,
    /// Of the sum times the scaling's factor, except for those that went into buffers.
    gradients: Gradients,
}

/// Computes the gradients of one micro-batch. The graph and its activations are freed when it returns.
fn backward<B, O: Objective<B>>(
    learner: &mut Learner<'_>,
    objective: &O,
    batch: &B,
    context: &StepContext,
    Scaling { scale, factor }: Scaling<'_>,
) -> anyhow::Result<Part> {
    let (loss, mut store) = collect(&mut learner.buffers, || {
        context.run(|| {
            let loss = objective.loss(batch, context)?;
            let factor = *factor.get_or_insert_with(|| scale.of_sum(loss.weight()));
            let scaled = if scale.is_dynamic() {
                (loss.tensor() * factor).map_err(Error::from)?
            } else {
                loss.tensor().clone()
            };
            let store = scaled.backward().map_err(Error::from)?;
            anyhow::Ok((loss, store))
        })
    })?;
    let gradients = Gradients::take(learner.params, &mut store)?;
    Ok(Part { sum: loss.value()?, weight: loss.weight(), gradients })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use candle_core::{DType, Device};
    use cog_train_nn::Linear;

    use super::*;
    use crate::data::{MicroBatch, Position};
    use crate::engine::{Loss, TrainingConfig};
    use crate::optim::{Optimizer, Sgd};
    use crate::params::Params;

    /// Their memory is free for an evaluation, and for the activations of the next step.
    #[test]
    fn a_step_leaves_no_gradients_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let job = Job::for_test(dir.path());
        let ones = |shape| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let params = Params::new([("weight", ones((2, 3)))]).unwrap();
        let linear = Linear::from_tensors(params.tensors()["weight"].clone(), None);
        let config = TrainingConfig::default();
        let mut learner = Learner::new(&config, &params, Optimizer::new(Sgd::default())).unwrap();
        let mut state = State::new(&config, params.computes_in());
        let objective = |x: &Tensor, _: &StepContext| -> anyhow::Result<Loss> {
            anyhow::ensure!(x.dim(0)? == 1, "no such row");
            Ok(Loss::sum(linear.forward(x)?.sqr()?.sum_all()?, 1)?)
        };
        let batch = |rows| Batch {
            at: Position::default(),
            next: Position::default(),
            rows: vec![0],
            total: 1,
            parts: vec![
                MicroBatch { rows: 0..1, batch: ones((1, 3)) },
                MicroBatch { rows: 0..1, batch: ones((rows, 3)) },
            ],
            tokens: 0,
            waited: Duration::ZERO,
        };
        let holds =
            |learner: &Learner<'_>| format!("{:?}", learner.buffers).contains("tensor: Some");
        for _step in 0..2 {
            let computed = compute(&mut learner, &objective, &state, &batch(1), &job).unwrap();
            assert!(holds(&learner));
            apply(&mut learner, Clip::None, &mut state, computed, 0.1).unwrap();
            assert!(!holds(&learner));
        }
        assert!(compute(&mut learner, &objective, &state, &batch(2), &job).is_err());
        assert!(!holds(&learner), "after a failure");
    }
}
