//! Datasets made from others: mapped, a part of the rows, with lengths, split into train and held out.

use std::sync::Arc;

use super::dataset::{Dataset, missing};
use super::hash::Hash;
use crate::error::{self, Error};
use crate::progress::CancelToken;
use cog_train_nn::rng::Rng;

/// Rows passed through a function: [`Dataset::map`].
///
/// ```
/// use cog_train::data::{Dataset, Rows};
///
/// let rows = Rows::new(vec!["1", "two"]).named("numbers").map(|text| Ok(text.parse::<i32>()?));
/// assert_eq!(rows.item(0)?, 1);
/// let error = rows.item(1).unwrap_err().to_string();
/// assert_eq!(error, "data `numbers row 2`: invalid digit found in string");
/// # Ok::<(), cog_train::Error>(())
/// ```
pub struct Mapped<D, F> {
    inner: D,
    change: F,
}

impl<D, F> Mapped<D, F> {
    pub(super) fn new(inner: D, change: F) -> Self {
        Self { inner, change }
    }
}

impl<D, F, U> Dataset for Mapped<D, F>
where
    D: Dataset,
    U: Send + 'static,
    F: Fn(D::Item) -> anyhow::Result<U> + Send + Sync,
{
    type Item = U;

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn item(&self, index: usize) -> Result<U, Error> {
        (self.change)(self.inner.item(index)?).map_err(|error| {
            let links: Vec<String> = error.chain().map(error::plain).collect();
            Error::Data { place: self.place(index), reason: links.join(": ") }
        })
    }

    fn tokens(&self, index: usize) -> usize {
        self.inner.tokens(index)
    }

    fn place(&self, index: usize) -> String {
        self.inner.place(index)
    }

    fn digest(&self) -> Result<String, Error> {
        self.inner.digest()
    }
}

/// Some of the rows: [`Dataset::subset`].
///
/// ```
/// use cog_train::data::{Dataset, Rows};
///
/// let odd = Rows::new(vec!["a", "b", "c", "d"]).subset([1, 3])?;
/// assert_eq!((odd.len(), odd.item(1)?, odd.place(1)), (2, "d", "memory row 4".to_owned()));
/// # Ok::<(), cog_train::Error>(())
/// ```
pub struct Subset<D> {
    inner: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    pub(super) fn new(inner: D, indices: Vec<usize>) -> Result<Self, Error> {
        let count = inner.len();
        if let Some(index) = indices.iter().find(|index| **index >= count) {
            return Err(Error::InvalidConfig {
                reason: format!("a subset asks for row index {index} of {count} rows"),
            });
        }
        Ok(Self { inner, indices })
    }

    /// The rows' indices in the dataset underneath.
    #[must_use]
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    fn within(&self, index: usize) -> Result<usize, Error> {
        let found = self.indices.get(index).copied();
        found.ok_or_else(|| missing("subset", index, self.indices.len()))
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn item(&self, index: usize) -> Result<D::Item, Error> {
        self.inner.item(self.within(index)?)
    }

    fn tokens(&self, index: usize) -> usize {
        self.within(index).map_or(1, |index| self.inner.tokens(index))
    }

    fn place(&self, index: usize) -> String {
        self.within(index)
            .map_or_else(|_| format!("subset row {}", index + 1), |index| self.inner.place(index))
    }

    fn digest(&self) -> Result<String, Error> {
        let mut hash = Hash::default();
        hash.piece(self.inner.digest()?.as_bytes());
        self.indices.iter().for_each(|index| hash.number(*index as u64));
        Ok(hash.hex())
    }
}

/// Rows with their lengths: [`Dataset::with_tokens`].
///
/// ```
/// use cog_train::data::{Dataset, Rows};
///
/// let rows = Rows::new(vec!["to be", "or not to be"]).with_tokens(|row| row.split(' ').count())?;
/// assert_eq!((rows.tokens(0), rows.tokens(1)), (2, 4));
/// # Ok::<(), cog_train::Error>(())
/// ```
pub struct WithTokens<D> {
    inner: D,
    tokens: Vec<u32>,
}

impl<D: Dataset> WithTokens<D> {
    pub(super) fn new(
        inner: D,
        cancel: &CancelToken,
        count: impl Fn(&D::Item) -> usize,
    ) -> Result<Self, Error> {
        let tokens = (0..inner.len())
            .map(|index| {
                cancel.check()?;
                let tokens = count(&inner.item(index)?);
                u32::try_from(tokens).map_err(|_| Error::Data {
                    place: inner.place(index),
                    reason: format!("{tokens} tokens are more than {}", u32::MAX),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { inner, tokens })
    }
}

impl<D: Dataset> Dataset for WithTokens<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn item(&self, index: usize) -> Result<D::Item, Error> {
        self.inner.item(index)
    }

    fn tokens(&self, index: usize) -> usize {
        self.tokens.get(index).map_or(1, |tokens| *tokens as usize)
    }

    fn place(&self, index: usize) -> String {
        self.inner.place(index)
    }

    fn digest(&self) -> Result<String, Error> {
        let mut hash = Hash::default();
        hash.piece(self.inner.digest()?.as_bytes());
        self.tokens.iter().for_each(|tokens| hash.bytes(&tokens.to_le_bytes()));
        Ok(hash.hex())
    }
}

/// Train, held out.
///
/// What [`split`] gives.
pub type Split<D> = (Subset<Arc<D>>, Subset<Arc<D>>);

/// Puts a `share` of the rows aside to measure on, and gives (train, held out), each in the order of the data. At least
/// one row is on each side. Which ones is a function of their number, the share and the `seed` alone: pass a fixed seed,
/// not the run's, so that runs with different seeds measure on the same rows.
///
/// ```
/// use cog_train::data::{Dataset, Rows, split};
///
/// let (train, held_out) = split(Rows::new((0..95).collect::<Vec<i32>>()), 0.1, 0)?;
/// assert_eq!((train.len(), held_out.len()), (86, 9));
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidConfig`] when there are fewer than two rows, or the share is not between 0 and 1.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of rows"
)]
pub fn split<D: Dataset>(dataset: D, share: f64, seed: u64) -> Result<Split<D>, Error> {
    let count = dataset.len();
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::InvalidConfig {
            reason: format!(
                "the share of rows to hold out is {share}, and must be between 0 and 1"
            ),
        });
    }
    if count < 2 {
        return Err(Error::InvalidConfig {
            reason: format!(
                "the data has {count} rows, and one is needed to measure on\nhint: give at least 2"
            ),
        });
    }
    let aside = ((count as f64 * share) as usize).clamp(1, count - 1);
    let mut order: Vec<usize> = (0..count).collect();
    Rng::new(seed, "held-out").at(0).shuffle(&mut order);
    let (held_out, train) = order.split_at_mut(aside);
    held_out.sort_unstable();
    train.sort_unstable();
    let dataset = Arc::new(dataset);
    let part = |indices: &[usize]| Subset { inner: dataset.clone(), indices: indices.to_vec() };
    Ok((part(train), part(held_out)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rows;

    #[test]
    fn an_error_in_a_change_names_the_row() {
        let rows = Rows::new(vec![1, 0]).named("n.csv").map(|row| {
            anyhow::ensure!(row != 0, "it is zero");
            Ok(row)
        });
        assert_eq!(rows.item(0).unwrap(), 1);
        assert_eq!(rows.item(1).unwrap_err().to_string(), "data `n.csv row 2`: it is zero");
    }

    #[test]
    fn a_subset_keeps_places_and_tokens() {
        let rows = Rows::new(vec!["a", "bbb", "cc"]).with_tokens(|row| row.len()).unwrap();
        let whole = rows.digest().unwrap();
        let part = rows.subset([2, 1]).unwrap();
        assert_eq!((part.item(0).unwrap(), part.tokens(0), part.tokens(1)), ("cc", 2, 3));
        assert_eq!(part.place(0), "memory row 3");
        assert_ne!(part.digest().unwrap(), whole);
        assert!(part.item(2).is_err());
        let error = Rows::new(vec![1]).subset([1]).err().unwrap().to_string();
        assert_eq!(error, "a subset asks for row index 1 of 1 rows");
    }

    #[test]
    fn lengths_are_a_part_of_the_digest() {
        let with = |factor| {
            let rows = Rows::new(vec!["a", "bbb"]);
            rows.with_tokens(|row| row.len() * factor).unwrap().digest().unwrap()
        };
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn counting_tokens_can_be_cancelled_half_way() {
        let (cancel, seen) = (CancelToken::new(), std::cell::Cell::new(0));
        let counted = Rows::new(vec![1; 100]).with_tokens_until(&cancel, |_| {
            seen.set(seen.get() + 1);
            if seen.get() == 7 {
                cancel.cancel();
            }
            1
        });
        assert!(matches!(counted, Err(Error::Cancelled)));
        assert_eq!(seen.get(), 7);
    }

    #[test]
    fn a_split_is_a_partition_and_always_the_same() {
        for (count, share, aside) in [(95, 0.1, 9), (2, 0.1, 1), (2, 0.9, 1), (10, 0.99, 9)] {
            let make = || split(Rows::new((0..count).collect::<Vec<i32>>()), share, 3).unwrap();
            let (train, held_out) = make();
            assert_eq!(held_out.len(), aside);
            let mut all = [train.indices(), held_out.indices()].concat();
            assert_eq!(make().1.indices(), held_out.indices());
            all.sort_unstable();
            assert!(all.into_iter().eq(0..usize::try_from(count).unwrap()));
        }
        assert!(split(Rows::new(vec![1]), 0.5, 0).is_err());
        assert!(split(Rows::new(vec![1, 2]), 1.0, 0).is_err());
    }
}
