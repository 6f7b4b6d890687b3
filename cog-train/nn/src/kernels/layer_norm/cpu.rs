//! One pass over memory each way. Rows are shared between threads in groups of a fixed size, and the partials of the
//! weight's gradient are added up in the groups' order, so the bits do not depend on the number of threads.

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
pub(super) fn forward([x, weight, bias]: [Node; 3], epsilon: f64) -> Result<Node, Error> {
    let epsilon = epsilon as f32;
    let n = weight.tensor().elem_count();
    let (saved, scale) = (x.saved(), weight.tensor().clone());
    let (again, affine) = (saved.clone(), [scale.clone(), bias.tensor().clone()]);
    let y = normalized(x.tensor(), &affine, epsilon)?;
    let to = [&x, &weight, &bias].map(Node::handle);
    let y = x.tape().result(y, to, move |gradient, adjoints| {
        let input = saved.tensor()?;
        let mut partials = Vec::new();
        let dx = host::read([&input, &scale, &gradient], |[x, weight, dy]| {
            partials.resize(x.len().div_ceil(ROWS * n) * 2 * n, 0.0);
            host::make(input.shape(), |dx| {
                let groups = dx.par_chunks(ROWS * n).zip(x.par_chunks(ROWS * n));
                let groups =
                    groups.zip(dy.par_chunks(ROWS * n)).zip(partials.par_chunks_mut(2 * n));
                groups.for_each(|(((dx, x), dy), part)| backward(x, weight, dy, epsilon, dx, part));
            })
        })??;
        adjoints.give(to[0], dx)?;
        for (to, at) in [(to[1], 0), (to[2], n)] {
            let partials = partials.chunks(2 * n).map(|partial| &partial[at..at + n]);
            adjoints.write(to, |target| sum::accumulate_all(target, partials))?;
        }
        Ok(())
    });
    Ok(y.recomputed_by(move || normalized(&again.clone().tensor()?, &affine, epsilon)))
}

fn normalized(x: &Tensor, [weight, bias]: &[Tensor; 2], epsilon: f32) -> Result<Tensor, Error> {
    let n = weight.elem_count();
    host::read([x, weight, bias], |[elements, weight, bias]| {
        host::make(x.shape(), |y| {
            let groups = y.par_chunks(ROWS * n).zip(elements.par_chunks(ROWS * n));
            groups.for_each(|(y, x)| rows(x, weight, bias, epsilon, y));
        })
    })?
}

simd! {
    fn rows(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, y: Output<'_>) {
        let mut y = y;
        let n = weight.len();
        for x in x.chunks_exact(n) {
            let (mean, scale) = moments(x, epsilon);
            y.append_map3([x, weight, bias], |x, w, b| ((x - mean) * scale).mul_add(w, b));
        }
    }

    /// Adds the gradients of weight and bias of these rows to `part`.
    #[expect(clippy::cast_precision_loss, reason = "a row has far fewer than 2^24 elements")]
    fn backward(
        x: &[f32], weight: &[f32], dy: &[f32], epsilon: f32, dx: Output<'_>, part: &mut [f32],
    ) {
        let mut dx = dx;
        let n = weight.len();
        let (dweight, dbias) = part.split_at_mut(n);
        for (x, dy) in x.chunks_exact(n).zip(dy.chunks_exact(n)) {
            let (mean, scale) = moments(x, epsilon);
            // Two loops over slices of one length each: a loop that checks its bounds does not vectorize.
            for (((dweight, dbias), x), dy) in dweight.iter_mut().zip(&mut *dbias).zip(x).zip(dy) {
                *dweight = dy.mul_add((*x - mean) * scale, *dweight);
                *dbias += *dy;
            }
            let dx = dx.append_map2(dy, weight, |dy, weight| dy * weight);
            let mean_g = simd::sum(dx) / n as f32;
            let along = (simd::dot(dx, x) - mean * mean_g * n as f32) * scale / n as f32;
            for (dx, x) in dx.iter_mut().zip(x) {
                let normal = (*x - mean) * scale;
                *dx = (*dx - mean_g - normal * along) * scale;
            }
        }
    }
}

/// Returns the mean of a row and one over its standard deviation.
#[expect(clippy::cast_precision_loss, reason = "a row has far fewer than 2^24 elements")]
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let mean = simd::sum(x) / x.len() as f32;
    let square = |sum: f32, x: f32| (x - mean).mul_add(x - mean, sum);
    let variance = simd::lanes(x, 0.0, square, |one, other| one + other) / x.len() as f32;
    (mean, 1.0 / (variance + epsilon).sqrt())
}
