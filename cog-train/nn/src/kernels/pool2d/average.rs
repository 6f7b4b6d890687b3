//! Average pooling.
#![expect(clippy::cast_precision_loss, reason = "small counts")]

use rayon::prelude::*;

use super::Planes;
use crate::kernels::host;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use candle_core::Error;

pub(super) fn forward(x: &Node, planes: Planes) -> Result<Node, Error> {
    let [from, to] = planes.sizes();
    let shape = x.tensor().shape().clone();
    let (long, short) = (planes.together() * from, planes.together() * to);
    let dims = (shape.dims()[0], shape.dims()[1], planes.to[0], planes.to[1]);
    let y = host::read([x.tensor()], |[x]| {
        host::make(dims, |y| {
            y.par_chunks(short).zip(x.par_chunks(long)).for_each(|(mut y, x)| {
                x.chunks_exact(from).for_each(|x| means(&planes, x, y.append_zeros(to)));
            });
        })
    })??;
    let handle = x.handle();
    Ok(x.tape().result(y, [handle], move |gradient, adjoints| {
        let dx = host::read([&gradient], |[dy]| {
            host::make(shape, |dx| {
                dx.par_chunks(long).zip(dy.par_chunks(short)).for_each(|(mut dx, dy)| {
                    let each = dy.chunks_exact(to);
                    each.for_each(|dy| back(&planes, dy, dx.append_zeros(from)));
                });
            })
        })??;
        adjoints.give(handle, dx)
    }))
}

simd! {
    /// `y` is zeros.
    fn means(planes: &Planes, x: &[f32], y: &mut [f32]) {
        let ([height, width], window) = (planes.from, planes.window);
        let share = 1.0 / window.taps() as f32;
        for (line, y) in y.chunks_exact_mut(planes.to[1]).enumerate() {
            for row in window.span(0, line, height) {
                for tap in 0..window.kernel[1] {
                    let (range, first) = window.row(tap, width, planes.to[1]);
                    let row = &x[row * width + first..];
                    for (nth, y) in y[range].iter_mut().enumerate() {
                        *y += row[nth * window.stride];
                    }
                }
            }
            for y in y {
                *y *= share;
            }
        }
    }

    /// `dx` is zeros.
    fn back(planes: &Planes, dy: &[f32], dx: &mut [f32]) {
        let ([height, width], window) = (planes.from, planes.window);
        let share = 1.0 / window.taps() as f32;
        for (line, dy) in dy.chunks_exact(planes.to[1]).enumerate() {
            for row in window.span(0, line, height) {
                for tap in 0..window.kernel[1] {
                    let (range, first) = window.row(tap, width, planes.to[1]);
                    let dx = &mut dx[row * width + first..];
                    for (nth, dy) in dy[range].iter().enumerate() {
                        dx[nth * window.stride] += *dy * share;
                    }
                }
            }
        }
    }
}
