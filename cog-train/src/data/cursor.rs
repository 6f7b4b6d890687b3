//! The order of the batches of a run, over all epochs.

use super::sampler::{Epoch, Position, Sampler};
use super::shard::Shard;

/// A batch that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) at: Position,
    pub(super) next: Position,
    pub(super) rows: Vec<u32>,
}

/// Assigns the next batch.
pub(super) struct Cursor {
    sampler: Sampler,
    at: Position,
    /// The sequence ends with this epoch.
    last_epoch: Option<u64>,
    /// Takes the batches that this rank evaluates, and leaves out the others.
    turns: Shard,
    epoch: Option<Epoch>,
    taken: u64,
}

impl Cursor {
    pub(super) fn new(sampler: Sampler, at: Position, last_epoch: Option<u64>) -> Self {
        Self { sampler, at, last_epoch, turns: Shard::default(), epoch: None, taken: 0 }
    }

    /// The batches that a rank evaluates.
    pub(super) fn turns(self, turns: Shard) -> Self {
        Self { turns, ..self }
    }

    /// The number of the task, counted from 0, and the task; none at the end.
    pub(super) fn take(&mut self) -> (u64, Option<Task>) {
        let task = self.task();
        self.taken += u64::from(task.is_some());
        (self.taken - u64::from(task.is_some()), task)
    }

    fn task(&mut self) -> Option<Task> {
        loop {
            if self.last_epoch.is_some_and(|last_epoch| self.at.epoch > last_epoch) {
                return None;
            }
            let epoch = self.epoch.get_or_insert_with(|| self.sampler.epoch(self.at.epoch));
            let batch = usize::try_from(self.at.batch).map_or(&[][..], |at| epoch.batch(at));
            let after = Position { epoch: self.at.epoch + 1, batch: 0 };
            if batch.is_empty() {
                // Only from a position at or behind the end of its epoch: no epoch is empty.
                (self.at, self.epoch) = (after, None);
                continue;
            }
            let at = self.at;
            let more = at.batch + 1 < epoch.len() as u64;
            let rows = self.turns.evaluates(at.batch).then(|| batch.to_vec());
            self.at = if more { Position { batch: at.batch + 1, ..at } } else { after };
            if !more {
                self.epoch = None;
            }
            if let Some(rows) = rows {
                return Some(Task { at, next: self.at, rows });
            }
        }
    }
}
