//! Evaluation over the held-out rows. Ranks take turns at batches.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::evaluation::{EvalScores, Evaluation};
use super::learner::Learner;
use super::objective::Objective;
use super::retry::{Failed, is_cancellation, retry};
use super::state::State;
use crate::data::Loader;
use crate::error::Error;
use crate::job::Job;
use crate::metrics::ConfusionMatrix;
use cog_train_nn::__private::tape::without_gradients;

/// The scores of the batches of one rank.
#[derive(Default, Serialize, Deserialize)]
struct OfRank {
    parts: Vec<OfPart>,
    /// The sum of all counts of the rank: whole numbers add up in any order.
    confusion: Option<ConfusionMatrix>,
}

/// The scores of a micro-batch.
#[derive(Serialize, Deserialize)]
struct OfPart {
    /// The number of its batch.
    batch: u64,
    scores: EvalScores,
}

/// Returns the means over the first `most` batches of `eval`. `None` when the run is cancelled.
///
/// # Errors
///
/// The error of the data or of the author's code.
pub(super) fn evaluate<B: Send + 'static>(
    eval: &Loader<B>,
    most: u64,
    objective: &impl Objective<B>,
    learner: &Learner<'_>,
    state: &mut State,
    job: &mut Job,
) -> anyhow::Result<Option<Evaluation>> {
    let ranks = &learner.ranks;
    let scores = retry(state, eval.max_rows(), ranks, job, |state, job| {
        scores(eval, most, objective, learner, state.micro_batch, job).map_err(Failed::from)
    });
    let Some(scores) = scores? else { return Ok(None) };
    Ok(sum(ranks.share(scores)?)?.map(|sum| sum.evaluation(state.step)))
}

/// The scores of this rank's batches, of the first `most`.
fn scores<B: Send + 'static>(
    eval: &Loader<B>,
    most: u64,
    objective: &impl Objective<B>,
    learner: &Learner<'_>,
    micro_batch: Option<usize>,
    job: &Job,
) -> anyhow::Result<OfRank> {
    let mut found = OfRank::default();
    let mut batches = eval.once(learner.params.device(), micro_batch);
    let cancel = job.cancel_token();
    while let Some(batch) = batches.next_until(&cancel)? {
        if batch.at.batch >= most {
            break;
        }
        for part in batch.parts {
            let context = StepContext::evaluation(job.seed());
            let scores = job
                .check_cancelled()
                .map_err(anyhow::Error::from)
                .and_then(|()| without_gradients(|| objective.evaluate(&part.batch, &context)));
            let mut scores = match scores {
                Ok(scores) => scores,
                Err(error) => {
                    if is_cancellation(&error, job) {
                        batches.leave();
                    }
                    return Err(error);
                }
            };
            let confusion = scores.take_confusion()?;
            found.confusion = ConfusionMatrix::sum(found.confusion.take(), confusion)?;
            found.parts.push(OfPart { batch: batch.at.batch, scores });
        }
    }
    Ok(found)
}

/// Adds up scores in the order of batches, so that the sum does not depend on the number of ranks. `None` where there are none.
fn sum(ranks: Vec<OfRank>) -> Result<Option<EvalScores>, Error> {
    let (mut parts, mut confusion) = (Vec::new(), None);
    for rank in ranks {
        parts.extend(rank.parts);
        confusion = ConfusionMatrix::sum(confusion, rank.confusion)?;
    }
    // Stable: the parts of a batch are those of one rank, in their order.
    parts.sort_by_key(|part| part.batch);
    let mut parts = parts.into_iter().map(|part| part.scores);
    let Some(mut sum) = parts.next() else { return Ok(None) };
    parts.for_each(|scores| sum.add(scores));
    Ok(Some(confusion.into_iter().fold(sum, EvalScores::with_metric)))
}
