//! Going on with a run: the newest checkpoint that verifies, and whether it is a checkpoint of the same run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::state::State;
use super::training_config::TrainingConfig;
use crate::cancellable::aside;
use crate::checkpoint::{Checkpoint, Found, newest};
use crate::data::Loader;
use crate::error::Error;
use crate::job::{Job, Marks};
use crate::optim::{Ema, Optimizer};
use crate::params::Params;
use crate::progress::CancelToken;

/// The tensor files of a checkpoint.
pub(super) const WEIGHTS: &str = "weights";
pub(super) const OPTIMIZER: &str = "optimizer";
pub(super) const EMA: &str = "ema";

/// All that a checkpoint holds beside tensors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) state: State,
    /// What must be the same for the run to be the same, by name.
    pub(super) run: Map<String, Value>,
    /// How long the run's files were.
    pub(super) marks: Marks,
}

/// What makes a run this run: config, optimizer, data, the parameters' names and shapes.
///
/// # Errors
///
/// What reading the data fails with; [`Error::Cancelled`].
pub(super) fn identity<B: Send + 'static>(
    cancel: &CancelToken,
    config: &TrainingConfig,
    optimizer: &Optimizer,
    params: &Params,
    train: &Loader<B>,
    eval: Option<&Loader<B>>,
) -> Result<Map<String, Value>, Error> {
    let data = |loader: &Loader<B>| -> Result<Value, Error> {
        let read = loader.clone();
        let digest = aside(cancel, move || read.digest())??;
        Ok(json!({"digest": digest, "settings": loader.describe()}))
    };
    let shapes: Map<String, Value> = params
        .iter()
        .map(|(name, param)| {
            let shape = json!({"shape": param.master().dims(), "trained": param.is_trainable()});
            (name.to_owned(), shape)
        })
        .collect();
    let mut run = Map::new();
    run.insert("plan".to_owned(), config.describe());
    run.insert("optimizer".to_owned(), optimizer.describe());
    run.insert("precision".to_owned(), params.computes_in().name().into());
    run.insert("parameters".to_owned(), shapes.into());
    run.insert("data".to_owned(), data(train)?);
    run.insert("eval".to_owned(), eval.map(data).transpose()?.unwrap_or(Value::Null));
    Ok(run)
}

/// The state to go on from, when the run is resumed and there is a checkpoint of it; tensors and files are put back.
///
/// # Errors
///
/// [`Error::Resume`] when the run has changed, with each difference; what reading fails with.
pub(super) fn resume(
    job: &mut Job,
    config: &TrainingConfig,
    run: &Map<String, Value>,
    params: &Params,
    optimizer: &mut Optimizer,
    ema: Option<&mut Ema>,
) -> Result<Option<State>, Error> {
    let Some(dir) = job.resume_from().map(std::path::Path::to_owned) else { return Ok(None) };
    let Found { checkpoint, passed_over } = newest(&dir)?;
    for (path, why) in passed_over {
        job.note(format_args!("checkpoint `{}` is passed over: {why}", path.display()));
    }
    let Some(checkpoint) = checkpoint else {
        job.note("there is no checkpoint to go on from: starting at step 0");
        job.forget_earlier()?;
        return Ok(None);
    };
    let mut saved: Saved =
        serde_json::from_value(checkpoint.state().clone()).map_err(|error| Error::Checkpoint {
            place: checkpoint.path().display().to_string(),
            reason: format!("its state cannot be read: {error}"),
        })?;
    let differences = differences(&saved.run, run);
    if !differences.is_empty() {
        let text = differences.join("\n  ");
        if !job.resume_forced() {
            return Err(Error::Resume {
                reason: format!(
                    "it has changed since its checkpoint at step {}\n  {text}\nhint: `--resume=force` goes on all the same",
                    saved.state.step
                ),
            });
        }
        job.note(format_args!("going on with a run that has changed:\n  {text}"));
        saved.state.adopt(config, params.computes_in());
    }
    restore(&checkpoint, params, optimizer, ema)?;
    job.rewind(&saved.marks)?;
    job.note(format_args!(
        "going on from step {} (`{}`)",
        saved.state.step,
        checkpoint.path().display()
    ));
    Ok(Some(saved.state))
}

fn restore(
    checkpoint: &Checkpoint,
    params: &Params,
    optimizer: &mut Optimizer,
    ema: Option<&mut Ema>,
) -> Result<(), Error> {
    let device = params.device();
    put_back(params, checkpoint, WEIGHTS)?;
    optimizer.restore(checkpoint.tensors(OPTIMIZER, device)?)?;
    if let Some(ema) = ema {
        ema.restore(checkpoint.tensors(EMA, device)?)?;
    }
    Ok(())
}

/// Writes the tensors of a checkpoint's file into the parameters of the same names, and its buffers into the buffers.
/// Frozen parameters are not in checkpoints.
pub(super) fn put_back(params: &Params, checkpoint: &Checkpoint, file: &str) -> Result<(), Error> {
    let mut tensors = checkpoint.tensors(file, params.device())?;
    if file != WEIGHTS && params.iter().any(|(_, param)| param.is_buffer()) {
        // Averages are of what is trained.
        let weights = checkpoint.tensors(WEIGHTS, params.device())?;
        tensors.extend(
            weights
                .into_iter()
                .filter(|(name, _)| params.get(name).is_some_and(crate::params::Param::is_buffer)),
        );
    }
    for (name, param) in params.changing() {
        let tensor = tensors.get(name).filter(|it| it.dims() == param.master().dims());
        let Some(tensor) = tensor else {
            return Err(Error::Checkpoint {
                place: checkpoint.path().display().to_string(),
                reason: format!("it has no `{name}` of shape {:?}", param.master().dims()),
            });
        };
        param.master().set(tensor)?;
    }
    params.refresh()
}

/// What differs, by the path of its name, the values then and now.
fn differences(then: &Map<String, Value>, now: &Map<String, Value>) -> Vec<String> {
    /// The most that are told.
    const SHOWN: usize = 12;
    let mut found = Vec::new();
    for key in then.keys().chain(now.keys().filter(|key| !then.contains_key(*key))) {
        compare(key, then.get(key), now.get(key), &mut found);
    }
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

fn compare(name: &str, then: Option<&Value>, now: Option<&Value>, found: &mut Vec<String>) {
    match (then, now) {
        (Some(Value::Object(then)), Some(Value::Object(now))) => {
            for key in then.keys().chain(now.keys().filter(|key| !then.contains_key(*key))) {
                compare(&format!("{name}.{key}"), then.get(key), now.get(key), found);
            }
        }
        (Some(then), Some(now)) if then == now => {}
        (Some(then), Some(now)) => found.push(format!("`{name}`: {then} then, {now} now")),
        (Some(then), None) => found.push(format!("`{name}`: {then} then, gone now")),
        (None, Some(now)) => found.push(format!("`{name}`: not there then, {now} now")),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_named_with_both_values() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let then = map(json!({"plan": {"epochs": 3, "clip": null}, "rows": 10, "same": [1]}));
        let now = map(json!({"plan": {"epochs": 4, "ema": 0.9}, "rows": 10, "same": [1]}));
        assert_eq!(
            differences(&then, &now),
            [
                "`plan.epochs`: 3 then, 4 now",
                "`plan.clip`: null then, gone now",
                "`plan.ema`: not there then, 0.9 now"
            ]
        );
        assert!(differences(&now, &now).is_empty());
    }
}
