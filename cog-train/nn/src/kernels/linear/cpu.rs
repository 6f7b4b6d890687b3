//! Products with their epilogue; the gradient of the weight is accumulated in place.

use rayon::prelude::*;

use super::Product;
use crate::kernels::matmul::{Epilogue, Rows, Target, Threads, matmul};
use crate::kernels::output::Destination;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use crate::kernels::weight::Weight;
use crate::kernels::{host, rows, sum};
use candle_core::{DType, Error};

/// Rows of one task.
const ROWS: usize = 64;

pub(super) fn forward(product: Product<Weight>, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows: _, inputs, outputs } = product;
    let (weight, of_weight) = weight.on(&x)?;
    let wide = |node: Option<Node>| node.map(|node| node.widened()).transpose();
    let (x, bias, to) = (weight.operand(&x)?, wide(bias)?, wide(to)?);
    // Where a product has no bias or no summand, nothing stands in for it.
    let added = [&bias, &to].map(|node| node.as_ref().map(Node::tensor));
    let nothing = host::tensor(Vec::new(), 0)?;
    let [bias_or, to_or] = added.map(|tensor| tensor.unwrap_or(&nothing));
    let y = host::read([bias_or, to_or], |[bias_or, to_or]| {
        let epilogue = Epilogue { bias: added[0].map(|_| bias_or), to: added[1].map(|_| to_or) };
        rows::read(x.tensor(), inputs, |x| {
            weight.read(|weight| {
                host::make(shape, |y| {
                    // A model's scores are compared with those of other programs; its gradients are sums of many.
                    let target = Target::new(y, outputs).exact().with_epilogue(epilogue);
                    matmul(target, x.left(), weight.t(), scale, Threads::All);
                })
            })
        })
    })????;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), of_weight, handle(&bias), handle(&to)];
    let tape = x.tape().clone();
    // The gradient of a frozen weight, which needs the input, is not computed.
    let saved = of_weight.map(|_| x.saved());
    let narrow = x.tensor().dtype() == DType::BF16;
    drop(x);
    Ok(tape.result(y, handles, move |dy, adjoints| {
        let [of_x, of_weight, of_bias, of_to] = handles;
        adjoints.share(of_to, &dy)?;
        host::read([&dy], |[dy]| {
            adjoints.write(of_bias, |target| column_sums(dy, outputs, target))?;
            let rounded = narrow.then(|| host::rounded_elements(dy));
            let dy = match &rounded {
                Some(dy) => Rows::of_bf16(dy, outputs).left(),
                None => Rows::new(dy, outputs).left(),
            };
            if let Some(saved) = saved {
                rows::read(&saved.tensor()?, inputs, |x| {
                    adjoints.write(of_weight, |target| {
                        let target = Target::to(target, inputs);
                        matmul(target, dy.t(), x.right(), scale, Threads::All);
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
