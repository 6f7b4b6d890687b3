//! Products with what is added to them; the gradient of the weight is added where it stays.

use rayon::prelude::*;

use super::Product;
use crate::kernels::matmul::{After, Matrix, Target, Threads, matmul};
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use crate::kernels::{host, sum};
use candle_core::Error;

/// Rows that one thread takes at once.
const ROWS: usize = 64;

pub(super) fn forward(product: Product, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let (flat, w) = (x.tensor().clone(), weight.tensor().clone());
    // A product that nothing is added to has its input in the places of what it lacks.
    let added = [&bias, &to].map(|node| node.as_ref().map(Node::tensor));
    let [bias_or, to_or] = added.map(|tensor| tensor.unwrap_or(&flat));
    let y = host::read([&flat, &w, bias_or, to_or], |[x, w, bias_or, to_or]| {
        let (x, w) = (Matrix::new(x, rows, inputs), Matrix::new(w, outputs, inputs));
        let after = After { bias: added[0].map(|_| bias_or), to: added[1].map(|_| to_or) };
        host::make(shape, |y| {
            let target = Target::set(y, outputs).after(after);
            matmul(target, x, w.t(), scale, Threads::All);
        })
    })??;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), weight.handle(), handle(&bias), handle(&to)];
    let tape = x.tape().clone();
    // A frozen weight needs no input on the way back.
    let kept = weight.handle().map(|_| x.kept());
    drop((flat, x));
    Ok(tape.result(y, handles, move |dy, adjoints| {
        let [of_x, of_weight, of_bias, of_to] = handles;
        adjoints.share(of_to, &dy)?;
        host::read([&dy], |[dy]| {
            adjoints.write(of_bias, |target, adds| column_sums(dy, outputs, target, adds))?;
            let dy = Matrix::new(dy, rows, outputs);
            if let Some(kept) = kept {
                host::read([&kept.numbers()?], |[x]| {
                    adjoints.write(of_weight, |target, adds| {
                        let x = Matrix::new(x, rows, inputs);
                        matmul(Target::to(target, inputs, adds), dy.t(), x, scale, Threads::All);
                    })
                })??;
            }
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
