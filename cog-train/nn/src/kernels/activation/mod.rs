//! Activation functions, elementwise: `y = f(x)` of any shape, backward `dx = dy * f'(x)`.
//!
//! Only `x` is saved for the backward pass, and for [`Relu`](Activation::Relu) only `y`, which the next operation saves too.

mod cpu;
mod cuda;
mod curves;
pub(crate) mod reference;

use super::gpu::Gpu;
use super::reference::dispatch;
use super::tape::Node;
use candle_core::Error;

/// The function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))` (Hendrycks and Gimpel, "Gaussian Error Linear Units",
    /// 2016, section 2).
    Gelu,
    /// `x * P(X <= x)` of a normal X: the exact form of the same paper.
    GeluErf,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `max(x, 0)`, with slope 0 at 0.
    Relu,
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
}

/// `y = f(x)`.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn forward(x: &Node, activation: Activation) -> Result<Node, Error> {
    if let Some(gpu) = Gpu::of([x.tensor()]) {
        return cuda::forward(gpu, x, activation);
    }
    dispatch([x], |[x]| cpu::forward(&x, activation), move |[x]| reference::forward(x, activation))
}

#[cfg(test)]
mod tests;
