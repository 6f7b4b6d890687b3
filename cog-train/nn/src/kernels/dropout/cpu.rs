//! One pass over memory each way; the backward pass is the forward pass on the gradient.

use candle_core::{Error, Tensor};
use rayon::prelude::*;

use super::{GROUP, Mask};
use crate::kernels::host;
use crate::kernels::output::Output;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;

/// Groups of one task.
const CHUNK: usize = 256;

pub(super) fn forward(x: &Node, mask: Mask) -> Result<Node, Error> {
    let to = x.handle();
    let y = masked(x.tensor(), &mask)?;
    Ok(x.tape()
        .result(y, [to], move |gradient, adjoints| adjoints.give(to, masked(&gradient, &mask)?)))
}

pub(super) fn masked(x: &Tensor, mask: &Mask) -> Result<Tensor, Error> {
    host::read([x], |[elements]| {
        host::make(x.shape(), |y| {
            let chunks = y.par_chunks(CHUNK * GROUP).zip(elements.par_chunks(CHUNK * GROUP));
            chunks.enumerate().for_each(|(at, (y, x))| multiply(mask, at * CHUNK, x, y));
        })
    })?
}

simd! {
    /// Drops elements of groups, the first of which has the index `first`.
    fn multiply(mask: &Mask, first: usize, x: &[f32], y: Output<'_>) {
        let mut y = y;
        #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
        let (least, scale) = (mask.least, mask.scale as f32);
        for (group, x) in x.chunks(GROUP).enumerate() {
            let words = mask.words(first + group);
            // A product, as PyTorch's: an infinite or undefined element that is dropped is undefined.
            y.append_map2(x, words.as_flattened(), |x, word| x * if word < least { 0.0 } else { scale });
        }
    }
}
