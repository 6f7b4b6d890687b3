//! One pass over memory each way; the backward pass is the forward pass on the gradient.

use candle_core::{Error, Tensor};
use rayon::prelude::*;

use super::{BLOCKS, GROUP, Mask};
use crate::kernels::host;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;

/// Groups that one thread takes at once.
const CHUNK: usize = 256;

pub(super) fn forward(x: &Node, mask: Mask) -> Result<Node, Error> {
    let to = x.handle();
    let y = masked(x.tensor(), &mask)?;
    Ok(x.tape()
        .result(y, [to], move |gradient, adjoints| adjoints.give(to, masked(&gradient, &mask)?)))
}

pub(super) fn masked(x: &Tensor, mask: &Mask) -> Result<Tensor, Error> {
    host::read([x], |[numbers]| {
        host::make(x.shape(), |y| {
            let chunks = y.par_chunks_mut(CHUNK * GROUP).zip(numbers.par_chunks(CHUNK * GROUP));
            chunks.enumerate().for_each(|(at, (y, x))| multiply(mask, at * CHUNK, x, y));
        })
    })?
}

simd! {
    /// Numbers of groups from `first` on.
    fn multiply(mask: &Mask, first: usize, x: &[f32], y: &mut [f32]) {
        #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
        let (least, scale) = (mask.least, mask.scale as f32);
        for (group, (y, x)) in y.chunks_mut(GROUP).zip(x.chunks(GROUP)).enumerate() {
            let words = mask.words(first + group);
            let parts = y.chunks_mut(BLOCKS).zip(x.chunks(BLOCKS));
            for ((y, x), words) in parts.zip(&words) {
                for ((y, x), word) in y.iter_mut().zip(x).zip(words) {
                    // A product, as PyTorch's: what is not finite stays undefined where it is dropped.
                    *y = *x * if *word < least { 0.0 } else { scale };
                }
            }
        }
    }
}
