//! A block of threads for each row; backward, for some rows, whose gradients of weight and bias it accumulates.
#![expect(unsafe_code, reason = "a kernel is declared")]

use crate::kernels::gpu::{self, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;
use candle_core::{DType, Error};

// SAFETY: `forward` passes contiguous rows of `n` elements and vectors of `n`, all of the type of the GPU, with two
// moments for each row, two sums of `n` for each group, and shared memory for as much.
const FORWARD: Kernel = unsafe { kernel!("layer_norm.cu", "layer_norm_forward") };
// SAFETY: as above.
const BACKWARD: Kernel = unsafe { kernel!("layer_norm.cu", "layer_norm_backward") };

/// The longest rows: the sums of a block must fit into its shared memory.
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
    let moments = gpu.empty((rows, 2), DType::F32)?;
    let grid = Grid::rows(rows, n);
    call!(gpu, FORWARD, grid, &input, &scale, &added, &y, &moments, n, epsilon)?;
    let to = [x, weight, bias].map(Node::handle);
    Ok(x.tape().result(y, to, move |dy, adjoints| {
        let dy = gpu::contiguous(&dy, dtype)?;
        let groups = gpu::groups(rows);
        let dx = gpu.empty(input.shape(), dtype)?;
        let wanted = to[1].is_some() || to[2].is_some();
        let room = || gpu.empty((groups.count, 2 * n), DType::F32);
        let partials = wanted.then(room).transpose()?;
        let partials = partials.as_ref();
        let grid = Grid::rows(groups.count, n).shared(2 * n * size_of::<f32>());
        call!(
            gpu,
            BACKWARD,
            grid,
            &input,
            &scale,
            &dy,
            &moments,
            &dx,
            partials,
            rows,
            n,
            groups.each
        )?;
        adjoints.give(to[0], dx)?;
        let Some(partials) = partials else { return Ok(()) };
        let sums = gpu::sum_partials(&gpu, partials)?;
        adjoints.give(to[1], sums.narrow(0, 0, n)?)?;
        adjoints.give(to[2], sums.narrow(0, n, n)?)
    }))
}
