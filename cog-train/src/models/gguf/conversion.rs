//! The tensors of one model between transformers and llama.cpp: names, and the order of rows.

use super::architecture::{Architecture, Change};
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

/// The row in transformers of each row in a file, where `heads` heads are permuted: of the two halves of a head, rows that are
/// rotated together stand side by side.
fn permutation(rows: usize, heads: usize) -> Option<Vec<usize>> {
    let width = rows.checked_div(heads)?;
    if !rows.is_multiple_of(heads) || !width.is_multiple_of(2) {
        return None;
    }
    let of = |row: usize| {
        let (head, within) = (row / width, row % width);
        head * width + within % 2 * (width / 2) + within / 2
    };
    Some((0..rows).map(of).collect())
}

/// The inverse of a permutation.
fn inverse(permutation: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; permutation.len()];
    permutation.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    /// llama.cpp's `permute`: `w.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(w.shape)`.
    ///
    /// ```python
    /// numpy.arange(12).reshape(2, 2, 3).swapaxes(1, 2).reshape(12).tolist()
    /// ```
    #[test]
    fn the_permutation_is_that_of_llama_cpp() {
        let rows = permutation(12, 2).unwrap();
        assert_eq!(rows, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        assert_eq!(inverse(&rows), [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        assert_eq!((permutation(12, 0), permutation(12, 5), permutation(6, 2)), (None, None, None));
    }
}
