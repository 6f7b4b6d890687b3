//! The sizes of a loader's batches.

use std::cmp::Reverse;

use super::Loader;
use crate::data::Batching;
use crate::error::Error;

impl<B: Send + 'static> Loader<B> {
    /// Returns the number of steps of an epoch; 0 where [`Loader::check`] fails. Batches by tokens depend on the
    /// order, so on the seed.
    #[must_use]
    pub fn steps_in(&self, seed: u64, epoch: u64) -> u64 {
        self.sampler(seed).map_or(0, |sampler| sampler.steps_in(epoch))
    }

    /// Returns the most rows that a batch can have.
    #[must_use]
    pub fn max_rows(&self) -> usize {
        match self.batching {
            Batching::Rows(rows) => rows.min(self.len()),
            Batching::Tokens { most, .. } => most.min(self.len()),
        }
    }

    /// Returns the rows of the batch of the first epoch that has the most.
    ///
    /// # Errors
    ///
    /// Those of [`Loader::check`].
    pub(crate) fn largest_batch(&self, seed: u64) -> Result<usize, Error> {
        Ok(self.sampler(seed)?.epoch(0).iter().map(<[u32]>::len).max().unwrap_or(0))
    }

    /// Returns the batch of the first epoch that is the largest once its rows are padded; 0 where [`Loader::check`] fails.
    #[must_use]
    pub fn heaviest(&self, seed: u64) -> u64 {
        let Ok(sampler) = self.sampler(seed) else { return 0 };
        let tokens = self.tokens();
        let size = |rows: &[u32]| {
            let longest = rows.iter().filter_map(|row| tokens.get(*row as usize)).max();
            rows.len() * longest.map_or(0, |tokens| *tokens as usize)
        };
        let sizes = sampler.epoch(0);
        let heaviest = (0..).zip(sizes.iter()).max_by_key(|(at, rows)| (size(rows), Reverse(*at)));
        heaviest.map_or(0, |(at, _)| at)
    }
}
