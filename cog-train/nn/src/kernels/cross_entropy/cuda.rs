//! The scores become their own gradient in one pass: only that is kept.

use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;
use candle_core::{DType, Error, Tensor};

const CROSS_ENTROPY: Kernel = kernel!("cross_entropy.cu", "cross_entropy");

pub(super) fn forward(gpu: &Gpu, logits: &Node, targets: &[u32]) -> Result<Node, Error> {
    let scores = logits.tensor().contiguous()?;
    let to = logits.handle();
    let gradient = to.map(|_| gpu.empty(scores.shape(), scores.dtype())).transpose()?;
    let losses = softmax_rows(gpu, &scores, &gpu.upload(targets)?, gradient.as_ref())?;
    let gpu = gpu.clone();
    Ok(logits.tape().result(losses.sum_all()?, [to], move |dloss, adjoints| {
        let Some(gradient) = gradient else { return Ok(()) };
        gpu::scale(&gpu, &gradient, &dloss)?;
        adjoints.give(to, gradient)
    }))
}

/// The losses of the rows of `scores`, in 32 bits. `gradient`, which may be `scores`, becomes that of their sum.
pub(crate) fn softmax_rows(
    gpu: &Gpu,
    scores: &Tensor,
    targets: &Tensor,
    gradient: Option<&Tensor>,
) -> Result<Tensor, Error> {
    let (rows, classes) = scores.dims2()?;
    let losses = gpu.empty(rows, DType::F32)?;
    let gradient: Argument<'_> = gradient.into();
    let grid = Grid::rows(rows, classes);
    call!(gpu, CROSS_ENTROPY, grid, scores, targets, gradient, &losses, classes)?;
    Ok(losses)
}
