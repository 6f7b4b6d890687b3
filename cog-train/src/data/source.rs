//! Makes batches from a dataset and the author's collate function, with the types of both erased.

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::Device;

use super::batch::{Batch, MicroBatch};
use super::cursor::Task;
use super::dataset::Dataset;
use super::shard::Shard;
use crate::error::{Error, counted, panic_message};
use cog_train_nn::rng::{Rng, Stream};

/// The context of one call of a collate function.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::data::{Batching, Loader, Position, Rows};
///
/// // Rows turned by a random number of positions: the same for the same seed, epoch and row.
/// let loader = Loader::new(Rows::new(vec![vec![1f32, 2.0, 3.0], vec![4.0, 5.0, 6.0]]), |mut rows, collate| {
///     for (at, row) in rows.iter_mut().enumerate() {
///         row.rotate_left(collate.rng("shift", at).below(3) as usize);
///     }
///     Ok(Tensor::new(rows, collate.device())?)
/// })
/// .batch(Batching::Rows(2));
/// let first = || loader.start(7, Position::default(), None, &Device::Cpu).next();
/// let (one, two) = (first()?.unwrap(), first()?.unwrap());
/// assert_eq!(one.parts[0].batch.to_vec2::<f32>()?, two.parts[0].batch.to_vec2::<f32>()?);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Collate<'a> {
    device: &'a Device,
    seed: u64,
    epoch: u64,
    rows: &'a [u32],
}

impl Collate<'_> {
    /// Returns the device of the batch's tensors.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.device
    }

    /// Returns the epoch, counted from 0.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the rows' indices in the dataset, in the order of the items.
    #[must_use]
    pub fn rows(&self) -> &[u32] {
        self.rows
    }

    /// Returns a random stream for the item at `row` of this batch: a function of the seed, `purpose`, the epoch and the
    /// row's index in the dataset. So a row is cropped or flipped in the same way in any batch and on any thread.
    #[must_use]
    pub fn rng(&self, purpose: &str, row: usize) -> Stream {
        let row = self.rows.get(row).copied().unwrap_or(u32::MAX);
        Rng::new(self.seed, purpose).at(self.epoch << 32 | u64::from(row))
    }
}

/// The settings of all batches of a run.
#[derive(Debug, Clone)]
pub(super) struct BatchSettings {
    pub(super) device: Device,
    pub(super) seed: u64,
    pub(super) micro: Option<usize>,
    /// The rank whose micro-batches are made.
    pub(super) shard: Shard,
}

/// Returns whether the batch is cancelled; called between rows.
pub(super) type IsCancelled<'a> = dyn Fn() -> bool + 'a;

/// A dataset and its collate function.
pub(super) trait Source<B>: Send + Sync {
    fn len(&self) -> usize;
    fn tokens(&self, row: usize) -> usize;
    fn location(&self, row: usize) -> String;
    fn digest(&self) -> Result<String, Error>;
    fn micro_batch(
        &self,
        collate: &Collate<'_>,
        is_cancelled: &IsCancelled<'_>,
    ) -> anyhow::Result<B>;
}

/// The one [`Source`].
pub(super) struct Pair<D, F> {
    pub(super) dataset: D,
    pub(super) collate: F,
}

impl<D, F, B> Source<B> for Pair<D, F>
where
    D: Dataset,
    F: Fn(Vec<D::Item>, &Collate<'_>) -> anyhow::Result<B> + Send + Sync,
{
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn tokens(&self, row: usize) -> usize {
        self.dataset.tokens(row)
    }

    fn location(&self, row: usize) -> String {
        self.dataset.location(row)
    }

    fn digest(&self) -> Result<String, Error> {
        self.dataset.digest()
    }

    fn micro_batch(
        &self,
        collate: &Collate<'_>,
        is_cancelled: &IsCancelled<'_>,
    ) -> anyhow::Result<B> {
        let mut items = Vec::with_capacity(collate.rows.len());
        for row in collate.rows {
            if is_cancelled() {
                return Err(Error::Cancelled.into());
            }
            let row = *row as usize;
            let item = catch_panic(
                "dataset",
                || self.dataset.location(row),
                || Ok(self.dataset.item(row)?),
            );
            items.push(item?);
        }
        let location = || {
            let first = collate.rows.first().map(|row| self.dataset.location(*row as usize));
            let others = counted(collate.rows.len().saturating_sub(1), "more row");
            format!("{} and {others}", first.unwrap_or_default())
        };
        catch_panic("collate", location, || (self.collate)(items, collate))
    }
}

/// Calls the author's code and converts a panic into [`Error::Panicked`].
fn catch_panic<T>(
    what: &'static str,
    location: impl FnOnce() -> String,
    call: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let message = panic_message(payload.as_ref()).to_owned();
        Err(Error::Panicked { what, location: location(), message }.into())
    })
}

/// Makes the batch of a task, one micro-batch after the other.
pub(super) fn make_batch<B>(
    source: &dyn Source<B>,
    settings: &BatchSettings,
    task: Task,
    is_cancelled: &IsCancelled<'_>,
) -> anyhow::Result<Batch<B>> {
    let Task { at, next, rows } = task;
    let size = settings.micro.unwrap_or(usize::MAX).clamp(1, rows.len().max(1));
    let mut parts = Vec::new();
    for number in settings.shard.micro_batches(rows.len().div_ceil(size)) {
        let start = number * size;
        let end = rows.len().min(start + size);
        let collate = Collate {
            device: &settings.device,
            seed: settings.seed,
            epoch: at.epoch,
            rows: &rows[start..end],
        };
        let batch = source.micro_batch(&collate, is_cancelled).map_err(|error| {
            // Errors of this crate name their row.
            if error.downcast_ref::<Error>().is_some() {
                return error;
            }
            error.context(format!(
                "collate, batch {} of epoch {} (first row: {})",
                at.batch + 1,
                at.epoch + 1,
                source.location(rows[start] as usize)
            ))
        })?;
        parts.push(MicroBatch { number, rows: start..end, batch });
    }
    let tokens = rows.iter().map(|row| source.tokens(*row as usize)).sum();
    Ok(Batch { at, next, rows, parts, tokens, waited: std::time::Duration::ZERO })
}
