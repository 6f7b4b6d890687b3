//! What a person reads of a training, beside the progress bar.

use std::collections::BTreeMap;

use serde_json::Map;

use super::state::State;
use super::step::{Skip, Stats};
use super::training_config::TrainingConfig;
use crate::data::Loader;
use crate::error::Error;
use crate::job::Job;
use crate::progress::json_number;

/// The means over the held-out rows after `step` steps, as a line and as numbers called `eval_...`.
pub(super) fn evaluation(job: &mut Job, step: u64, scores: &BTreeMap<String, f64>) {
    let values: Map<_, _> =
        scores.iter().map(|(name, score)| (format!("eval_{name}"), json_number(*score))).collect();
    job.step(step, &values);
    let (loss, others): (Vec<_>, Vec<_>) = scores.iter().partition(|(name, _)| *name == "loss");
    let text: Vec<String> = loss
        .into_iter()
        .chain(others)
        .map(|(name, score)| format!("{name} {}", short(*score)))
        .collect();
    let when = if step == 0 { "before the first step".to_owned() } else { format!("step {step}") };
    job.line(format_args!("{when}: held-out {}", text.join(", ")));
}

/// The mean loss over an epoch that is over.
pub(super) fn epoch(job: &mut Job, epoch: u64, config: &TrainingConfig, state: &State) {
    let loss = state.epoch.value().map_or_else(|| "not finite".to_owned(), short);
    job.line(format_args!("epoch {epoch}/{}, step {}: loss {loss}", config.epochs, state.step));
}

/// Tells of a step that was skipped, with its first rows.
///
/// # Errors
///
/// [`Error::Diverged`] after too many in a row, with every row of the last.
pub(super) fn skipped<B: Send + 'static>(
    job: &mut Job,
    config: &TrainingConfig,
    state: &State,
    done: &Stats,
    rows: &[u32],
    train: &Loader<B>,
) -> Result<(), Error> {
    /// The most rows that are named in a line of the log.
    const SHOWN: usize = 8;
    let step = state.step;
    match done.skipped {
        None => return Ok(()),
        Some(Skip::Empty) => {
            job.line(format_args!("step {step} is skipped: its rows have nothing to learn"));
            return Ok(());
        }
        Some(Skip::Scale) => {
            let scale = state.scale.value();
            job.line(format_args!("step {step} is skipped: half precision overflows, and the loss is now scaled by {scale}"));
            return Ok(());
        }
        Some(Skip::NotFinite) => {}
    }
    let what = if done.sum.is_finite() {
        format!("the gradient is {}", done.norm)
    } else {
        format!("the loss is {}", done.sum)
    };
    let places = |most: usize| {
        let mut places: Vec<String> = rows.iter().take(most).map(|row| train.place(*row)).collect();
        if rows.len() > most {
            places.push(format!("{} more", rows.len() - most));
        }
        places.join(", ")
    };
    if state.skips < config.max_skipped_steps {
        let places = places(SHOWN);
        job.line(format_args!("step {step} is skipped: {what} (rows: {places})"));
        return Ok(());
    }
    // The end of the run: whoever looks for the row that does it needs all of them.
    let places = places(usize::MAX);
    Err(Error::Diverged {
        step,
        reason: format!(
            "{what}, and so it was at {} steps in a row\n  rows of the last: {places}\nhint: try a lower learning rate, or look at these rows",
            state.skips
        ),
    })
}

/// Four digits are enough for a person.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() || (1e-3..1e6).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}
