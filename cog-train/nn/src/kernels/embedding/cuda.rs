//! Rows are copied; backward, a block of threads owns a row of the table and adds its gradients, in order.
#![expect(unsafe_code, reason = "a kernel is declared")]

use crate::kernels::gpu::{self, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;
use candle_core::{Error, Tensor};

// SAFETY: `forward` passes a contiguous table with rows of `d` elements, ids that are below its number of rows, and a row
// of the result or of its gradient for each id. `Uses` has a start for each row used and one behind the last.
const FORWARD: Kernel = unsafe { kernel!("embedding.cu", "embedding_forward") };
// SAFETY: as above.
const BACKWARD: Kernel = unsafe { kernel!("embedding.cu", "embedding_backward") };

pub(super) fn forward(
    gpu: Gpu,
    ids: Vec<u32>,
    table: &Node,
    shape: &[usize],
) -> Result<Node, Error> {
    let rows = table.tensor().contiguous()?;
    let (d, dtype) = (rows.dims()[1], rows.dtype());
    let y = gpu.empty(shape, dtype)?;
    let looked_up = gpu.upload(&ids)?;
    call!(gpu, FORWARD, Grid::rows(ids.len(), d), &looked_up, &rows, &y, d)?;
    let (to, size) = (table.handle(), rows.shape().clone());
    Ok(table.tape().result(y, [to], move |dy, adjoints| {
        let dy = gpu::contiguous(&dy, dtype)?;
        let of_table = Tensor::zeros(size, dtype, dy.device())?;
        let Uses { ids, starts, positions } = Uses::of(&ids);
        let grid = Grid::rows(ids.len(), d);
        let [ids, starts, positions] = [ids, starts, positions].map(|words| gpu.upload(&words));
        call!(gpu, BACKWARD, grid, &ids?, &starts?, &positions?, &dy, &of_table, d)?;
        adjoints.give(to, of_table)
    }))
}

/// The occurrences of each row of a table.
struct Uses {
    /// The rows that occur, in order.
    ids: Vec<u32>,
    /// The beginning of the positions of each row, and the end of those of the last.
    starts: Vec<u32>,
    positions: Vec<u32>,
}

impl Uses {
    fn of(looked_up: &[u32]) -> Self {
        let mut order: Vec<(u32, u32)> = looked_up.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let (mut ids, mut starts) = (Vec::new(), Vec::new());
        for (at, (id, _)) in (0..).zip(&order) {
            if ids.last() != Some(id) {
                ids.push(*id);
                starts.push(at);
            }
        }
        starts.push(u32::try_from(order.len()).unwrap_or(u32::MAX));
        Self { ids, starts, positions: order.into_iter().map(|(_, position)| position).collect() }
    }
}
