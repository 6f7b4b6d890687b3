//! The scores are overwritten by their gradient in one pass: only that is saved.
#![expect(unsafe_code, reason = "a kernel is declared")]

use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;
use candle_core::{DType, Error, Tensor};

// SAFETY: `softmax_rows` passes scores and gradient `[rows, classes]`, contiguous and of the type of the GPU, and a
// target and a loss for each row; a target is below `classes` or ignored.
const CROSS_ENTROPY: Kernel = unsafe { kernel!("cross_entropy.cu", "cross_entropy") };

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

/// Returns the losses of the rows of `scores`, in 32 bits, and writes the gradient of their sum to `gradient`, which may be
/// `scores`. The targets are [checked](super::checked).
pub(crate) fn softmax_rows(
    gpu: &Gpu,
    scores: &Tensor,
    targets: &Tensor,
    gradient: Option<&Tensor>,
) -> Result<Tensor, Error> {
    let (rows, classes) = scores.dims2()?;
    let fits = gpu.supports(scores)
        && scores.is_contiguous()
        && targets.dtype() == DType::U32
        && targets.dims() == [rows]
        && gradient.is_none_or(|gradient| {
            gpu.supports(gradient) && gradient.is_contiguous() && gradient.dims() == scores.dims()
        });
    gpu::ensure(fits, &CROSS_ENTROPY)?;
    let losses = gpu.empty(rows, DType::F32)?;
    let gradient: Argument<'_> = gradient.into();
    let grid = Grid::rows(rows, classes);
    call!(gpu, CROSS_ENTROPY, grid, scores, targets, gradient, &losses, classes)?;
    Ok(losses)
}
