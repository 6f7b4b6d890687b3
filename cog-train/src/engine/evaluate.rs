//! The held-out rows, measured once over.

use std::collections::BTreeMap;

use candle_core::Device;

use super::memory;
use super::objective::{EvalScores, Objective, StepContext};
use crate::data::Loader;
use crate::error::{self, Error};
use crate::job::Job;
use cog_train_nn::__private::tape::without_gradients;

/// The means over all rows of `eval`, in their order. `None` when the run was asked to stop. Where memory is short,
/// `micro` becomes smaller.
///
/// # Errors
///
/// What the data or the author's code fails with.
pub(super) fn evaluate<B: Send + 'static>(
    eval: &Loader<B>,
    objective: &impl Objective<B>,
    device: &Device,
    micro: &mut Option<usize>,
    job: &mut Job,
) -> anyhow::Result<Option<BTreeMap<String, f64>>> {
    loop {
        match over(eval, objective, device, *micro, usize::MAX, job) {
            Err(error) if memory::is_short(&error) => {
                let rows = micro.unwrap_or(eval.most_rows());
                *micro = Some(memory::smaller(rows, error, job)?);
            }
            other => return other,
        }
    }
}

/// Whether an error is the answer to a wish to stop: the author's code may look at the token too.
pub(super) fn was_cancelled(error: &anyhow::Error, job: &Job) -> bool {
    job.cancelled() && matches!(error::find(error), Some(Error::Cancelled))
}

/// Over the first batches alone: what memory an evaluation takes.
///
/// # Errors
///
/// As [`evaluate`].
pub(super) fn try_out<B: Send + 'static>(
    eval: &Loader<B>,
    objective: &impl Objective<B>,
    device: &Device,
    micro: Option<usize>,
    job: &Job,
) -> anyhow::Result<()> {
    // While one is computed, the next is there.
    over(eval, objective, device, micro, 2, job).map(drop)
}

/// Over at most so many batches.
fn over<B: Send + 'static>(
    eval: &Loader<B>,
    objective: &impl Objective<B>,
    device: &Device,
    micro: Option<usize>,
    most: usize,
    job: &Job,
) -> anyhow::Result<Option<BTreeMap<String, f64>>> {
    let mut scores = EvalScores::default();
    let mut batches = eval.once(device, micro);
    let cancel = job.cancel_token();
    for _ in 0..most {
        let batch = match batches.next_until(&cancel) {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(error) if was_cancelled(&error, job) => return Ok(None),
            Err(error) => return Err(error),
        };
        for part in batch.parts {
            if job.cancelled() {
                batches.leave();
                return Ok(None);
            }
            let pass = StepContext::evaluation(job.seed());
            match without_gradients(|| objective.evaluate(&part.batch, &pass)) {
                Ok(more) => scores.add(more),
                Err(error) if was_cancelled(&error, job) => {
                    batches.leave();
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(scores.means().map(|(name, mean)| (name.to_owned(), mean)).collect()))
}
