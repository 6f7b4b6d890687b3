//! The rank of the document of a query.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::scores::scored;
use super::{bits, float};
use crate::error::Error;

/// The ranks of the documents that queries are to find: recall at `k` and the mean reciprocal rank.
///
/// A document that scores the same as another one is behind it: a model that embeds all texts alike finds nothing. Each query has one
/// relevant document, so that recall at `k` is the share of queries that find it among their `k` best (sentence-transformers' `accuracy@k` too).
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::metrics::Retrieval;
///
/// let scores = Tensor::new(&[[0.9f32, 0.1, 0.2], [0.3, 0.2, 0.1]], &Device::Cpu)?;
/// let relevant = Tensor::new(&[0u32, 1], &Device::Cpu)?;
/// let found = Retrieval::of(&scores, &relevant, &[1, 2])?;
/// assert_eq!((found.recall(1), found.recall(2)), (0.5, 1.0));
/// assert_eq!(found.mean_reciprocal_rank(), (1.0 + 1.0 / 2.0) / 2.0);
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// Queries whose document is among the `k` best, by `k`.
    hits: BTreeMap<usize, u64>,
    #[serde(with = "bits")]
    reciprocal_ranks: f64,
    queries: u64,
}

impl Retrieval {
    /// Counts the queries of a batch. `scores` are `[queries, documents]` of floats, higher for documents that fit better: a product of
    /// embeddings, or [`cosine_similarity`](crate::models::cosine_similarity). `relevant` are `[queries]` of integers, the document of each
    /// query. `cutoffs` are the `k` of recall.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the shapes do not fit, a document is not there, or the device fails.
    pub fn of(scores: &Tensor, relevant: &Tensor, cutoffs: &[usize]) -> Result<Self, Error> {
        let mut hits: BTreeMap<usize, u64> = cutoffs.iter().map(|k| (*k, 0)).collect();
        let mut reciprocal_ranks = 0.0;
        let (rows, relevant) = scored(scores, relevant, "document")?;
        for (row, own) in rows.iter().zip(relevant) {
            // Nothing is behind what is no number, and the document is not behind itself.
            let behind = row.iter().filter(|other| **other < row[own]).count();
            let rank = row.len() - behind;
            for (k, hits) in &mut hits {
                *hits += u64::from(rank <= *k);
            }
            reciprocal_ranks += 1.0 / float(rank as u64);
        }
        Ok(Self { hits, reciprocal_ranks, queries: rows.len() as u64 })
    }

    /// Adds the counts of another batch of the same cutoffs.
    pub fn add(&mut self, other: &Self) {
        for (k, more) in &other.hits {
            *self.hits.entry(*k).or_default() += more;
        }
        self.reciprocal_ranks += other.reciprocal_ranks;
        self.queries += other.queries;
    }

    /// The `k` of recall, ascending.
    pub fn cutoffs(&self) -> impl Iterator<Item = usize> {
        self.hits.keys().copied()
    }

    /// Returns the share of queries whose document is among the `k` best; NaN without queries, and for a `k` that was not counted.
    #[must_use]
    pub fn recall(&self, k: usize) -> f64 {
        self.hits.get(&k).map_or(f64::NAN, |hits| float(*hits) / float(self.queries))
    }

    /// Returns the mean of one over the rank of the document (MRR); NaN without queries.
    #[must_use]
    pub fn mean_reciprocal_rank(&self) -> f64 {
        self.reciprocal_ranks / float(self.queries)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::metrics::scores::example;

    /// ```python
    /// # pip install scikit-learn
    /// import numpy as np
    /// from sklearn.metrics import label_ranking_average_precision_score  # of one relevant document: the mean reciprocal rank
    /// scores = [[.1, .5, .3, .1], [.4, .3, .2, .1], [.1, .2, .3, .4], [.25, .3, .35, .1], [.1, .7, .15, .05]]
    /// print(label_ranking_average_precision_score(np.eye(4)[[2, 0, 1, 3, 1]], scores))
    /// ```
    #[test]
    fn the_mean_reciprocal_rank_equals_scikit_learns_and_adds_up_over_batches() {
        let of = |range: std::ops::Range<usize>| {
            let (scores, relevant) = example(range);
            Retrieval::of(&scores, &relevant, &[1, 3]).unwrap()
        };
        let mut all = of(0..3);
        all.add(&of(3..5));
        assert!((all.mean_reciprocal_rank() - 0.616_666_666_666_666_6).abs() < 1e-12);
        assert!((all.recall(1) - 0.4).abs() < 1e-12 && (all.recall(3) - 0.8).abs() < 1e-12);
        assert!(all.recall(2).is_nan(), "it was not counted");
    }

    /// Neither equal scores nor those that are no numbers are found.
    #[test]
    fn equal_scores_and_nan_are_no_hits() {
        for value in [0.5, f32::NAN] {
            let scores = Tensor::full(value, (3, 3), &Device::Cpu).unwrap();
            let own = Tensor::new(&[0u32, 1, 2], &Device::Cpu).unwrap();
            let found = Retrieval::of(&scores, &own, &[2]).unwrap();
            assert_eq!(found.recall(2).to_bits(), 0f64.to_bits());
        }
    }

    #[test]
    fn documents_that_are_not_there_are_errors() {
        let scores = Tensor::new(&[[0f32, 1.0]], &Device::Cpu).unwrap();
        for (relevant, expected) in [
            (&[2i64][..], "the document 2 is not below 2"),
            (&[-1], "the document -1 is not below 2"),
            (&[0, 1], "1 row of scores and 2 documents"),
        ] {
            let relevant = Tensor::new(relevant, &Device::Cpu).unwrap();
            let error = Retrieval::of(&scores, &relevant, &[1]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
