//! One step: micro-batches, gradients, finite or not, clip, update.

use super::check_gradients;
use super::memory;
use super::objective::{Objective, StepContext};
use super::scale::Scale;
use super::state::State;
use crate::data::Step;
use crate::error::Error;
use crate::job::Job;
use crate::optim::{Clip, Ema, Optimizer, norm};
use crate::params::Gradients;
use crate::params::Params;
use cog_train_nn::__private::tape::{Buffers, collect};

/// What a step works on.
pub(super) struct Parts<'a, O> {
    pub(super) params: &'a Params,
    pub(super) objective: &'a O,
    pub(super) clip: Clip,
    pub(super) optimizer: &'a mut Optimizer,
    pub(super) ema: Option<&'a mut Ema>,
    /// Memory for gradients, which stays from step to step.
    pub(super) buffers: &'a mut Buffers,
}

/// What came of a step.
pub(super) enum Outcome {
    /// The weights have changed, or have been left for a reason that is told.
    Done(Stats),
    /// The run was asked to stop before the gradients were complete. Nothing has changed.
    Cancelled,
    /// The device has no room for a micro-batch. Nothing has changed.
    OutOfMemory(anyhow::Error),
}

/// The numbers of a step.
pub(super) struct Stats {
    /// The sum over the targets, and their weight.
    pub(super) sum: f64,
    pub(super) weight: f64,
    /// The length of the gradient of the mean loss, before it is clipped.
    pub(super) norm: f64,
    /// Why the weights were left as they are.
    pub(super) skipped: Option<Skip>,
}

/// Why a step has not changed the weights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// The batch has no targets.
    Empty,
    /// The scaled loss went over what a half can hold; the scale is smaller now.
    Scale,
    /// The loss or the gradient is not finite.
    NotFinite,
}

/// Takes one step at `learning_rate` and moves `state` on, all but its position. A step that does not change the weights
/// leaves the model's buffers as they were.
///
/// # Errors
///
/// What the author's loss fails with, but for a lack of memory; [`Error::Diverged`] by the audit.
pub(super) fn run<B, O: Objective<B>>(
    parts: &mut Parts<'_, O>,
    state: &mut State,
    batch: &Step<B>,
    learning_rate: f64,
    job: &Job,
) -> anyhow::Result<Outcome> {
    let (params, before) = (parts.params, parts.params.copy_buffers()?);
    let outcome = attempt(parts, state, batch, learning_rate, job);
    if !matches!(&outcome, Ok(Outcome::Done(Stats { skipped: None, .. }))) {
        params.restore_buffers(&before)?;
    }
    outcome
}

fn attempt<B, O: Objective<B>>(
    parts: &mut Parts<'_, O>,
    state: &mut State,
    batch: &Step<B>,
    learning_rate: f64,
    job: &Job,
) -> anyhow::Result<Outcome> {
    let mut factor = None;
    let mut gradients: Option<Gradients> = None;
    let (mut sum, mut weight) = (0.0, 0.0);
    parts.buffers.clear();
    for (number, part) in (0..).zip(&batch.parts) {
        if job.cancelled() {
            return Ok(Outcome::Cancelled);
        }
        let pass = StepContext::training(job.seed(), state.step, number);
        let done = backward(parts, &part.batch, &pass, (state.scale, &mut factor));
        let added = done.and_then(|(part_sum, part_weight, part_gradients)| {
            match &mut gradients {
                Some(gradients) => gradients.add(part_gradients)?,
                None => gradients = Some(part_gradients),
            }
            Ok((part_sum, part_weight))
        });
        match added {
            Ok((part_sum, part_weight)) => {
                sum += part_sum;
                weight += part_weight;
            }
            Err(error) if memory::is_short(&error) => return Ok(Outcome::OutOfMemory(error)),
            Err(error) => return Err(error),
        }
    }
    let mut gradients = gradients.unwrap_or_default();
    let gathered = gradients.gather(parts.params, parts.buffers);

    // The one division: by all targets of the step, and by what the loss was multiplied with.
    let divisor = weight * factor.unwrap_or(1.0);
    let norm = gathered.and_then(|()| norm(&gradients)).map_err(anyhow::Error::from);
    let norm = match norm {
        Ok(_) if weight == 0.0 => 0.0,
        Ok(norm) => norm / divisor,
        Err(error) if memory::is_short(&error) => return Ok(Outcome::OutOfMemory(error)),
        Err(error) => return Err(error),
    };
    let finite = sum.is_finite() && norm.is_finite();
    let blamed = state.scale.after(finite);
    let skipped = match (weight == 0.0, finite) {
        (true, _) => Some(Skip::Empty),
        (false, false) if blamed && sum.is_finite() => Some(Skip::Scale),
        (false, false) => Some(Skip::NotFinite),
        (false, true) => None,
    };
    if skipped.is_none() {
        check_gradients::look(parts.params, &gradients, state)?;
        let gradients = parts.clip.values(gradients, 1.0 / divisor)?;
        let factor = parts.clip.factor(norm) / divisor;
        state.updates += 1;
        parts.optimizer.step(parts.params, &gradients, state.updates, learning_rate, factor)?;
        if let Some(ema) = &mut parts.ema {
            ema.update(parts.params, state.updates)?;
        }
    }
    state.skips = if skipped == Some(Skip::NotFinite) { state.skips + 1 } else { 0 };
    state.step += 1;
    Ok(Outcome::Done(Stats { sum, weight, norm, skipped }))
}

/// Sum, weight and gradients of one micro-batch, but for those that go into buffers; the gradients are those of the sum
/// times `factor`. The graph and its activations go when it returns.
fn backward<B, O: Objective<B>>(
    parts: &mut Parts<'_, O>,
    batch: &B,
    context: &StepContext,
    (scale, factor): (Scale, &mut Option<f64>),
) -> anyhow::Result<(f64, f64, Gradients)> {
    let Parts { params, objective, buffers, .. } = parts;
    let (loss, mut store) = collect(buffers, || {
        let loss = objective.loss(batch, context)?;
        // One for all parts of the step, so that their gradients add up.
        let factor = *factor.get_or_insert_with(|| scale.of_sum(loss.weight()));
        let scaled = if scale.is_dynamic() {
            (loss.tensor() * factor).map_err(Error::from)?
        } else {
            loss.tensor().clone()
        };
        let store = context.backward(&scaled)?;
        anyhow::Ok((loss, store))
    })?;
    let gradients = Gradients::take(params, &mut store)?;
    Ok((loss.value()?, loss.weight(), gradients))
}
