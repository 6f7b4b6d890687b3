//! The batches of a run, loaded ahead.

use candle_core::Device;

use super::state::State;
use crate::data::{Batch, Batches, Loader, Position};
use crate::error::Error;
use crate::job::Job;

/// Batches from a state's position on. It starts over there when the size of micro-batches has changed, or when the state has not come to
/// the next batch: its step is computed again.
pub(super) struct Stream<'a, B> {
    loader: &'a Loader<B>,
    device: &'a Device,
    started: Option<Started<B>>,
}

struct Started<B> {
    batches: Batches<B>,
    /// That of the next batch.
    position: Position,
    micro_batch: Option<usize>,
}

impl<'a, B: Send + 'static> Stream<'a, B> {
    pub(super) fn new(loader: &'a Loader<B>, device: &'a Device) -> Self {
        Self { loader, device, started: None }
    }

    /// Returns the batch at the state's position.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and the errors of loading.
    pub(super) fn next(&mut self, state: &State, job: &Job) -> anyhow::Result<Batch<B>> {
        let State { position, micro_batch, .. } = *state;
        let fits = |it: &Started<B>| (it.position, it.micro_batch) == (position, micro_batch);
        let mut started = self.started.take().filter(fits).unwrap_or_else(|| {
            let batches = self.loader.start(job.seed(), position, micro_batch, self.device);
            Started { batches, position, micro_batch }
        });
        let batch = started.batches.next_until(&job.cancel_token());
        if let Ok(Some(batch)) = &batch {
            started.position = batch.next;
        }
        self.started = Some(started);
        Ok(batch?
            .ok_or_else(|| Error::InvalidConfig { reason: "the data has ended".to_owned() })?)
    }

    /// Returns the most rows that a batch can have.
    pub(super) fn max_rows(&self) -> usize {
        self.loader.max_rows()
    }

    /// Ends the loading without waiting for a batch that is being made.
    pub(super) fn leave(self) {
        if let Some(started) = self.started {
            started.batches.leave();
        }
    }
}
