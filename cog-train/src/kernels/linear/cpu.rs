//! Products by `gemm`; the gradient of the weight is added where it stays.

use rayon::prelude::*;

use super::Product;
use crate::error::Error;
use crate::kernels::matmul::{Matrix, Target, Threads, matmul};
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use crate::kernels::{host, sum};

/// Rows that one thread takes at once.
const ROWS: usize = 64;

pub(super) fn forward(product: Product, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let (flat, w) = (x.tensor().clone(), weight.tensor().clone());
    let multiply = |y: &mut [f32], adds: bool| {
        host::read([&flat, &w], |[x, w]| {
            let (x, w) = (Matrix::new(x, rows, inputs), Matrix::new(w, outputs, inputs));
            matmul(Target::to(y, outputs, adds), x, w.t(), scale, Threads::All);
        })
    };
    let mut done = Ok(());
    let y = host::make(shape, |y| {
        done = start(y, bias.as_ref(), to.as_ref()).and_then(|adds| multiply(y, adds));
    })?;
    done?;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), weight.handle(), handle(&bias), handle(&to)];
    let tape = x.tape().clone();
    Ok(tape.result(y, handles, move |dy, adjoints| {
        let [of_x, of_weight, of_bias, of_to] = handles;
        adjoints.share(of_to, &dy)?;
        host::read([&dy, &flat, &w], |[dy, x, w]| {
            adjoints.write(of_bias, |target, adds| column_sums(dy, outputs, target, adds))?;
            let dy = Matrix::new(dy, rows, outputs);
            adjoints.write(of_weight, |target, adds| {
                let x = Matrix::new(x, rows, inputs);
                matmul(Target::to(target, inputs, adds), dy.t(), x, scale, Threads::All);
            })?;
            if of_x.is_some() {
                let w = Matrix::new(w, outputs, inputs);
                let dx = host::make((rows, inputs), |dx| {
                    matmul(Target::set(dx, inputs), dy, w, scale, Threads::All);
                })?;
                adjoints.give(of_x, dx)?;
            }
            Ok(())
        })?
    }))
}

/// Writes what the product is added to. Says whether there is anything.
fn start(y: &mut [f32], bias: Option<&Node>, to: Option<&Node>) -> Result<bool, Error> {
    if let Some(to) = to {
        host::read([to.tensor()], |[to]| sum::add_or_copy(y, to, false))?;
    }
    if let Some(bias) = bias {
        host::read([bias.tensor()], |[bias]| {
            y.par_chunks_mut(ROWS * bias.len()).for_each(|rows| {
                for row in rows.chunks_exact_mut(bias.len()) {
                    match to {
                        Some(_) => sum::add_chunk(row, bias),
                        None => row.copy_from_slice(bias),
                    }
                }
            });
        })?;
    }
    Ok(to.is_some() || bias.is_some())
}

/// The sum of the rows, in groups of a fixed size whose sums are added in order.
fn column_sums(rows: &[f32], columns: usize, target: &mut [f32], adds: bool) {
    let parts: Vec<Vec<f32>> = rows
        .par_chunks(ROWS * columns)
        .map(|rows| {
            let mut part = vec![0.0; columns];
            gather(rows, &mut part);
            part
        })
        .collect();
    sum::of_parts(target, parts.iter().map(Vec::as_slice), adds);
}

simd! {
    fn gather(rows: &[f32], part: &mut [f32]) {
        for row in rows.chunks_exact(part.len()) {
            for (part, number) in part.iter_mut().zip(row) {
                *part += *number;
            }
        }
    }
}
