//! Scores, their softmax and three products, many rows at a time.

use crate::kernels::cross_entropy::softmax_rows;
use crate::kernels::gpu::{self, Gpu};
use crate::kernels::tape::{Node, reusable_gradient};
use candle_core::{DType, Error, Tensor};

/// Scores that are computed at once: enough for products at full speed.
const SCORES: usize = 64 << 20;

/// `parameter` is the weight outside of the trace.
pub(super) fn forward(
    gpu: &Gpu,
    h: &Node,
    (parameter, weight): (&Tensor, &Node),
    targets: &[u32],
    smoothing: f64,
) -> Result<Node, Error> {
    let to = [h.handle(), weight.handle()];
    let (classes, d) = weight.tensor().dims2()?;
    let (flat, w) = (h.tensor().reshape((targets.len(), d))?, weight.tensor().contiguous()?);
    let allocate = |_| match reusable_gradient(parameter, (classes, d)) {
        Some(reused) => Ok(reused),
        None => gpu.empty((classes, d), DType::F32),
    };
    let of_weight = to[1].map(allocate).transpose()?;
    let most = (SCORES / classes.max(1)).max(256);
    let (mut losses, mut of_h) = (Vec::new(), Vec::new());
    for (at, targets) in targets.chunks(most).enumerate() {
        let h = flat.narrow(0, at * most, targets.len())?.contiguous()?;
        let scores = h.matmul(&w.t()?)?;
        let gradient = (to != [None; 2]).then_some(&scores);
        let targets = gpu.upload(targets)?;
        losses.push(softmax_rows(gpu, &scores, &targets, smoothing, gradient)?.sum_all()?);
        if to[0].is_some() {
            of_h.push(scores.matmul(&w)?);
        }
        if let Some(of_weight) = &of_weight {
            gpu.product(of_weight, at > 0, [&scores, &h], 1.0)?;
        }
    }
    let loss = Tensor::stack(&losses, 0)?.sum_all()?;
    let of_h = to[0].map(|_| Tensor::cat(&of_h, 0)).transpose()?;
    let (gpu, wide) = (gpu.clone(), gpu.wide());
    Ok(h.tape().result(loss, to, move |dloss, adjoints| {
        if let Some(of_h) = of_h {
            gpu::scale(&gpu, &of_h, &dloss)?;
            adjoints.give(to[0], of_h)?;
        }
        if let Some(of_weight) = of_weight {
            gpu::scale(&wide, &of_weight, &dloss)?;
            adjoints.give(to[1], of_weight)?;
        }
        Ok(())
    }))
}
