//! One pass over memory each way. Rows are shared between threads in groups of a fixed size, and the partials of the
//! weight's gradient are added up in the groups' order, so the bits do not depend on the number of threads.
#![expect(clippy::cast_precision_loss, reason = "small counts")]

use rayon::prelude::*;

use crate::kernels::host;
use crate::kernels::output::Output;
use crate::kernels::simd::{self, simd};
use crate::kernels::sum;
use crate::kernels::tape::Node;
use candle_core::{Error, Tensor};

/// Rows of one task.
const ROWS: usize = 32;

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
pub(super) fn forward([x, weight]: [Node; 2], epsilon: f64) -> Result<Node, Error> {
    let epsilon = epsilon as f32;
    let n = weight.tensor().elem_count().max(1);
    let (saved, scale) = (x.saved(), weight.tensor().clone());
    let (again, weight_again) = (saved.clone(), scale.clone());
    let y = normalized(x.tensor(), &scale, epsilon)?;
    let to = [&x, &weight].map(Node::handle);
    let y = x.tape().result(y, to, move |gradient, adjoints| {
        let input = saved.tensor()?;
        // A frozen weight has no gradient.
        let trained = to[1].is_some();
        let groups = input.elem_count().div_ceil(ROWS * n);
        let mut partials = vec![0.0; if trained { groups * n } else { 0 }];
        let dx = host::read([&input, &scale, &gradient], |[x, weight, dy]| {
            host::make(input.shape(), |dx| {
                let groups = dx.par_chunks(ROWS * n).zip(x.par_chunks(ROWS * n));
                let groups = groups.zip(dy.par_chunks(ROWS * n));
                if trained {
                    groups.zip(partials.par_chunks_mut(n)).for_each(|(((dx, x), dy), partial)| {
                        backward(x, weight, dy, epsilon, dx);
                        accumulate(x, dy, epsilon, partial);
                    });
                } else {
                    groups.for_each(|((dx, x), dy)| backward(x, weight, dy, epsilon, dx));
                }
            })
        })??;
        adjoints.give(to[0], dx)?;
        adjoints.write(to[1], |target| sum::accumulate_all(target, partials.chunks(n)))
    });
    Ok(y.recomputed_by(move || normalized(&again.clone().tensor()?, &weight_again, epsilon)))
}

fn normalized(x: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor, Error> {
    let n = weight.elem_count().max(1);
    host::read([x, weight], |[elements, weight]| {
        host::make(x.shape(), |y| {
            let groups = y.par_chunks(ROWS * n).zip(elements.par_chunks(ROWS * n));
            groups.for_each(|(y, x)| rows(x, weight, epsilon, y));
        })
    })?
}

simd! {
    fn rows(x: &[f32], weight: &[f32], epsilon: f32, y: Output<'_>) {
        let mut y = y;
        let n = weight.len();
        for x in x.chunks_exact(n) {
            let scale = scale(x, epsilon);
            y.append_map2(x, weight, |x, weight| x * scale * weight);
        }
    }

    fn backward(x: &[f32], weight: &[f32], dy: &[f32], epsilon: f32, dx: Output<'_>) {
        let mut dx = dx;
        let n = weight.len();
        for (x, dy) in x.chunks_exact(n).zip(dy.chunks_exact(n)) {
            let scale = scale(x, epsilon);
            let dx = dx.append_map2(dy, weight, |dy, weight| dy * weight);
            let along = simd::dot(dx, x) * scale * scale / n as f32;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = (-*x).mul_add(along, *dx) * scale;
            }
        }
    }

    /// Adds the gradient of the weight that comes from these rows, which the cache still has.
    fn accumulate(x: &[f32], dy: &[f32], epsilon: f32, part: &mut [f32]) {
        let n = part.len();
        for (x, dy) in x.chunks_exact(n).zip(dy.chunks_exact(n)) {
            let scale = scale(x, epsilon);
            for ((part, x), dy) in part.iter_mut().zip(x).zip(dy) {
                *part = dy.mul_add(*x * scale, *part);
            }
        }
    }
}

/// Returns one over the root mean square of a row.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn scale(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (simd::dot(x, x) / x.len() as f32 + epsilon).sqrt()
}
