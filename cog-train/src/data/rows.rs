//! Rows in memory.

use serde::Serialize;

use super::dataset::{Dataset, missing};
use super::hash::Hash;
use crate::error::Error;

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

    fn location(&self, index: usize) -> String {
        format!("{} row {}", self.name, index + 1)
    }

    fn digest(&self) -> Result<String, Error> {
        let mut hash = Hash::default();
        for (index, row) in self.items.iter().enumerate() {
            let written = (self.write)(row)
                .map_err(|reason| Error::Data { location: self.location(index), reason })?;
            hash.piece(&written);
        }
        Ok(hash.hex())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn rows_have_places_and_a_digest_of_their_content() {
        let rows = Rows::new(vec!["ab", "c"]).named("words");
        assert_eq!((rows.len(), rows.tokens(1), rows.item(1).unwrap()), (2, 1, "c"));
        assert_eq!(rows.location(0), "words row 1");
        assert_eq!(
            rows.item(2).unwrap_err().to_string(),
            "data `words`: row 3 is out of range: there are 2"
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
