//! Max pooling: one path for windows of 2 x 2 side by side, which most networks have, and one for all others.
#![expect(unsafe_code, reason = "blocks fill rows of a result in an order of their own")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Planes;
use crate::kernels::host;
use crate::kernels::output::Output;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use crate::kernels::window::Window;
use candle_core::Error;

/// Values of a row that are compared at once.
const BLOCK: usize = 64;

pub(super) fn forward(x: &Node, planes: Planes) -> Result<Node, Error> {
    let beside = Window { kernel: [2, 2], stride: 2, padding: 0, dilation: 1 };
    if planes.window == beside {
        run(
            x,
            planes,
            0u8,
            |planes, x, y, at| pairs(x, planes.from[1], y, at),
            |planes, dy, at, dx| {
                unpair(dy, at, planes.from, dx);
            },
        )
    } else {
        run(x, planes, 0u32, any, back_any)
    }
}

/// Pools by `pool(x, y, at)`, which appends a plane to `y` and writes the index that each value comes from to `at`; the
/// backward pass is `back(dy, at, dx)`, which appends a plane to `dx`.
fn run<A: Copy + Send + Sync + 'static>(
    x: &Node,
    planes: Planes,
    zero: A,
    pool: fn(&Planes, &[f32], &mut Output<'_>, &mut [A]),
    back: fn(&Planes, &[f32], &[A], &mut Output<'_>),
) -> Result<Node, Error> {
    let [from, to] = planes.sizes();
    let (shape, count) = (x.tensor().shape().clone(), x.tensor().elem_count() / from);
    let mut saved = vec![zero; count * to];
    let (long, short) = (planes.together() * from, planes.together() * to);
    let dims = (shape.dims()[0], shape.dims()[1], planes.to[0], planes.to[1]);
    let y = host::read([x.tensor()], |[x]| {
        host::make(dims, |y| {
            let groups = y.par_chunks(short).zip(saved.par_chunks_mut(short));
            groups.zip(x.par_chunks(long)).for_each(|((mut y, saved), x)| {
                let each = x.chunks_exact(from).zip(saved.chunks_exact_mut(to));
                each.for_each(|(x, at)| pool(&planes, x, &mut y, at));
            });
        })
    })??;
    let handle = x.handle();
    Ok(x.tape().result(y, [handle], move |gradient, adjoints| {
        let dx = host::read([&gradient], |[dy]| {
            host::make(shape, |dx| {
                let groups = dx.par_chunks(long).zip(saved.par_chunks(short));
                groups.zip(dy.par_chunks(short)).for_each(|((mut dx, saved), dy)| {
                    let each = saved.chunks_exact(to).zip(dy.chunks_exact(to));
                    each.for_each(|(at, dy)| back(&planes, dy, at, &mut dx));
                });
            })
        })??;
        adjoints.give(handle, dx)
    }))
}

simd! {
    /// Pools each pair of rows to one; the index of the maximum in its window goes to `at`.
    fn pairs(x: &[f32], width: usize, y: &mut Output<'_>, at: &mut [u8]) {
        let half = width / 2;
        assert!(x.len() / (2 * width) * half >= at.len());
        // SAFETY: the blocks below cover each row of `y`, which has as many rows as `at`, and `x` has a pair for each of them.
        let y = unsafe { y.append_slots(at.len()) };
        let rows = y.chunks_exact_mut(half).zip(at.chunks_exact_mut(half));
        for ((y, at), x) in rows.zip(x.chunks_exact(2 * width)) {
            let (above, below) = x.split_at(width);
            let size = block(half);
            for from in (0..half).step_by(size).map(|from| from.min(half - size)) {
                match size {
                    16 => pair::<16>(from, above, below, y, at),
                    4 => pair::<4>(from, above, below, y, at),
                    _ => pair::<1>(from, above, below, y, at),
                }
            }
        }
    }

    /// Writes the gradients of both rows of each pair. A last column or row without a partner is under no window.
    fn unpair(dy: &[f32], at: &[u8], plane: [usize; 2], dx: &mut Output<'_>) {
        let [height, width] = plane;
        let half = width / 2;
        let pairs = height / 2;
        assert!(half > 0 && dy.len().min(at.len()) >= pairs * half);
        // SAFETY: the blocks below cover each pair of rows but for an odd last column, which is written behind them; `dy` and
        // `at` have a row for each pair.
        let pairs = unsafe { dx.append_slots(pairs * 2 * width) };
        let rows = dy.chunks_exact(half).zip(at.chunks_exact(half));
        for ((dy, at), dx) in rows.zip(pairs.chunks_exact_mut(2 * width)) {
            let (above, below) = dx.split_at_mut(width);
            let size = block(half);
            for from in (0..half).step_by(size).map(|from| from.min(half - size)) {
                match size {
                    16 => spread::<16>(from, dy, at, above, below),
                    4 => spread::<4>(from, dy, at, above, below),
                    _ => spread::<1>(from, dy, at, above, below),
                }
            }
            if width % 2 == 1 {
                above[width - 1].write(0.0);
                below[width - 1].write(0.0);
            }
        }
        dx.append_zeros(height % 2 * width);
    }
}

/// Returns the size of the blocks of a row. The last may overlap the one before: the same values are then written twice.
fn block(length: usize) -> usize {
    match length {
        16.. => 16,
        4.. => 4,
        _ => 1,
    }
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn pair<const N: usize>(
    from: usize,
    above: &[f32],
    below: &[f32],
    y: &mut [MaybeUninit<f32>],
    at: &mut [u8],
) {
    let (above, below) = (&above[2 * from..2 * (from + N)], &below[2 * from..2 * (from + N)]);
    let (y, at) = (&mut y[from..from + N], &mut at[from..from + N]);
    for lane in 0..N {
        let best = later((above[2 * lane], 0), (above[2 * lane + 1], 1));
        let best = later(best, (below[2 * lane], 2));
        let (best, index) = later(best, (below[2 * lane + 1], 3));
        y[lane].write(best);
        at[lane] = index;
    }
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn spread<const N: usize>(
    from: usize,
    dy: &[f32],
    at: &[u8],
    above: &mut [MaybeUninit<f32>],
    below: &mut [MaybeUninit<f32>],
) {
    let (dy, at) = (&dy[from..from + N], &at[from..from + N]);
    let above = &mut above[2 * from..2 * (from + N)];
    let below = &mut below[2 * from..2 * (from + N)];
    for lane in 0..2 * N {
        let (dy, at, side) = (dy[lane / 2], at[lane / 2], u8::from(lane % 2 == 1));
        above[lane].write(if at == side { dy } else { 0.0 });
        below[lane].write(if at == side + 2 { dy } else { 0.0 });
    }
}

/// Returns the second if it is greater or undefined.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn later(one: (f32, u8), other: (f32, u8)) -> (f32, u8) {
    let takes = other.0 > one.0 || other.0.is_nan();
    (if takes { other.0 } else { one.0 }, if takes { other.1 } else { one.1 })
}

simd! {
    fn any(planes: &Planes, x: &[f32], y: &mut Output<'_>, at: &mut [u32]) {
        let y = y.append_zeros(at.len());
        let ([height, width], window) = (planes.from, planes.window);
        let rows = y.chunks_exact_mut(planes.to[1]).zip(at.chunks_exact_mut(planes.to[1]));
        for (line, (y, at)) in rows.enumerate() {
            let down = window.span(0, line, height);
            y.fill(f32::NEG_INFINITY);
            for (column, at) in at.iter_mut().enumerate() {
                *at = flat(down.start * width + window.span(1, column, width).start);
            }
            for row in down {
                for tap in 0..window.kernel[1] {
                    let (range, first) = window.row(tap, width, planes.to[1]);
                    let from = row * width + first;
                    let (y, at) = (&mut y[range.clone()], &mut at[range]);
                    let blocks = y.chunks_mut(BLOCK).zip(at.chunks_mut(BLOCK));
                    for (block, (y, at)) in blocks.enumerate() {
                        let from = from + block * BLOCK * window.stride;
                        // Contiguous first: only then the comparisons vectorize.
                        let mut candidates = [0.0; BLOCK];
                        let strided = x[from..].iter().step_by(window.stride);
                        for (candidate, x) in candidates[..y.len()].iter_mut().zip(strided) {
                            *candidate = *x;
                        }
                        for (nth, ((y, at), candidate)) in y.iter_mut().zip(at).zip(candidates).enumerate() {
                            let takes = candidate > *y || candidate.is_nan();
                            *y = if takes { candidate } else { *y };
                            *at = if takes { flat(from + nth * window.stride) } else { *at };
                        }
                    }
                }
            }
        }
    }
}

/// Returns an index in a plane.
#[expect(clippy::cast_possible_truncation, reason = "no plane has 2^32 elements")]
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn flat(at: usize) -> u32 {
    at as u32
}

fn back_any(planes: &Planes, dy: &[f32], at: &[u32], dx: &mut Output<'_>) {
    let dx = dx.append_zeros(planes.sizes()[0]);
    for (dy, at) in dy.iter().zip(at) {
        dx[*at as usize] += *dy;
    }
}
