//! One pass over memory each way; the backward pass is the forward pass on the gradient.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{Error, Tensor};

use super::{BLOCKS, GROUP, Mask};
use crate::kernels::gpu::{Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;

// SAFETY: `masked` passes a contiguous operand and a result of `count` elements, both of the type of the GPU.
const DROPOUT: Kernel = unsafe { kernel!("dropout.cu", "dropout") };

/// Threads of a block, each of which draws the words of four elements.
const THREADS: usize = 256;

pub(super) fn forward(gpu: Gpu, x: &Node, mask: Mask) -> Result<Node, Error> {
    let (to, dtype) = (x.handle(), x.tensor().dtype());
    let y = masked(&gpu, x.tensor(), &mask)?;
    Ok(x.tape().result(y, [to], move |dy, adjoints| {
        adjoints.give(to, masked(&gpu, &dy.to_dtype(dtype)?, &mask)?)
    }))
}

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
fn masked(gpu: &Gpu, x: &Tensor, mask: &Mask) -> Result<Tensor, Error> {
    let x = x.contiguous()?;
    let y = gpu.empty(x.shape(), x.dtype())?;
    let count = x.elem_count();
    let draws = count.div_ceil(GROUP) * BLOCKS;
    let grid = Grid { blocks: [draws.div_ceil(THREADS), 1, 1], threads: THREADS, shared: 0 };
    let ([block, low, high, purpose], [key0, key1]) = mask.stream.counter_and_key();
    let (least, scale) = (mask.least, mask.scale as f32);
    call!(gpu, DROPOUT, grid, &x, &y, count, block, low, high, purpose, key0, key1, least, scale)?;
    Ok(y)
}
