//! The mean, fast.
#![expect(clippy::cast_precision_loss, reason = "small counts")]

use rayon::prelude::*;

use super::Planes;
use crate::error::Error;
use crate::kernels::host;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;

pub(super) fn forward(x: &Node, planes: Planes) -> Result<Node, Error> {
    let [from, to] = planes.sizes();
    let shape = x.tensor().shape().clone();
    let (long, short) = (planes.together() * from, planes.together() * to);
    let dims = (shape.dims()[0], shape.dims()[1], planes.to[0], planes.to[1]);
    let y = host::read([x.tensor()], |[x]| {
        host::make(dims, |y| {
            y.par_chunks_mut(short).zip(x.par_chunks(long)).for_each(|(y, x)| {
                let each = y.chunks_exact_mut(to).zip(x.chunks_exact(from));
                each.for_each(|(y, x)| means(&planes, x, y));
            });
        })
    })??;
    let handle = x.handle();
    Ok(x.tape().result(y, [handle], move |gradient, adjoints| {
        let dx = host::read([&gradient], |[dy]| {
            host::make(shape, |dx| {
                dx.par_chunks_mut(long).zip(dy.par_chunks(short)).for_each(|(dx, dy)| {
                    let each = dx.chunks_exact_mut(from).zip(dy.chunks_exact(to));
                    each.for_each(|(dx, dy)| back(&planes, dy, dx));
                });
            })
        })??;
        adjoints.give(handle, dx)
    }))
}

fn means(planes: &Planes, x: &[f32], y: &mut [f32]) {
    let ([height, width], window) = (planes.from, planes.window);
    let share = 1.0 / window.taps() as f32;
    for (line, y) in y.chunks_exact_mut(planes.to[1]).enumerate() {
        y.fill(0.0);
        for row in window.span(0, line, height) {
            for tap in 0..window.kernel[1] {
                let (range, first) = window.row(tap, width, planes.to[1]);
                gather(&x[row * width + first..], window.stride, &mut y[range]);
            }
        }
        for y in y {
            *y *= share;
        }
    }
}

fn back(planes: &Planes, dy: &[f32], dx: &mut [f32]) {
    let ([height, width], window) = (planes.from, planes.window);
    let share = 1.0 / window.taps() as f32;
    dx.fill(0.0);
    for (line, dy) in dy.chunks_exact(planes.to[1]).enumerate() {
        for row in window.span(0, line, height) {
            for tap in 0..window.kernel[1] {
                let (range, first) = window.row(tap, width, planes.to[1]);
                spread(&dy[range], share, window.stride, &mut dx[row * width + first..]);
            }
        }
    }
}

simd! {
    /// Adds every `stride`-th number.
    fn gather(numbers: &[f32], stride: usize, y: &mut [f32]) {
        for (y, number) in y.iter_mut().zip(numbers.iter().step_by(stride)) {
            *y += *number;
        }
    }

    /// Adds shares to every `stride`-th number.
    fn spread(dy: &[f32], share: f32, stride: usize, dx: &mut [f32]) {
        for (dy, dx) in dy.iter().zip(dx.iter_mut().step_by(stride)) {
            *dx = dy.mul_add(share, *dx);
        }
    }
}
