//! The scores are overwritten by their gradient in one pass: only that is saved.
#![expect(unsafe_code, reason = "a kernel is declared")]

use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;
use candle_core::{DType, Error, Tensor};

// SAFETY: `softmax_rows` passes scores and gradient `[rows, classes]`, contiguous and of the type of the GPU, and a
// target and a loss for each row; a target is below `classes` or ignored.
const CROSS_ENTROPY: Kernel = unsafe { kernel!("cross_entropy.cu", "cross_entropy") };

pub(super) fn forward(
    gpu: &Gpu,
    logits: &Node,
    targets: &[u32],
    smoothing: f64,
) -> Result<Node, Error> {
    let scores = logits.tensor().contiguous()?;
    let to = logits.handle();
    let gradient = to.map(|_| gpu.empty(scores.shape(), scores.dtype())).transpose()?;
    let targets = gpu.upload(targets)?;
    let losses = softmax_rows(gpu, &scores, &targets, smoothing, gradient.as_ref())?;
    let gpu = gpu.clone();
    Ok(logits.tape().result(losses.sum_all()?, [to], move |dloss, adjoints| {
        let Some(gradient) = gradient else { return Ok(()) };
        gpu::scale(&gpu, &gradient, &dloss)?;
        adjoints.give(to, gradient)
    }))
}

/// Returns the losses of the rows of `scores` against smoothed targets, in 32 bits, and writes the gradient of their sum to `gradient`, which may be
/// `scores`. The targets are [checked](super::checked).
pub(crate) fn softmax_rows(
    gpu: &Gpu,
    scores: &Tensor,
    targets: &Tensor,
    smoothing: f64,
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
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "shares of 32 bits"
    )]
    let (own, spread) = ((1.0 - smoothing) as f32, (smoothing / classes as f64) as f32);
    call!(gpu, CROSS_ENTROPY, grid, scores, targets, gradient, &losses, classes, own, spread)?;
    Ok(losses)
}
