//! The sizes of an attention, and the function from products to scores.

/// The sizes of the operands, and the function from the product of a query and a key to their score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    /// Rows of the batch, each with a mask of its own.
    pub(super) batch: usize,
    /// Positions of queries.
    pub(super) queries: usize,
    /// Positions of keys.
    pub(super) keys: usize,
    /// Of queries.
    pub(super) heads: usize,
    /// Of keys and of values.
    pub(super) kv_heads: usize,
    /// Elements of one query, key or value.
    pub(super) width: usize,
    /// The factor of the products of queries and keys.
    pub(super) scale: f64,
    /// The bound of the scores, which become `softcap * tanh(score / softcap)`.
    pub(super) softcap: Option<f64>,
}

impl Geometry {
    /// Returns the heads of queries that share one of keys.
    pub(super) fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Returns the positions before the first query: the queries are the last ones.
    pub(super) fn earlier(&self) -> usize {
        self.keys.saturating_sub(self.queries)
    }
}

/// Returns the factor of scaled dot-product attention, `1 / sqrt(hd)`.
#[expect(clippy::cast_precision_loss, reason = "heads are far narrower than 2^53")]
pub(super) fn default_scale(width: usize) -> f64 {
    1.0 / (width as f64).sqrt()
}
