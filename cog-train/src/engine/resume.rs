//! Resuming: the newest checkpoint that verifies, and whether it is a checkpoint of the same run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::frozen;
use super::learner::Learner;
use super::ranks::Ranks;
use super::state::State;
use super::training_config::TrainingConfig;
use crate::cancellable::cancellable;
use crate::checkpoint::{Checkpoint, Found, newest};
use crate::data::Loader;
use crate::error::Error;
use crate::job::{Job, Marks};
use crate::optim::Optimizer;
use crate::params::Params;
use crate::progress::CancelToken;

/// The state of a checkpoint, beside its tensors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) state: State,
    /// The settings that identify the run, by name.
    pub(super) run: Map<String, Value>,
    /// The lengths of the run's files.
    pub(super) marks: Marks,
}

/// Returns what identifies a run: config, optimizer, data, the parameters' names and shapes, and the digest of those that are
/// frozen.
///
/// # Errors
///
/// [`Error::Data`] and the like when the data cannot be read; [`Error::Cancelled`].
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
        let digest = cancellable(cancel, move || read.digest())??;
        Ok(json!({"digest": digest, "settings": loader.describe()}))
    };
    let shapes: Map<String, Value> = params
        .iter()
        .map(|(name, param)| {
            let shape = json!({"shape": param.dims(), "trained": param.is_trainable()});
            (name.to_owned(), shape)
        })
        .collect();
    let mut run = Map::new();
    run.insert("config".to_owned(), config.describe());
    run.insert("optimizer".to_owned(), optimizer.describe());
    run.insert("precision".to_owned(), params.computes_in().name().into());
    run.insert("parameters".to_owned(), shapes.into());
    run.insert("frozen_digest".to_owned(), frozen::digest(params, cancel)?.into());
    run.insert("data".to_owned(), data(train)?);
    run.insert("eval".to_owned(), eval.map(data).transpose()?.unwrap_or(Value::Null));
    Ok(run)
}

/// Checks that all ranks would train the same.
///
/// # Errors
///
/// [`Error::Ranks`] with each difference of the first rank that differs.
pub(super) fn compare_ranks(
    ranks: &Ranks,
    run: &Map<String, Value>,
    seed: u64,
) -> Result<(), Error> {
    if ranks.is_alone() {
        return Ok(());
    }
    let mut own = run.clone();
    own.insert("seed".to_owned(), seed.into());
    let all = ranks.share(own)?;
    let mut others =
        all.iter().enumerate().map(|(rank, other)| (rank, differences(&all[0], other, RANKS)));
    let Some((rank, found)) = others.find(|(_, found)| !found.is_empty()) else { return Ok(()) };
    Err(Error::Ranks {
        reason: format!(
            "rank {rank}: it would not train the same as rank 0\n  {}\nhint: start all ranks with the same inputs and files",
            found.join("\n  ")
        ),
    })
}

/// The checkpoint to continue from, as the first rank has found it.
#[derive(Debug, Serialize, Deserialize)]
struct Continued {
    state: State,
    marks: Marks,
    /// Whether settings have changed since.
    changed: bool,
}

/// Returns the state of the newest checkpoint of the run, when the job of the first rank is resumed and there is one; tensors
/// and files are restored.
///
/// # Errors
///
/// [`Error::Resume`] when the run has changed, with each difference; what reading fails with.
pub(super) fn resume(
    job: &mut Job,
    config: &TrainingConfig,
    run: &Map<String, Value>,
    learner: &mut Learner<'_>,
) -> anyhow::Result<Option<State>> {
    let ranks = learner.ranks.clone();
    let mut checkpoint = None;
    let found = ranks.on_lead(|| {
        let Some((found, continued)) = find(job, run)? else { return Ok(None) };
        checkpoint = Some(found);
        Ok(Some(continued))
    })?;
    let Some(Continued { mut state, marks, changed }) = found else { return Ok(None) };
    if changed {
        state.adopt(config, learner.params.computes_in());
        for line in learner.restore_changed(checkpoint.as_ref(), &mut state)? {
            job.note(line);
        }
    } else {
        learner.restore(checkpoint.as_ref())?;
    }
    let rewound = if ranks.leads() { job.rewind(&marks) } else { Ok(()) };
    ranks.all_done(rewound)?;
    if let Some(checkpoint) = checkpoint {
        job.note(format_args!(
            "resuming from step {} (`{}`)",
            state.step,
            checkpoint.path().display()
        ));
    }
    Ok(Some(state))
}

/// Finds the newest checkpoint of the run, and whether its settings have changed since.
fn find(
    job: &mut Job,
    run: &Map<String, Value>,
) -> anyhow::Result<Option<(Checkpoint, Continued)>> {
    let Some(dir) = job.resume_from().map(std::path::Path::to_owned) else { return Ok(None) };
    let Found { checkpoint, passed_over } = newest(&dir)?;
    for (path, why) in passed_over {
        job.note(format_args!("checkpoint `{}` is passed over: {why}", path.display()));
    }
    let Some(checkpoint) = checkpoint else {
        job.note("there is no checkpoint to resume from: starting at step 0");
        job.forget_earlier()?;
        return Ok(None);
    };
    let Saved { state, run: saved, marks } = serde_json::from_value(checkpoint.state().clone())
        .map_err(|error| Error::Checkpoint {
            location: checkpoint.path().display().to_string(),
            reason: format!("its state cannot be read: {error}"),
        })?;
    let differences = differences(&saved, run, RUNS);
    let changed = !differences.is_empty();
    if changed {
        let text = differences.join("\n  ");
        let fits = shapes(&saved) == shapes(run);
        if !(job.resume_forced() && fits) {
            let hint = if fits {
                "`--resume=force` resumes it all the same"
            } else {
                "parameters of other names or shapes cannot be resumed: start a new run"
            };
            return Err(Error::Resume {
                reason: format!(
                    "it has changed since its checkpoint at step {}\n  {text}\nhint: {hint}",
                    state.step
                ),
            }
            .into());
        }
        job.note(format_args!("resuming a run that has changed:\n  {text}"));
    }
    Ok(Some((checkpoint, Continued { state, marks, changed })))
}

/// The shapes of the parameters by name: the one difference that no force can bridge.
fn shapes(run: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let parameters = run.get("parameters").and_then(Value::as_object);
    parameters.into_iter().flatten().map(|(name, it)| (name.as_str(), &it["shape"])).collect()
}

/// The words after the values of the two sides of a difference.
#[derive(Clone, Copy)]
struct Sides {
    one: &'static str,
    other: &'static str,
}

const RUNS: Sides = Sides { one: " then", other: " now" };
const RANKS: Sides = Sides { one: " on rank 0", other: "" };

/// Lists what differs, by the path of its name, with the values of both sides.
fn differences(one: &Map<String, Value>, other: &Map<String, Value>, sides: Sides) -> Vec<String> {
    /// The most that are listed.
    const SHOWN: usize = 12;
    let mut found = Vec::new();
    for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
        compare(key, one.get(key), other.get(key), sides, &mut found);
    }
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

fn compare(
    name: &str,
    one: Option<&Value>,
    other: Option<&Value>,
    sides: Sides,
    found: &mut Vec<String>,
) {
    let (then, now) = (sides.one, sides.other);
    match (one, other) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                compare(&format!("{name}.{key}"), one.get(key), other.get(key), sides, found);
            }
        }
        (Some(one), Some(other)) if one == other => {}
        (Some(one), Some(other)) => found.push(format!("`{name}`: {one}{then}, {other}{now}")),
        (Some(one), None) => found.push(format!("`{name}`: {one}{then}, gone{now}")),
        (None, Some(other)) => found.push(format!("`{name}`: not there{then}, {other}{now}")),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_named_with_both_values() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let then = map(json!({"config": {"epochs": 3, "clip": null}, "rows": 10, "same": [1]}));
        let now = map(json!({"config": {"epochs": 4, "ema": 0.9}, "rows": 10, "same": [1]}));
        assert_eq!(
            differences(&then, &now, RUNS),
            [
                "`config.epochs`: 3 then, 4 now",
                "`config.clip`: null then, gone now",
                "`config.ema`: not there then, 0.9 now"
            ]
        );
        assert!(differences(&now, &now, RUNS).is_empty());
    }
}
