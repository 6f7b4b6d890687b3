//! One pass over memory each way; the backward pass is the rotation by minus the angle.

use candle_core::{DType, Error, Tensor};

use super::Rotation;
use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;

const ROPE: Kernel = kernel!("rope.cu", "rope");

pub(super) fn forward(
    gpu: Gpu,
    x: &Node,
    tables: [&Tensor; 2],
    rotation: Rotation,
) -> Result<Node, Error> {
    let [cos, sin] = tables.map(|table| gpu::plain(&table.detach(), DType::F32));
    let tables = [cos?, sin?];
    // Without a table of positions the kernel counts.
    let counted = (0..).zip(&rotation.positions).all(|(at, position): (u32, _)| at == *position);
    let positions = (!counted).then(|| gpu.upload(&rotation.positions)).transpose()?;
    let turn = move |x: &Tensor, direction: f32| {
        let x = x.contiguous()?;
        let y = gpu.empty(x.shape(), x.dtype())?;
        let Rotation { batch, length, heads, turned, width, positions: ref all } = rotation;
        let [cos, sin] = &tables;
        let at: Argument<'_> = positions.as_ref().into();
        let (count, half) = (all.len(), width / 2);
        let grid = Grid::rows(batch * length, heads * half);
        call!(gpu, ROPE, grid, &x, cos, sin, at, &y, count, heads, turned, half, direction)?;
        Ok::<_, Error>(y)
    };
    let (to, dtype) = (x.handle(), x.tensor().dtype());
    let y = turn(x.tensor(), 1.0)?;
    Ok(x.tape()
        .result(y, [to], move |dy, adjoints| adjoints.give(to, turn(&dy.to_dtype(dtype)?, -1.0)?)))
}
