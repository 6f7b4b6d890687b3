//! The tensors of one model between transformers and llama.cpp: names, and the order of rows.

use super::architecture::{Architecture, Change, inverse, permutation};
use crate::models::config::{Config, Family};

/// The conversion of one model's tensors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conversion {
    architecture: &'static Architecture,
    heads: usize,
    kv_heads: usize,
}

impl Conversion {
    pub(crate) fn new(architecture: &'static Architecture, config: &Config) -> Self {
        let (heads, kv_heads) = match config.family() {
            Family::Decoder(config) => (config.heads, config.kv_heads),
            _ => (0, 0),
        };
        Self { architecture, heads, kv_heads }
    }

    /// The architecture.
    pub(crate) fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    /// For each row in a file, the row in transformers; `None` where they are the same.
    pub(crate) fn rows_to_file(&self, name: &str, rows: usize) -> Option<Vec<usize>> {
        match self.architecture.change(name) {
            Change::PermutedQueries => permutation(rows, self.heads),
            Change::PermutedKeys => permutation(rows, self.kv_heads),
            Change::None | Change::Offset => None,
        }
    }

    /// For each row in transformers, the row in a file.
    pub(crate) fn rows_to_model(&self, name: &str, rows: usize) -> Option<Vec<usize>> {
        self.rows_to_file(name, rows).map(|order| inverse(&order))
    }

    /// Whether a file has a tensor plus 1.
    pub(crate) fn is_offset(&self, name: &str) -> bool {
        self.architecture.change(name) == Change::Offset
    }
}

/// Puts rows of bytes into another order: `order` has the row that comes to each place.
pub(crate) fn reordered(bytes: &[u8], order: &[usize]) -> Vec<u8> {
    let width = bytes.len() / order.len().max(1);
    order.iter().flat_map(|row| &bytes[row * width..(row + 1) * width]).copied().collect()
}
