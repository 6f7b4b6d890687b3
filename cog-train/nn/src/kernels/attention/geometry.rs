//! The sizes of an attention.

/// The sizes of the operands.
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
}

impl Geometry {
    /// Returns the heads of queries that share one of keys.
    pub(super) fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Returns the positions before the first query: with a causal mask the queries are the last ones.
    pub(super) fn earlier(&self) -> usize {
        self.keys.saturating_sub(self.queries)
    }

    /// Returns the factor of the products of queries and keys.
    #[expect(clippy::cast_precision_loss, reason = "heads are far narrower than 2^53")]
    pub(super) fn scale(&self) -> f64 {
        1.0 / (self.width as f64).sqrt()
    }
}
