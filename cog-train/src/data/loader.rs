//! A dataset, a collate function and the settings of a sampler, joined: [`Loader`].

mod sizes;

use std::sync::{Arc, OnceLock};

use candle_core::Device;
use serde_json::{Value, json};

use super::batches::Batches;
use super::cursor::Cursor;
use super::dataset::Dataset;
use super::sampler::{Batching, Position, Sampler};
use super::shard::Shard;
use super::source::{BatchSettings, Collate, Pair, Source};
use crate::error::Error;

/// Makes batches of type `B` from a dataset. They are a pure function of the data, the settings, the seed and the position;
/// threads only make them sooner.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::data::{Batching, Loader, Position, Rows};
///
/// let rows = Rows::new((0..10).map(|number| number as f32).collect::<Vec<f32>>());
/// let loader = Loader::new(rows, |items: Vec<f32>, collate| {
///     let count = items.len();
///     Ok(Tensor::from_vec(items, count, collate.device())?)
/// })
/// .batch(Batching::Rows(4));
///
/// let mut batches = loader.start(42, Position::default(), None, &Device::Cpu);
/// let step = batches.next()?.expect("there is no end");
/// assert_eq!(step.parts[0].batch.dims(), [4]);
/// assert_eq!(step.next, Position { epoch: 0, batch: 1 });
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct Loader<B> {
    source: Arc<dyn Source<B>>,
    /// Of each row, once they are counted.
    tokens: Arc<OnceLock<Vec<u32>>>,
    batching: Batching,
    shuffle: bool,
    drop_last: bool,
    threads: usize,
    prefetch: Option<usize>,
    truncated: Option<usize>,
    shard: Shard,
}

impl<B> Clone for Loader<B> {
    /// A loader of the same dataset, which is not copied.
    fn clone(&self) -> Self {
        Self { source: Arc::clone(&self.source), tokens: Arc::clone(&self.tokens), ..*self }
    }
}

impl<B: Send + 'static> Loader<B> {
    /// Batches of 8 rows, shuffled, the last one kept, made by one thread. `collate` makes a batch of rows in their
    /// order; it is called once for each micro-batch.
    pub fn new<D, F>(dataset: D, collate: F) -> Self
    where
        D: Dataset + 'static,
        F: Fn(Vec<D::Item>, &Collate<'_>) -> anyhow::Result<B> + Send + Sync + 'static,
    {
        Self {
            source: Arc::new(Pair { dataset, collate }),
            tokens: Arc::default(),
            batching: Batching::Rows(8),
            shuffle: true,
            drop_last: false,
            threads: 1,
            prefetch: None,
            truncated: None,
            shard: Shard::default(),
        }
    }

    /// Sets the size of a batch, over all micro-batches and ranks.
    #[must_use]
    pub fn batch(self, batching: Batching) -> Self {
        Self { batching, ..self }
    }

    /// Sets whether each epoch has a random order, or all have the order of the data.
    #[must_use]
    pub fn shuffle(self, shuffle: bool) -> Self {
        Self { shuffle, ..self }
    }

    /// Sets whether to drop an epoch's last batch where it has fewer rows than others.
    #[must_use]
    pub fn drop_last(self, drop_last: bool) -> Self {
        Self { drop_last, ..self }
    }

    /// Sets the number of threads that prefetch batches; with 0, [`Batches::next`] makes them itself.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Sets the most batches in memory, ready or being made. The default is one more than there are threads.
    #[must_use]
    pub fn prefetch(self, batches: usize) -> Self {
        Self { prefetch: Some(batches), ..self }
    }

    /// Sets the number of rows that were truncated because they were longer than the model can take, for the dry run. The
    /// loader cannot count them: rows come to it truncated.
    ///
    /// ```
    /// use cog_train::data::{Dataset, Loader, Rows};
    ///
    /// let texts = ["a short one", "one that is longer than twenty bytes"];
    /// let truncated = texts.iter().filter(|text| text.len() > 20).count();
    /// let rows = Rows::new(texts.to_vec()).map(|text| Ok(text.bytes().take(20).collect::<Vec<u8>>()));
    /// let loader = Loader::new(rows, |items, _| Ok(items)).truncated(truncated);
    /// assert_eq!(loader.truncated_rows(), Some(1));
    /// ```
    #[must_use]
    pub fn truncated(self, rows: usize) -> Self {
        Self { truncated: Some(rows), ..self }
    }

    /// Returns the number of rows that were truncated, where [`Loader::truncated`] has set it.
    #[must_use]
    pub fn truncated_rows(&self) -> Option<usize> {
        self.truncated
    }

    /// Returns the size of a batch.
    #[must_use]
    pub fn batching(&self) -> Batching {
        self.batching
    }

    /// Makes the micro-batches of one rank alone, and the batches that it evaluates.
    #[must_use]
    pub(crate) fn for_rank(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Validates the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when there are no rows, a batch holds none, or a row does not fit in a batch.
    pub fn check(&self) -> Result<(), Error> {
        self.sampler(0).map(drop)
    }

    /// Returns the digest of the data: [`Dataset::digest`].
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::digest`].
    pub fn digest(&self) -> Result<String, Error> {
        self.source.digest()
    }

    /// Returns the location of a row for messages.
    #[must_use]
    pub fn location(&self, row: u32) -> String {
        self.source.location(row as usize)
    }

    /// Returns the settings that determine the order beside the data and the seed, as JSON: a resumed run compares them.
    #[must_use]
    pub fn describe(&self) -> Value {
        json!({
            "rows": self.len(),
            "batching": self.batching,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
        })
    }

    /// Returns the tokens of each row, for a [histogram](super::histogram); none where every row counts 1.
    #[must_use]
    pub fn lengths(&self) -> Option<Vec<usize>> {
        self.has_lengths().then(|| self.tokens().iter().map(|tokens| *tokens as usize).collect())
    }

    /// Returns whether there is a row that does not count 1.
    #[must_use]
    pub fn has_lengths(&self) -> bool {
        self.tokens().iter().any(|tokens| *tokens != 1)
    }

    /// The tokens of each row, read once; `u32::MAX` where there are more.
    fn tokens(&self) -> &[u32] {
        self.tokens.get_or_init(|| {
            let tokens = (0..self.len()).map(|row| self.source.tokens(row));
            tokens.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)).collect()
        })
    }

    /// Starts the sequence of batches at a position, over epochs without end. `micro` is the most rows of a micro-batch: it
    /// changes the split of a batch, never its rows.
    #[must_use]
    pub fn start(
        &self,
        seed: u64,
        from: Position,
        micro: Option<usize>,
        device: &Device,
    ) -> Batches<B> {
        let cursor = self.sampler(seed).map(|sampler| Cursor::new(sampler, from, None));
        self.run(cursor, seed, micro, self.shard, device)
    }

    /// Starts one epoch over all rows, in the order of the data, for an evaluation. Batches by tokens still group rows of
    /// similar length.
    #[must_use]
    pub fn once(&self, device: &Device, micro: Option<usize>) -> Batches<B> {
        let sampler = self.build_sampler(0, false, false);
        let cursor = sampler
            .map(|sampler| Cursor::new(sampler, Position::default(), Some(0)).turns(self.shard));
        self.run(cursor, 0, micro, Shard::default(), device)
    }

    fn run(
        &self,
        cursor: Result<Cursor, Error>,
        seed: u64,
        micro: Option<usize>,
        shard: Shard,
        device: &Device,
    ) -> Batches<B> {
        let cursor = match cursor {
            Ok(cursor) => cursor,
            Err(error) => return Batches::failed(error),
        };
        let settings = BatchSettings { device: device.clone(), seed, micro, shard };
        let ahead = self.prefetch.unwrap_or(self.threads + 1);
        Batches::new(cursor, self.source.clone(), settings, self.threads, ahead)
    }

    pub(crate) fn sampler(&self, seed: u64) -> Result<Sampler, Error> {
        self.build_sampler(seed, self.shuffle, self.drop_last)
    }

    fn build_sampler(&self, seed: u64, shuffle: bool, drop_last: bool) -> Result<Sampler, Error> {
        let sampler =
            Sampler::new(seed, self.len(), self.batching, shuffle)?.drop_last(drop_last)?;
        let Batching::Tokens { most, .. } = self.batching else { return Ok(sampler) };
        let tokens = self.tokens();
        let long = |tokens: &u32| *tokens == u32::MAX || *tokens as usize > most;
        if let Some(row) = tokens.iter().position(long) {
            return Err(Error::Data {
                location: self.source.location(row),
                reason: format!(
                    "{} tokens are more than the {most} of a batch\nhint: cut long rows, or allow more tokens in a batch",
                    self.source.tokens(row)
                ),
            });
        }
        sampler.lengths(tokens.to_vec())
    }
}

#[cfg(test)]
mod tests;
