//! A block of threads for each row; backward, for some rows, which gathers the gradients of weight and bias.

use candle_core::DType;

use crate::error::Error;
use crate::kernels::gpu::{self, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;

const FORWARD: Kernel = kernel!("layer_norm.cu", "layer_norm_forward");
const BACKWARD: Kernel = kernel!("layer_norm.cu", "layer_norm_backward");

/// The longest rows: what a block gathers has room in its shared memory.
pub(super) const LONGEST: usize = gpu::SHARED / (2 * size_of::<f32>());

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
pub(super) fn forward(
    gpu: Gpu,
    [x, weight, bias]: [&Node; 3],
    epsilon: f64,
) -> Result<Node, Error> {
    let epsilon = epsilon as f32;
    let (input, scale) = (x.tensor().contiguous()?, weight.tensor().contiguous()?);
    let (n, dtype) = (scale.elem_count(), input.dtype());
    let rows = input.elem_count() / n.max(1);
    let y = gpu.empty(input.shape(), dtype)?;
    let added = bias.tensor().contiguous()?;
    call!(gpu, FORWARD, Grid::rows(rows, n), &input, &scale, &added, &y, n, epsilon)?;
    let to = [x, weight, bias].map(Node::handle);
    Ok(x.tape().result(y, to, move |dy, adjoints| {
        let dy = gpu::plain(&dy, dtype)?;
        let groups = gpu::groups(rows);
        let dx = gpu.empty(input.shape(), dtype)?;
        let parts = gpu.empty((groups.count, 2 * n), DType::F32)?;
        let grid = Grid::rows(groups.count, n).shared(2 * n * size_of::<f32>());
        call!(
            gpu,
            BACKWARD,
            grid,
            &input,
            &scale,
            &dy,
            &dx,
            &parts,
            rows,
            n,
            groups.each,
            epsilon
        )?;
        adjoints.give(to[0], dx)?;
        for (to, at) in [(to[1], 0), (to[2], n)] {
            if to.is_some() {
                adjoints.give(to, gpu::sum_parts(&gpu, &parts.narrow(1, at, n)?, n, dtype)?)?;
            }
        }
        Ok(())
    }))
}
