//! Products by `gemm`; the gradient of the weight is added where it stays.

use rayon::prelude::*;

use super::Product;
use crate::error::Error;
use crate::kernels::matmul::{After, Matrix, Target, Threads, matmul};
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use crate::kernels::{host, sum};

/// Rows that one thread takes at once.
const ROWS: usize = 64;

pub(super) fn forward(product: Product, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let (flat, w) = (x.tensor().clone(), weight.tensor().clone());
    let mut done = Ok(());
    let y = host::make(shape, |y| {
        done = read(bias.as_ref(), to.as_ref(), |after| {
            host::read([&flat, &w], |[x, w]| {
                let (x, w) = (Matrix::new(x, rows, inputs), Matrix::new(w, outputs, inputs));
                let target = Target::set(y, outputs).after(after);
                matmul(target, x, w.t(), scale, Threads::All);
            })
        });
    })?;
    done?;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), weight.handle(), handle(&bias), handle(&to)];
    let tape = x.tape().clone();
    // A frozen weight needs no input on the way back, and an input without a gradient no weight.
    let kept = weight.handle().map(|_| x.kept());
    drop((flat, x));
    Ok(tape.result(y, handles, move |dy, adjoints| {
        let [of_x, of_weight, of_bias, of_to] = handles;
        adjoints.share(of_to, &dy)?;
        host::read([&dy], |[dy]| {
            adjoints.write(of_bias, |target, adds| column_sums(dy, outputs, target, adds))?;
            let dy = Matrix::new(dy, rows, outputs);
            if let Some(kept) = &kept {
                host::read([&kept.numbers()?], |[x]| {
                    adjoints.write(of_weight, |target, adds| {
                        let x = Matrix::new(x, rows, inputs);
                        matmul(Target::to(target, inputs, adds), dy.t(), x, scale, Threads::All);
                    })
                })??;
            }
            drop(kept);
            if of_x.is_some() {
                let dx = host::read([&w], |[w]| {
                    let w = Matrix::new(w, outputs, inputs);
                    host::make((rows, inputs), |dx| {
                        matmul(Target::set(dx, inputs), dy, w, scale, Threads::All);
                    })
                })??;
                adjoints.give(of_x, dx)?;
            }
            Ok(())
        })?
    }))
}

/// Lets `work` read what is added to a product.
fn read<R>(
    bias: Option<&Node>,
    to: Option<&Node>,
    work: impl FnOnce(After<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let [bias, to] = [bias, to].map(|node| node.map(Node::tensor));
    match (bias, to) {
        (None, None) => work(After::NOTHING),
        (Some(bias), None) => {
            host::read([bias], |[bias]| work(After { bias: Some(bias), to: None }))?
        }
        (None, Some(to)) => host::read([to], |[to]| work(After { bias: None, to: Some(to) }))?,
        (Some(bias), Some(to)) => {
            host::read([bias, to], |[bias, to]| work(After { bias: Some(bias), to: Some(to) }))?
        }
    }
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
