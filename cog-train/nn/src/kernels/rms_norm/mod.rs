//! Normalization of rows by their root mean square (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019;
//! PyTorch's `rms_norm`):
//!
//! ```text
//! y = x / sqrt(mean(x^2) + epsilon) * (offset + weight)
//! ```
//!
//! `x` and `y` `[.., n]`, `weight` `[n]`, all of one float type. Backward, with `r = 1 / sqrt(..)`, `h = x * r` and
//! `g = dy * weight`: `dx = (g - h * mean(g * h)) * r`, `dweight = sum(dy * h)`.

mod cpu;
mod cuda;
mod reference;

use candle_core::{Error, Tensor};

use super::dtypes;
use super::gpu::Gpu;
use super::reference::{dispatch, fits};
use super::tape::Node;
use super::{elementwise, host};

/// Normalizes rows.
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub(crate) fn forward(x: &Node, weight: &Tensor, offset: f64, epsilon: f64) -> Result<Node, Error> {
    let n = x.dims().last().copied().unwrap_or(0);
    if weight.dims() != [n] {
        let reason = format!("rms_norm: rows of {n} and a weight {:?}", weight.dims());
        return Err(candle_core::Error::msg(reason));
    }
    dtypes::check("rms_norm", ("x", x.tensor()), [("weight", Some(weight))])?;
    let mut weight = x.leaf(weight);
    if offset != 0.0 {
        // Of a weight in 16 bits, one plus it is rounded.
        let wide = if fits(weight.tensor()) { weight.map(host::contiguous)? } else { weight };
        weight = elementwise::affine(&wide, 1.0, offset)?;
    }
    if let Some(gpu) = Gpu::of([x.tensor(), weight.tensor()]).filter(|_| n <= cuda::LONGEST) {
        return cuda::forward(gpu, [x, &weight], epsilon);
    }
    dispatch(
        [x, &weight],
        |operands| cpu::forward(operands, epsilon),
        move |operands| reference::forward(operands, epsilon),
    )
}

#[cfg(test)]
mod tests;
