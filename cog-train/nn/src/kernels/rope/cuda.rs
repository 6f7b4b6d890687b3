//! One pass over memory each way; the backward pass is the rotation by minus the angle.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{DType, Error, Tensor};

use super::Rotation;
use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;

// SAFETY: `forward` passes contiguous rows of `heads` heads of `2 half` elements, and positions that are below the
// number of rows of the tables, which are contiguous, of 32 bits and `half` wide.
const ROPE: Kernel = unsafe { kernel!("rope.cu", "rope") };

pub(super) fn forward(
    gpu: Gpu,
    x: &Node,
    tables: [&Tensor; 2],
    rotation: Rotation,
) -> Result<Node, Error> {
    let [cos, sin] = tables.map(|table| gpu::contiguous(&table.detach(), DType::F32));
    let tables = [cos?, sin?];
    // Without a table of positions the kernel counts.
    let counted = (0..).zip(&rotation.positions).all(|(at, position): (u32, _)| at == *position);
    let positions = (!counted).then(|| gpu.upload(&rotation.positions)).transpose()?;
    let rotate = move |x: &Tensor, direction: f32| {
        let x = x.contiguous()?;
        let y = gpu.empty(x.shape(), x.dtype())?;
        let Rotation { batch, length, heads, rotated, width, positions: ref all } = rotation;
        let [cos, sin] = &tables;
        let at: Argument<'_> = positions.as_ref().into();
        let (count, half) = (all.len(), width / 2);
        let grid = Grid::rows(batch * length, heads * half);
        call!(gpu, ROPE, grid, &x, cos, sin, at, &y, count, heads, rotated, half, direction)?;
        Ok::<_, Error>(y)
    };
    let (to, dtype) = (x.handle(), x.tensor().dtype());
    let y = rotate(x.tensor(), 1.0)?;
    Ok(x.tape().result(y, [to], move |dy, adjoints| {
        adjoints.give(to, rotate(&dy.to_dtype(dtype)?, -1.0)?)
    }))
}
