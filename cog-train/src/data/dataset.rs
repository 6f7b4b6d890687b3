//! Rows that can be read in any order: the trait [`Dataset`], and [`Rows`] in memory.

use std::sync::Arc;

use serde::Serialize;

use super::adapt::{Mapped, Subset, WithTokens};
use super::hash::Hash;
use crate::error::Error;
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
/// assert_eq!(lengths.place(2), "words row 3");
/// # Ok::<(), cog_train::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// One row.
    type Item: Send + 'static;

    /// How many rows there are.
    fn len(&self) -> usize;

    /// Reads the row at `index`, counted from 0. The same index gives the same row, always.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with the row's place when it cannot be used or is not there.
    fn item(&self, index: usize) -> Result<Self::Item, Error>;

    /// How much the row counts for in a batch by tokens, and what rows are sorted by there. 1 unless told; where it is 1 of
    /// every row, the lengths of rows count as unknown, and no rate and no plan speaks of tokens.
    fn tokens(&self, _index: usize) -> usize {
        1
    }

    /// Where the row stands, for people: `train.jsonl line 17`. Errors name it so.
    fn place(&self, index: usize) -> String;

    /// SHA-256 of the content in 64 hexadecimal digits. A resumed run compares it: it must see the same data.
    ///
    /// # Errors
    ///
    /// Those of reading the rows, where the digest is not there since the opening.
    fn digest(&self) -> Result<String, Error>;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// These rows, each passed through `change` when it is read. What `change` returns as an error becomes
    /// [`Error::Data`] with the row's place; the digest stays that of the rows underneath.
    fn map<U, F>(self, change: F) -> Mapped<Self, F>
    where
        Self: Sized,
        U: Send + 'static,
        F: Fn(Self::Item) -> anyhow::Result<U> + Send + Sync,
    {
        Mapped::new(self, change)
    }

    /// The rows at `indices`, in that order.
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

    /// These rows with their lengths: reads each once and keeps what `count` says of it, 4 bytes a row. The digest
    /// takes the lengths in, since batches by tokens are made of them.
    ///
    /// # Errors
    ///
    /// What reading a row returns.
    fn with_tokens(self, count: impl Fn(&Self::Item) -> usize) -> Result<WithTokens<Self>, Error>
    where
        Self: Sized,
    {
        self.with_tokens_until(&CancelToken::new(), count)
    }

    /// [`Dataset::with_tokens`], which ends when the token is cancelled: after the row that it is at.
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

macro_rules! pass_on {
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

            fn place(&self, index: usize) -> String {
                (**self).place(index)
            }

            fn digest(&self) -> Result<String, Error> {
                (**self).digest()
            }
        }
    )*};
}

pass_on!(Arc<D>, Box<D>);

/// What is said of an index that no row has.
pub(super) fn missing(name: &str, index: usize, count: usize) -> Error {
    Error::Data {
        place: name.to_owned(),
        reason: format!("row {} was asked for, and there are {count}", index + 1),
    }
}

/// Writes a row for the digest.
type Write<T> = Box<dyn Fn(&T) -> Result<Vec<u8>, String> + Send + Sync>;

/// Rows in memory.
///
/// The example of [`Dataset`] makes some.
pub struct Rows<T> {
    items: Vec<T>,
    name: String,
    write: Write<T>,
}

impl<T: Clone + Send + Sync + 'static> Rows<T> {
    /// Rows whose digest is made of what serde writes of each, as JSON.
    #[must_use]
    pub fn new(rows: Vec<T>) -> Self
    where
        T: Serialize,
    {
        Self::made(rows, |row| serde_json::to_vec(row).map_err(|error| error.to_string()))
    }

    /// Rows whose digest is made of the bytes that `write` gives for each.
    #[must_use]
    pub fn hashed(rows: Vec<T>, write: impl Fn(&T) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::made(rows, move |row| Ok(write(row)))
    }

    fn made(
        rows: Vec<T>,
        write: impl Fn(&T) -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { items: rows, name: "memory".to_owned(), write: Box::new(write) }
    }

    /// With a name for errors, where `memory` is not enough.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }
}

impl<T: Clone + Send + Sync + 'static> Dataset for Rows<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn item(&self, index: usize) -> Result<T, Error> {
        let row = self.items.get(index).cloned();
        row.ok_or_else(|| missing(&self.name, index, self.items.len()))
    }

    fn place(&self, index: usize) -> String {
        format!("{} row {}", self.name, index + 1)
    }

    fn digest(&self) -> Result<String, Error> {
        let mut hash = Hash::default();
        for (index, row) in self.items.iter().enumerate() {
            let written = (self.write)(row)
                .map_err(|reason| Error::Data { place: self.place(index), reason })?;
            hash.piece(&written);
        }
        Ok(hash.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_places_and_a_digest_of_their_content() {
        let rows = Rows::new(vec!["ab", "c"]).named("words");
        assert_eq!((rows.len(), rows.tokens(1), rows.item(1).unwrap()), (2, 1, "c"));
        assert_eq!(rows.place(0), "words row 1");
        assert_eq!(
            rows.item(2).unwrap_err().to_string(),
            "data `words`: row 3 was asked for, and there are 2"
        );
        let digest = rows.digest().unwrap();
        assert_eq!(digest.len(), 64);
        assert_eq!(digest, Rows::new(vec!["ab", "c"]).digest().unwrap());
        assert_ne!(digest, Rows::new(vec!["a", "bc"]).digest().unwrap());
        let hashed = |rows: Vec<u8>| Rows::hashed(rows, |row| vec![*row]).digest().unwrap();
        assert_ne!(hashed(vec![1, 2]), hashed(vec![2, 1]));
    }

    #[test]
    fn pointers_to_datasets_are_datasets() {
        let shared = Arc::new(Rows::new(vec![1, 2, 3]));
        let boxed: Box<dyn Dataset<Item = i32>> = Box::new(shared.clone().map(|row| Ok(row * 2)));
        assert_eq!((boxed.len(), boxed.item(2).unwrap(), shared.item(2).unwrap()), (3, 6, 3));
        assert_eq!(boxed.digest().unwrap(), shared.digest().unwrap());
    }

    #[test]
    fn a_row_that_cannot_be_written_is_named() {
        let rows = Rows::new(vec![std::collections::BTreeMap::from([([1u8, 2], 3)])]);
        assert!(rows.digest().unwrap_err().to_string().starts_with("data `memory row 1`: "));
    }
}
