//! A block of threads for each row; backward, for some rows, whose gradients of the weight it accumulates.
#![expect(unsafe_code, reason = "a kernel is declared")]

use crate::kernels::gpu::{self, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;
use candle_core::{DType, Error};

// SAFETY: `forward` passes contiguous rows of `n` elements and a weight of `n`, all of the type of the GPU, with a
// scale for each row, a sum of `n` for each group, and shared memory for as much.
const FORWARD: Kernel = unsafe { kernel!("rms_norm.cu", "rms_norm_forward") };
// SAFETY: as above.
const BACKWARD: Kernel = unsafe { kernel!("rms_norm.cu", "rms_norm_backward") };

/// The longest rows: the sums of a block must fit into its shared memory.
pub(super) const LONGEST: usize = gpu::SHARED / size_of::<f32>();

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
pub(super) fn forward(gpu: Gpu, [x, weight]: [&Node; 2], epsilon: f64) -> Result<Node, Error> {
    let epsilon = epsilon as f32;
    let (input, scale) = (x.tensor().contiguous()?, weight.tensor().contiguous()?);
    let (n, dtype) = (scale.elem_count(), input.dtype());
    let rows = input.elem_count() / n.max(1);
    let y = gpu.empty(input.shape(), dtype)?;
    let scales = gpu.empty(rows, DType::F32)?;
    call!(gpu, FORWARD, Grid::rows(rows, n), &input, &scale, &y, &scales, n, epsilon)?;
    let to = [x.handle(), weight.handle()];
    Ok(x.tape().result(y, to, move |dy, adjoints| {
        let dy = gpu::contiguous(&dy, dtype)?;
        let groups = gpu::groups(rows);
        let dx = gpu.empty(input.shape(), dtype)?;
        let partials = to[1].map(|_| gpu.empty((groups.count, n), DType::F32)).transpose()?;
        let grid = Grid::rows(groups.count, n).shared(n * size_of::<f32>());
        let partials = partials.as_ref();
        call!(
            gpu,
            BACKWARD,
            grid,
            &input,
            &scale,
            &dy,
            &scales,
            &dx,
            partials,
            rows,
            n,
            groups.each
        )?;
        adjoints.give(to[0], dx)?;
        match partials {
            Some(partials) => adjoints.give(to[1], gpu::sum_partials(&gpu, partials)?),
            None => Ok(()),
        }
    }))
}
