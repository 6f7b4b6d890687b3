//! Products with their epilogue; the gradient of the weight is accumulated in place.

use rayon::prelude::*;

use super::Product;
use crate::kernels::matmul::{Epilogue, Matrix, Target, Threads, matmul};
use crate::kernels::output::Destination;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use crate::kernels::weight::Weight;
use crate::kernels::{host, sum};
use candle_core::Error;

/// Rows of one task.
const ROWS: usize = 64;

pub(super) fn forward(product: Product<Weight>, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let (weight, of_weight) = weight.on(&x)?;
    let wide = |node: Option<Node>| node.map(|node| node.widened()).transpose();
    let (x, bias, to) = (x.widened()?, wide(bias)?, wide(to)?);
    let flat = x.tensor().clone();
    // Where a product has no bias or no summand, its input stands in for it.
    let added = [&bias, &to].map(|node| node.as_ref().map(Node::tensor));
    let [bias_or, to_or] = added.map(|tensor| tensor.unwrap_or(&flat));
    let y = host::read([&flat, bias_or, to_or], |[x, bias_or, to_or]| {
        let x = Matrix::new(x, rows, inputs);
        let epilogue = Epilogue { bias: added[0].map(|_| bias_or), to: added[1].map(|_| to_or) };
        weight.read(|weight| {
            host::make(shape, |y| {
                // A model's scores are compared with those of other programs; its gradients are sums of many.
                let target = Target::new(y, outputs).exact().with_epilogue(epilogue);
                matmul(target, x, weight.t(), scale, Threads::All);
            })
        })
    })???;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), of_weight, handle(&bias), handle(&to)];
    let tape = x.tape().clone();
    // The gradient of a frozen weight, which needs the input, is not computed.
    let saved = of_weight.map(|_| x.saved());
    drop((flat, x));
    Ok(tape.result(y, handles, move |dy, adjoints| {
        let [of_x, of_weight, of_bias, of_to] = handles;
        adjoints.share(of_to, &dy)?;
        host::read([&dy], |[dy]| {
            adjoints.write(of_bias, |target| column_sums(dy, outputs, target))?;
            let dy = Matrix::new(dy, rows, outputs);
            if let Some(saved) = saved {
                host::read([&saved.tensor()?], |[x]| {
                    adjoints.write(of_weight, |target| {
                        let x = Matrix::new(x, rows, inputs);
                        matmul(Target::to(target, inputs), dy.t(), x, scale, Threads::All);
                    })
                })??;
            }
            // An input of several layers has one gradient, to which each of them adds its own in place.
            weight.read(|weight| {
                adjoints.write(of_x, |target| {
                    matmul(Target::to(target, inputs), dy, weight, scale, Threads::All);
                })
            })?
        })?
    }))
}

/// Adds up the rows, in groups of a fixed size whose sums are added in order.
fn column_sums(rows: &[f32], columns: usize, target: Destination<'_>) {
    let partials: Vec<Vec<f32>> = rows
        .par_chunks(ROWS * columns)
        .map(|rows| {
            let mut part = vec![0.0; columns];
            accumulate(rows, &mut part);
            part
        })
        .collect();
    sum::accumulate_all(target, partials.iter().map(Vec::as_slice));
}

simd! {
    fn accumulate(rows: &[f32], part: &mut [f32]) {
        for row in rows.chunks_exact(part.len()) {
            for (part, element) in part.iter_mut().zip(row) {
                *part += *element;
            }
        }
    }
}
