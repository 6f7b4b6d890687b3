//! Layer normalization over the last dimension (Ba, Kiros and Hinton, "Layer Normalization", 2016; PyTorch's
//! `layer_norm`):
//!
//! ```text
//! y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * weight + bias
//! ```
//!
//! `x` and `y` `[.., n]`, `weight` and `bias` `[n]`, all of one float type. Backward, with `h` the normalized row and
//! `g = dy * weight`: `dx = (g - mean(g) - h * mean(g * h)) / sqrt(..)`, `dweight = sum(dy * h)`, `dbias = sum(dy)`.

mod cpu;
mod cuda;
mod reference;

use candle_core::{Error, Tensor};

use super::dtypes;
use super::gpu::Gpu;
use super::reference::dispatch;
use super::tape::Node;

/// Normalizes rows.
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub(crate) fn forward(
    x: &Node,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<Node, Error> {
    let n = x.dims().last().copied().unwrap_or(0);
    if weight.dims() != [n] || bias.dims() != [n] {
        let (w, b) = (weight.dims(), bias.dims());
        let reason = format!("layer_norm: rows of {n}, a weight {w:?} and a bias {b:?}");
        return Err(candle_core::Error::msg(reason));
    }
    let others = [("weight", Some(weight)), ("bias", Some(bias))];
    dtypes::check("layer_norm", ("x", x.tensor()), others)?;
    let (weight, bias) = (x.leaf(weight), x.leaf(bias));
    let operands = [x, &weight, &bias];
    let gpu = Gpu::of(operands.map(Node::tensor)).filter(|_| n <= cuda::LONGEST);
    if let Some(gpu) = gpu {
        return cuda::forward(gpu, operands, epsilon);
    }
    dispatch(
        operands,
        |operands| cpu::forward(operands, epsilon),
        move |operands| reference::forward(operands, epsilon),
    )
}

#[cfg(test)]
mod tests;
