//! The retry after a lack of memory.

use super::memory;
use super::ranks::{Outcome, Ranks, failure};
use super::state::State;
use crate::error::{self, Error};
use crate::job::Job;

/// More of a gradient arrived after it was sent to its owner: the next attempt waits for it.
#[derive(Debug, thiserror::Error)]
#[error("a gradient was not complete when it was sent")]
pub(super) struct Late;

/// A failed attempt.
pub(super) struct Failed {
    error: anyhow::Error,
    /// The rows that it computed at once, where they are known.
    rows: Option<usize>,
}

impl Failed {
    /// An attempt on `rows` at once.
    pub(super) fn on(rows: usize) -> impl FnOnce(anyhow::Error) -> Self {
        move |error| Self { error, rows: Some(rows) }
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self { error, rows: None }
    }
}

/// Runs `attempt` until the devices of all ranks have room for it: after each lack of memory the state's micro-batch is halved,
/// with a line in the log. `max_rows` are those of a batch that is not split. `None` when the run is cancelled.
///
/// An attempt that fails must have changed nothing.
///
/// # Errors
///
/// Any other error of `attempt`, and a lack of memory for a single row.
pub(super) fn retry<T>(
    state: &mut State,
    max_rows: usize,
    ranks: &Ranks,
    job: &mut Job,
    mut attempt: impl FnMut(&State, &Job) -> Result<T, Failed>,
) -> anyhow::Result<Option<T>> {
    loop {
        let (outcome, own) = match attempt(state, job) {
            Ok(done) => (Outcome::Done, Ok(done)),
            Err(Failed { error, rows }) => {
                let outcome = if is_cancellation(&error, job) {
                    Outcome::Cancelled
                } else if error.is::<Late>() {
                    Outcome::Late
                } else if memory::is_short(&error) {
                    let rows = rows.or(state.micro_batch).unwrap_or(max_rows);
                    Outcome::OutOfMemory { rows }
                } else {
                    Outcome::failed(&error)
                };
                (outcome, Err(error))
            }
        };
        let outcomes = ranks.share(outcome)?;
        if let Some(error) = failure(&outcomes) {
            return Err(own.err().filter(|_| ranks.is_alone()).unwrap_or(error));
        }
        if outcomes.contains(&Outcome::Cancelled) {
            return Ok(None);
        }
        let short = outcomes.iter().enumerate().filter_map(|(rank, outcome)| match outcome {
            Outcome::OutOfMemory { rows } => Some((*rows, rank)),
            _ => None,
        });
        let Some((rows, rank)) = short.min() else {
            if outcomes.contains(&Outcome::Late) {
                continue;
            }
            return own.map(Some);
        };
        if rows <= 1 {
            let reason = "one row alone is too large for the device";
            return Err(match own {
                Err(error) if ranks.is_alone() => error.context(reason),
                _ => Error::Ranks { reason: format!("rank {rank}: {reason}") }.into(),
            });
        }
        let fewer = rows.div_ceil(2);
        job.line(format_args!(
            "out of memory with {rows} rows at once: retrying with {fewer}, and the batch stays the same"
        ));
        state.micro_batch = Some(fewer);
    }
}

/// Whether an error answers the cancellation of the run: the author's code may look at the token too.
pub(super) fn is_cancellation(error: &anyhow::Error, job: &Job) -> bool {
    job.cancelled() && matches!(error::find(error), Some(Error::Cancelled))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::engine::training_config::TrainingConfig;
    use crate::params::Precision;

    #[test]
    fn only_a_lack_of_memory_is_retried_with_half_of_the_rows() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::for_test(dir.path());
        let mut state = State::new(&TrainingConfig::default(), Precision::F32);
        let mut tried = Vec::new();
        let ranks = Ranks::of(&job).unwrap();
        let done = retry(&mut state, 9, &ranks, &mut job, |state, _| {
            tried.push(state.micro_batch);
            match state.micro_batch {
                // The batch was of fewer rows than the largest.
                None => Err(Failed::on(7)(anyhow!("out of memory"))),
                Some(rows) if rows > 2 => Err(anyhow!("out of memory").into()),
                Some(rows) => Ok(rows),
            }
        });
        assert_eq!(done.unwrap(), Some(2));
        assert_eq!(tried, [None, Some(4), Some(2)]);

        let mut attempts = 0;
        let failed = retry::<()>(&mut state, 9, &ranks, &mut job, |_, _| {
            attempts += 1;
            Err(anyhow!("no such file").into())
        });
        assert_eq!((failed.unwrap_err().to_string().as_str(), attempts), ("no such file", 1));

        let failed = retry::<()>(&mut state, 9, &ranks, &mut job, |_, _| {
            Err(anyhow!("out of memory").into())
        });
        assert_eq!(failed.unwrap_err().to_string(), "one row alone is too large for the device");
    }
}
