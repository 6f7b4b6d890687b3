//! Rows are copied; backward, each task owns rows of the table and adds their gradients.

use rayon::prelude::*;

use crate::kernels::output::Destination;
use crate::kernels::tape::Node;
use crate::kernels::{host, sum};
use candle_core::{DType, Device, Error, Tensor};

/// Rows of the table, or of the result, of one task.
const ROWS: usize = 128;

pub(super) fn forward(ids: Vec<u32>, table: &Node, shape: &[usize]) -> Result<Node, Error> {
    let (d, rows) = (table.dims()[1], table.tensor().contiguous()?);
    let y = if rows.dtype() == DType::F32 {
        host::read([&rows], |[table]| copied(&ids, table, d, shape))??
    } else {
        let ids = Tensor::new(ids.as_slice(), &Device::Cpu)?;
        rows.index_select(&ids, 0)?.reshape(shape)?
    };
    let to = table.handle();
    Ok(table.tape().result(y, [to], move |gradient, adjoints| {
        host::read([&gradient], |[gradient]| {
            adjoints.write(to, |target| scatter(&ids, gradient, d, target))
        })?
    }))
}

fn copied(ids: &[u32], table: &[f32], d: usize, shape: &[usize]) -> Result<Tensor, Error> {
    host::make(shape, |y| {
        let groups = y.par_chunks((ROWS * d).max(1)).zip(ids.par_chunks(ROWS));
        groups.for_each(|(mut rows, ids)| {
            for id in ids {
                rows.append_copy(&table[*id as usize * d..][..d]);
            }
        });
    })
}

fn scatter(ids: &[u32], gradient: &[f32], d: usize, target: Destination<'_>) {
    // Where the ids of each group of rows occur, in order.
    let mut uses = vec![Vec::new(); (target.len() / d).div_ceil(ROWS)];
    for (at, id) in ids.iter().enumerate() {
        uses[*id as usize / ROWS].push(at);
    }
    let add = |group: usize, rows: &mut [f32], uses: Vec<usize>| {
        for at in uses {
            let row = ids[at] as usize - group * ROWS;
            sum::add_chunk(&mut rows[row * d..][..d], &gradient[at * d..][..d]);
        }
    };
    match target {
        Destination::Overwrite(target) => {
            let groups = target.par_chunks(ROWS * d).zip(uses).enumerate();
            groups.for_each(|(group, (rows, uses))| add(group, rows.zeroed(), uses));
        }
        Destination::Accumulate(target) => {
            let groups = target.par_chunks_mut(ROWS * d).zip(uses).enumerate();
            groups.for_each(|(group, (rows, uses))| add(group, rows, uses));
        }
    }
}
