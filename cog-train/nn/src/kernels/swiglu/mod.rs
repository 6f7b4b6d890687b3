//! The gated linear unit of Llama's MLP (Shazeer, "GLU Variants Improve Transformer", 2020): `y = silu(gate) * up`,
//! with `silu(x) = x * sigmoid(x)`, shapes all equal, or both operands side by side in one `[.., 2n]`, the gate first.
//!
//! Backward, with `s = sigmoid(gate)`: `dup = dy * gate * s`, `dgate = dy * up * s * (1 + gate * (1 - s))`. Only the
//! operands are saved.

mod cpu;
mod cuda;
mod reference;

use super::dtypes;
use super::gpu::Gpu;
use super::reference::dispatch;
use super::tape::Node;
use candle_core::Error;

/// Of two tensors of one shape.
///
/// # Errors
///
/// candle's error when the shapes differ or the device fails.
pub(crate) fn forward(gate: &Node, up: &Node) -> Result<Node, Error> {
    if gate.dims() != up.dims() {
        let reason = format!("swiglu: a gate {:?} and an up {:?}", gate.dims(), up.dims());
        return Err(candle_core::Error::msg(reason));
    }
    dtypes::check("swiglu", ("gate", gate.tensor()), [("up", Some(up.tensor()))])?;
    if let Some(gpu) = Gpu::of([gate.tensor(), up.tensor()]) {
        return cuda::forward(gpu, [gate, up]);
    }
    dispatch([gate, up], |operands| cpu::forward(&operands), reference::forward)
}

/// Of one tensor `[.., 2n]`; the result is `[.., n]`.
///
/// # Errors
///
/// candle's error when the last dimension is odd or the device fails.
pub(crate) fn packed(x: &Node) -> Result<Node, Error> {
    if x.dims().last().is_none_or(|n| n % 2 == 1) {
        let reason = format!("swiglu_packed: {:?} does not end in two halves", x.dims());
        return Err(candle_core::Error::msg(reason));
    }
    if let Some(gpu) = Gpu::of([x.tensor()]) {
        return cuda::packed(gpu, x);
    }
    dispatch([x], |[x]| cpu::packed(&x), reference::packed)
}

#[cfg(test)]
mod tests;
