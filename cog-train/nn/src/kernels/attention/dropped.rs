//! Dropout of attention weights.

use std::ops::Range;

use candle_core::{DType, Device, Error, Tensor};

use super::geometry::Geometry;
use crate::kernels::dropout::{GROUP, Mask, masked};
use crate::kernels::simd::simd;
use crate::kernels::tape::trace;

/// The weights that are set to zero: a function of a random stream, and of the row of the batch, the head, the query and the key.
/// They are those of dropout on weights `[B, H, T, S]`, whose rows are filled up to whole groups.
#[derive(Debug, Clone)]
pub(super) struct Dropped {
    mask: Mask,
    heads: usize,
    queries: usize,
    /// Of one row of weights.
    groups: usize,
}

impl Dropped {
    pub(super) fn new(mask: Mask, geometry: &Geometry) -> Self {
        let Geometry { heads, queries, keys, .. } = *geometry;
        Self { mask, heads, queries, groups: keys.div_ceil(GROUP) }
    }

    /// Writes the factors of a block of weights of a head, keys as rows and queries as columns. The first key is that of a
    /// group.
    pub(super) fn write<const QUERIES: usize>(
        &self,
        [row, head]: [usize; 2],
        queries: &Range<usize>,
        keys: &Range<usize>,
        factors: &mut [f32],
    ) {
        debug_assert!(keys.start.is_multiple_of(GROUP), "the first key begins a group");
        for (column, query) in queries.clone().enumerate() {
            let of_row = ((row * self.heads + head) * self.queries + query) * self.groups;
            draw(&self.mask, of_row + keys.start / GROUP, [column, QUERIES], factors);
        }
    }

    /// Makes the factors of all weights, `[B, H, T, S]`.
    pub(super) fn tensor(
        &self,
        geometry: &Geometry,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        let &Geometry { batch, heads, queries, keys, .. } = geometry;
        let shape = (batch, heads, queries, self.groups * GROUP);
        let ones = Tensor::ones(shape, DType::F32, device)?;
        let factors = trace([&ones], |[ones]| masked(&ones, self.mask.clone()))?;
        factors.narrow(3, 0, keys)?.to_dtype(dtype)
    }
}

simd! {
    /// Writes the factors of one query into its column.
    fn draw(mask: &Mask, first: usize, column: [usize; 2], factors: &mut [f32]) {
        let [column, stride] = column;
        for (group, rows) in factors.chunks_mut(GROUP * stride).enumerate() {
            let drawn = mask.factors(first + group);
            for (row, factor) in rows.chunks_exact_mut(stride).zip(drawn) {
                row[column] = factor;
            }
        }
    }

    /// Multiplies the elements of a block.
    pub(super) fn multiply(block: &mut [f32], factors: &[f32]) {
        for (element, factor) in block.iter_mut().zip(factors) {
            *element *= *factor;
        }
    }
}
