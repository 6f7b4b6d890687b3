//! Convolution of planes (PyTorch's `conv2d`: a cross-correlation), with an optional bias and an optional ReLU:
//!
//! ```text
//! y[n, o, i, j] = relu(bias[o] + sum over c, u, v of x[n, c, i * stride + u * dilation - padding, j * .. + v ..]
//!                                                    * weight[o, c, u, v])
//! ```
//!
//! `x` `[N, C, H, W]`, `weight` `[O, C / groups, kh, kw]`, `bias` `[O]`, `y` `[N, O, H', W']` with
//! `H' = (H + 2 padding - dilation (kh - 1) - 1) / stride + 1`, all of one float type. With groups, the o-th group of
//! results sees the o-th group of channels only.
//!
//! The operands and, with ReLU, the result are saved for the backward pass.

mod cpu;
mod geometry;
mod piece;
mod reference;
mod unfold;

use candle_core::{Error, Tensor};

use super::dtypes;
use super::reference::dispatch;
use super::tape::Node;
use geometry::Geometry;
pub(crate) use geometry::Settings;

/// Convolves.
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub(crate) fn forward(
    x: &Node,
    weight: &Tensor,
    bias: Option<&Tensor>,
    settings: Settings,
) -> Result<Node, Error> {
    let geometry = Geometry::new(x.dims(), weight.dims(), bias.map(Tensor::dims), settings)?;
    dtypes::check("conv2d", ("x", x.tensor()), [("weight", Some(weight)), ("bias", bias)])?;
    let weight = x.leaf(weight);
    match bias {
        Some(bias) => dispatch(
            [x, &weight, &x.leaf(bias)],
            |[x, weight, bias]| cpu::forward(&x, &weight, Some(&bias), geometry),
            move |[x, weight, bias]| reference::forward(x, weight, Some(bias), &geometry),
        ),
        None => dispatch(
            [x, &weight],
            |[x, weight]| cpu::forward(&x, &weight, None, geometry),
            move |[x, weight]| reference::forward(x, weight, None, &geometry),
        ),
    }
}

#[cfg(test)]
mod tests;
