//! Evaluation over the held-out rows.

use candle_core::Device;

use super::context::StepContext;
use super::evaluation::{EvalScores, Evaluation};
use super::objective::Objective;
use super::retry::{Failed, retry};
use super::state::State;
use crate::data::Loader;
use crate::error::{self, Error};
use crate::job::Job;
use cog_train_nn::__private::tape::without_gradients;

/// Returns the means over the first `most` batches of `eval`. `None` when the run is cancelled.
///
/// # Errors
///
/// The error of the data or of the author's code.
pub(super) fn evaluate<B: Send + 'static>(
    eval: &Loader<B>,
    most: usize,
    objective: &impl Objective<B>,
    device: &Device,
    state: &mut State,
    job: &mut Job,
) -> anyhow::Result<Option<Evaluation>> {
    let scores = retry(state, eval.max_rows(), job, |state, job| {
        scores(eval, most, objective, device, state.micro_batch, job).map_err(Failed::from)
    });
    match scores {
        Ok(scores) => Ok(scores.map(|scores| scores.evaluation(state.step))),
        Err(error) if is_cancellation(&error, job) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error answers the cancellation of the run: the author's code may look at the token too.
pub(super) fn is_cancellation(error: &anyhow::Error, job: &Job) -> bool {
    job.cancelled() && matches!(error::find(error), Some(Error::Cancelled))
}

/// The scores of at most so many batches; `None` where there are none.
fn scores<B: Send + 'static>(
    eval: &Loader<B>,
    most: usize,
    objective: &impl Objective<B>,
    device: &Device,
    micro_batch: Option<usize>,
    job: &Job,
) -> anyhow::Result<Option<EvalScores>> {
    let mut scores: Option<EvalScores> = None;
    let mut batches = eval.once(device, micro_batch);
    let cancel = job.cancel_token();
    for _ in 0..most {
        let Some(batch) = batches.next_until(&cancel)? else { break };
        for part in batch.parts {
            let context = StepContext::evaluation(job.seed());
            let more = job
                .check_cancelled()
                .map_err(anyhow::Error::from)
                .and_then(|()| without_gradients(|| objective.evaluate(&part.batch, &context)));
            match (more, &mut scores) {
                (Ok(more), Some(scores)) => scores.add(more),
                (Ok(more), none) => *none = Some(more),
                (Err(error), _) => {
                    if is_cancellation(&error, job) {
                        batches.leave();
                    }
                    return Err(error);
                }
            }
        }
    }
    Ok(scores)
}
