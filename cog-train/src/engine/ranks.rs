//! The ranks of a training, as its loop sees them: what one of them decides or fails with, all do.

use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::Shard;
use crate::error::{self, Error};
use crate::job::Job;
use crate::parallel::Communicator;

/// The rank that writes the run's files.
pub(super) const LEAD: usize = 0;

/// The ranks that train together. Every rank calls the same methods in the same order.
#[derive(Debug, Clone)]
pub(super) struct Ranks(Arc<dyn Communicator>);

/// The outcome of some work on one rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Done,
    Cancelled,
    /// More of a gradient arrived after it was sent.
    Late,
    /// The device has no room for so many rows at once.
    OutOfMemory {
        rows: usize,
    },
    Failed(String),
}

impl Outcome {
    /// A failure, or the answer to a cancellation.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        match error::find(error) {
            Some(Error::Cancelled) => Self::Cancelled,
            _ => Self::failed(error),
        }
    }

    /// A failure.
    pub(super) fn failed(error: &anyhow::Error) -> Self {
        let links: Vec<String> = error.chain().map(error::plain).collect();
        Self::Failed(links.join(": "))
    }
}

impl Ranks {
    /// Returns the ranks of a job.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for a number of ranks that is not a power of two.
    pub(super) fn of(job: &Job) -> Result<Self, Error> {
        let ranks = Self(Arc::clone(job.communicator()));
        let world = ranks.world();
        if !world.is_power_of_two() {
            return Err(Error::InvalidConfig {
                reason: format!(
                    "{world} ranks are not a power of two: they share the micro-batches of a batch (`micro_batch`) in equal \
                     blocks\nhint: start {} or {} ranks",
                    world.next_power_of_two() / 2,
                    world.next_power_of_two()
                ),
            });
        }
        Ok(ranks)
    }

    pub(super) fn rank(&self) -> usize {
        self.0.rank()
    }

    pub(super) fn world(&self) -> usize {
        self.0.world_size()
    }

    /// Whether this is a training of one process.
    pub(super) fn is_alone(&self) -> bool {
        self.world() == 1
    }

    /// Whether this rank writes the run's files.
    pub(super) fn leads(&self) -> bool {
        self.rank() == LEAD
    }

    /// Returns the part of the data that this rank reads.
    pub(super) fn shard(&self) -> Shard {
        Shard { rank: self.rank(), world: self.world() }
    }

    /// Returns the flags that any rank has set.
    pub(super) fn agree(&self, flags: u64) -> Result<u64, Error> {
        self.0.agree(flags)
    }

    /// Returns the values of all ranks, in their order.
    pub(super) fn share<T: Serialize + DeserializeOwned>(&self, own: T) -> Result<Vec<T>, Error> {
        if self.is_alone() {
            return Ok(vec![own]);
        }
        let bytes = serde_json::to_vec(&own).map_err(|error| unreadable(&error))?;
        let all = self.0.gather(&bytes)?;
        all.iter()
            .map(|bytes| serde_json::from_slice(bytes).map_err(|error| unreadable(&error)))
            .collect()
    }

    /// Returns the result of this rank once all have one.
    ///
    /// # Errors
    ///
    /// On every rank, that of the first rank with one. A rank that was cancelled comes after those that failed.
    pub(super) fn all_done<T, E: Into<anyhow::Error>>(
        &self,
        own: Result<T, E>,
    ) -> anyhow::Result<T> {
        let own = own.map_err(Into::into);
        if self.is_alone() {
            return own;
        }
        let outcome = own.as_ref().map_or_else(Outcome::of, |_| Outcome::Done);
        let all = self.share(outcome)?;
        if let Some(error) = failure(&all) {
            // What all ranks fail with is no matter of ranks.
            let same = all.iter().all(|outcome| *outcome == all[0]);
            return Err(own.err().filter(|_| same).unwrap_or(error));
        }
        if all.contains(&Outcome::Cancelled) {
            return Err(Error::Cancelled.into());
        }
        own
    }

    /// Calls `work` on the first rank alone. Every rank gets its value.
    ///
    /// # Errors
    ///
    /// That of `work`, on every rank.
    pub(super) fn on_lead<T: Serialize + DeserializeOwned>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        // A list and no `Option`: JSON has one `null` for `None` and `Some(None)`.
        let own = if self.leads() { work().map(|value| vec![value]) } else { Ok(Vec::new()) };
        let own = self.all_done(own)?;
        let first = self.share(own)?.into_iter().flatten().next();
        Ok(first.ok_or_else(|| unreadable(&"the first rank sent nothing"))?)
    }

    /// Returns the tensor of rank `root`. `tensor` has its shape and dtype.
    pub(super) fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Tensor, Error> {
        self.0.broadcast(tensor, root)
    }

    /// Sends part `i` to rank `i`; returns the parts that this rank is sent.
    pub(super) fn all_to_all(&self, parts: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        self.0.all_to_all(parts)
    }

    /// Adds a tensor over all ranks, in the order of the transport.
    pub(super) fn sum(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        self.0.sum(tensor)
    }
}

/// Returns the error of the first rank that has failed.
pub(super) fn failure(outcomes: &[Outcome]) -> Option<anyhow::Error> {
    outcomes.iter().enumerate().find_map(|(rank, outcome)| match outcome {
        Outcome::Failed(text) => {
            Some(Error::Ranks { reason: format!("rank {rank}: {text}") }.into())
        }
        _ => None,
    })
}

fn unreadable(error: &dyn fmt::Display) -> Error {
    Error::Ranks { reason: format!("a message between ranks cannot be read: {error}") }
}
