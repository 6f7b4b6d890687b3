//! Rows that can be read in any order: the trait [`Dataset`], and the datasets that its methods make of others.

use std::sync::Arc;

use super::hash::Hash;
use crate::error::{self, Error, counted};
use crate::progress::CancelToken;

/// Rows that can be read in any order, from any thread.
///
/// ```
/// use cog_train::data::{Dataset, Rows};
///
/// let rows = Rows::new(vec!["one", "two", "three"]).named("words");
/// let lengths = rows.map(|word| Ok(word.len()));
/// assert_eq!(lengths.len(), 3);
/// assert_eq!(lengths.item(2)?, 5);
/// assert_eq!(lengths.location(2), "words row 3");
/// # Ok::<(), cog_train::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// One row.
    type Item: Send + 'static;

    /// Returns the number of rows.
    fn len(&self) -> usize;

    /// Reads the row at `index`, counted from 0. The same index gives the same row, always.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with the row's location when it cannot be used or is not there.
    fn item(&self, index: usize) -> Result<Self::Item, Error>;

    /// Returns the size of the row in a batch by tokens, by which rows are sorted there. 1 by default; where it is 1 for
    /// every row, the lengths of rows are unknown, and neither rates nor the dry run show tokens.
    fn tokens(&self, _index: usize) -> usize {
        1
    }

    /// Returns the location of the row for messages, such as `train.jsonl line 17`.
    fn location(&self, index: usize) -> String;

    /// Returns the SHA-256 of the content in 64 hexadecimal digits. A resumed run compares it: the data must be the same.
    ///
    /// # Errors
    ///
    /// Those of reading the rows, where opening did not compute the digest.
    fn digest(&self) -> Result<String, Error>;

    /// Returns whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies `change` to each row when it is read. An error of `change` becomes [`Error::Data`] with the row's location; the
    /// digest stays that of the underlying rows.
    fn map<U, F>(self, change: F) -> Mapped<Self, F>
    where
        Self: Sized,
        U: Send + 'static,
        F: Fn(Self::Item) -> anyhow::Result<U> + Send + Sync,
    {
        Mapped::new(self, change)
    }

    /// Selects the rows at `indices`, in that order.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when an index is not one of a row.
    fn subset(self, indices: impl IntoIterator<Item = usize>) -> Result<Subset<Self>, Error>
    where
        Self: Sized,
    {
        Subset::new(self, indices.into_iter().collect())
    }

    /// Counts the tokens of each row: reads it once and keeps the value of `count`, 4 bytes per row. The digest includes
    /// the lengths, since batches by tokens depend on them.
    ///
    /// # Errors
    ///
    /// Those of reading a row.
    fn with_tokens(self, count: impl Fn(&Self::Item) -> usize) -> Result<WithTokens<Self>, Error>
    where
        Self: Sized,
    {
        self.with_tokens_until(&CancelToken::new(), count)
    }

    /// Does the same as [`Dataset::with_tokens`] until the token is cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::with_tokens`]; [`Error::Cancelled`].
    fn with_tokens_until(
        self,
        cancel: &CancelToken,
        count: impl Fn(&Self::Item) -> usize,
    ) -> Result<WithTokens<Self>, Error>
    where
        Self: Sized,
    {
        WithTokens::new(self, cancel, count)
    }
}

macro_rules! delegate {
    ($($pointer:ty),*) => {$(
        impl<D: Dataset + ?Sized> Dataset for $pointer {
            type Item = D::Item;

            fn len(&self) -> usize {
                (**self).len()
            }

            fn item(&self, index: usize) -> Result<Self::Item, Error> {
                (**self).item(index)
            }

            fn tokens(&self, index: usize) -> usize {
                (**self).tokens(index)
            }

            fn location(&self, index: usize) -> String {
                (**self).location(index)
            }

            fn digest(&self) -> Result<String, Error> {
                (**self).digest()
            }
        }
    )*};
}

delegate!(Arc<D>, Box<D>);

/// Returns the error for an index past the last row.
pub(super) fn missing(name: &str, index: usize, count: usize) -> Error {
    Error::Data {
        location: name.to_owned(),
        reason: format!("row {} is out of range: there are {count}", index + 1),
    }
}

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
            Error::Data { location: self.location(index), reason: links.join(": ") }
        })
    }

    fn tokens(&self, index: usize) -> usize {
        self.inner.tokens(index)
    }

    fn location(&self, index: usize) -> String {
        self.inner.location(index)
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
/// assert_eq!((odd.len(), odd.item(1)?, odd.location(1)), (2, "d", "memory row 4".to_owned()));
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
                reason: format!(
                    "a subset has the row index {index}, and the data has {}",
                    counted(count, "row")
                ),
            });
        }
        Ok(Self { inner, indices })
    }

    /// Returns the rows' indices in the underlying dataset.
    #[must_use]
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    fn underlying(&self, index: usize) -> Result<usize, Error> {
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
        self.inner.item(self.underlying(index)?)
    }

    fn tokens(&self, index: usize) -> usize {
        self.underlying(index).map_or(1, |index| self.inner.tokens(index))
    }

    fn location(&self, index: usize) -> String {
        self.underlying(index).map_or_else(
            |_| format!("subset row {}", index + 1),
            |index| self.inner.location(index),
        )
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
                    location: inner.location(index),
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

    fn location(&self, index: usize) -> String {
        self.inner.location(index)
    }

    fn digest(&self) -> Result<String, Error> {
        let mut hash = Hash::default();
        hash.piece(self.inner.digest()?.as_bytes());
        self.tokens.iter().for_each(|tokens| hash.bytes(&tokens.to_le_bytes()));
        Ok(hash.hex())
    }
}

#[cfg(test)]
mod tests;
