//! Rows are copied; backward, a block of threads has a row of the table and adds what belongs to it, in order.
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
        let Uses { ids, starts, places } = Uses::of(&ids);
        let grid = Grid::rows(ids.len(), d);
        let [ids, starts, places] = [ids, starts, places].map(|words| gpu.upload(&words));
        call!(gpu, BACKWARD, grid, &ids?, &starts?, &places?, &dy, &of_table, d)?;
        adjoints.give(to, of_table)
    }))
}

/// Where each row of a table is used.
struct Uses {
    /// The rows that are, in order.
    ids: Vec<u32>,
    /// Where the places of each begin, and where those of the last end.
    starts: Vec<u32>,
    places: Vec<u32>,
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
        Self { ids, starts, places: order.into_iter().map(|(_, place)| place).collect() }
    }
}
