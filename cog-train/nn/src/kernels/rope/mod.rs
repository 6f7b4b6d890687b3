//! Rotary position embedding (Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021), with
//! pairs half a head apart, as in GPT-NeoX and Hugging Face's Llama:
//!
//! ```text
//! y[i] = x[i] cos[p, i] - x[i + hd/2] sin[p, i]
//! y[i + hd/2] = x[i + hd/2] cos[p, i] + x[i] sin[p, i]        for i < hd/2
//! ```
//!
//! `x` and `y` `[B, T, H, hd]`, `cos` and `sin` `[P, hd/2]`, constants. `p` is the position in the row, or
//! `positions[t]` or `positions[b, t]`. Backward: the rotation by minus the angle.
//!
//! [`packed`] takes `[B, T, n hd]` and rotates the first heads of each row alone: queries and keys, but not values.

mod cpu;
mod cuda;
mod reference;

use candle_core::{DType, Error, Tensor};

use super::gpu::Gpu;
use super::reference::dispatch;
use super::tape::Node;

/// The sizes, and the positions of the rows.
#[derive(Debug, Clone)]
struct Rotation {
    batch: usize,
    length: usize,
    /// In a row.
    heads: usize,
    /// The first ones, which are rotated.
    rotated: usize,
    /// Elements of a head.
    width: usize,
    /// Shared by all rows of the batch, or of each.
    positions: Vec<u32>,
}

/// Rotates every head.
///
/// # Errors
///
/// candle's error when the shapes do not fit, a position is beyond the tables, or the device fails.
pub(crate) fn forward(
    x: &Node,
    cos: &Tensor,
    sin: &Tensor,
    positions: Option<&Tensor>,
) -> Result<Node, Error> {
    let &[batch, length, heads, width] = x.dims() else {
        return Err(refused(&format!("not `[B, T, H, hd]`: {:?}", x.dims())));
    };
    let positions = positions_of(positions, batch, length)?;
    rotate(x, cos, sin, Rotation { batch, length, heads, rotated: heads, width, positions })
}

/// Rotates the first heads of each row.
///
/// # Errors
///
/// candle's error when the shapes do not fit, a position is beyond the tables, or the device fails.
pub(crate) fn packed(
    x: &Node,
    rotated: usize,
    cos: &Tensor,
    sin: &Tensor,
    positions: Option<&Tensor>,
) -> Result<Node, Error> {
    let width = 2 * cos.dims().last().copied().unwrap_or(0);
    let &[batch, length, row] = x.dims() else {
        return Err(refused(&format!("not `[B, T, n hd]`: {:?}", x.dims())));
    };
    if width == 0 || row % width != 0 || rotated * width > row {
        return Err(refused(&format!(
            "a row of {row} does not hold heads of {width}, with {rotated} to rotate"
        )));
    }
    let positions = positions_of(positions, batch, length)?;
    rotate(x, cos, sin, Rotation { batch, length, heads: row / width, rotated, width, positions })
}

fn rotate(x: &Node, cos: &Tensor, sin: &Tensor, rotation: Rotation) -> Result<Node, Error> {
    let count = cos.dims().first().copied().unwrap_or(0);
    let width = rotation.width;
    if !width.is_multiple_of(2) || cos.dims() != [count, width / 2] || sin.dims() != cos.dims() {
        let (cos, sin) = (cos.dims(), sin.dims());
        return Err(refused(&format!("heads of {width}, cosines {cos:?} and sines {sin:?}")));
    }
    if let Some(position) = rotation.positions.iter().find(|at| **at as usize >= count) {
        return Err(refused(&format!("position {position}, and tables of {count}")));
    }
    if let Some(gpu) = Gpu::of([x.tensor()]) {
        return cuda::forward(gpu, x, [cos, sin], rotation);
    }
    let reference = rotation.clone();
    dispatch(
        [x, &x.constant(cos.detach()), &x.constant(sin.detach())],
        |operands| cpu::forward(operands, rotation),
        move |operands| reference::forward(operands, &reference),
    )
}

fn positions_of(
    positions: Option<&Tensor>,
    batch: usize,
    length: usize,
) -> Result<Vec<u32>, Error> {
    let Some(positions) = positions else {
        // No table has more rows than a u32 can count.
        return Ok((0..length).map(|at| u32::try_from(at).unwrap_or(u32::MAX)).collect());
    };
    let (dims, dtype) = (positions.dims(), positions.dtype());
    if dtype != DType::U32 || (dims != [length] && dims != [batch, length]) {
        let reason = format!(
            "`positions` is {dims:?} of {dtype:?}, not [{length}] or [{batch}, {length}] of U32"
        );
        return Err(refused(&reason));
    }
    positions.flatten_all()?.to_vec1()
}

fn refused(reason: &str) -> Error {
    candle_core::Error::msg(format!("rope: {reason}"))
}

#[cfg(test)]
mod tests;
