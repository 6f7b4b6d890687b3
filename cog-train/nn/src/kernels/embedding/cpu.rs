//! Rows are copied; backward, each thread owns rows of the table and adds what belongs to them.

use rayon::prelude::*;

use crate::kernels::tape::Node;
use crate::kernels::{host, sum};
use candle_core::Error;

/// Rows of the table, or of the result, that one thread takes at once.
const ROWS: usize = 128;

pub(super) fn forward(ids: Vec<u32>, table: &Node, shape: &[usize]) -> Result<Node, Error> {
    let d = table.dims()[1];
    let y = host::read([table.tensor()], |[table]| {
        host::make(shape, |y| {
            let groups = y.par_chunks_mut((ROWS * d).max(1)).zip(ids.par_chunks(ROWS));
            groups.for_each(|(rows, ids)| {
                for (row, id) in rows.chunks_exact_mut(d).zip(ids) {
                    row.copy_from_slice(&table[*id as usize * d..][..d]);
                }
            });
        })
    })??;
    let to = table.handle();
    Ok(table.tape().result(y, [to], move |gradient, adjoints| {
        host::read([&gradient], |[gradient]| {
            adjoints.write(to, |target, adds| scatter(&ids, gradient, d, target, adds))
        })?
    }))
}

fn scatter(ids: &[u32], gradient: &[f32], d: usize, target: &mut [f32], adds: bool) {
    // Where the ids of each group of rows are used, in order.
    let mut places = vec![Vec::new(); (target.len() / d).div_ceil(ROWS)];
    for (at, id) in ids.iter().enumerate() {
        places[*id as usize / ROWS].push(at);
    }
    let groups = target.par_chunks_mut(ROWS * d).zip(places);
    groups.enumerate().for_each(|(group, (rows, places))| {
        if !adds {
            rows.fill(0.0);
        }
        for at in places {
            let row = ids[at] as usize - group * ROWS;
            sum::add_chunk(&mut rows[row * d..][..d], &gradient[at * d..][..d]);
        }
    });
}
