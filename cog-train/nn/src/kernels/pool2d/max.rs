//! The greatest number, fast: windows of 2 x 2 side by side, which most networks have, and any other.

use rayon::prelude::*;

use super::Planes;
use crate::kernels::host;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use crate::kernels::window::Window;
use candle_core::Error;

/// Results of a row that are compared at once.
const BLOCK: usize = 64;

pub(super) fn forward(x: &Node, planes: Planes) -> Result<Node, Error> {
    let beside = Window { kernel: [2, 2], stride: 2, padding: 0, dilation: 1 };
    if planes.window == beside {
        run(x, planes, 0u8, |planes, x, y, at| pairs(x, planes.from[1], y, at), back_pairs)
    } else {
        run(x, planes, 0u32, any, back_any)
    }
}

/// Pools by `pool(x, y, at)`, which writes to `at` the index that each value comes from; the backward pass is
/// `back(dy, at, dx)`. `y` and `dx` are zeros: zeroing a plane that the cache has costs less than it saves in code.
fn run<A: Copy + Send + Sync + 'static>(
    x: &Node,
    planes: Planes,
    nowhere: A,
    pool: fn(&Planes, &[f32], &mut [f32], &mut [A]),
    back: fn(&Planes, &[f32], &[A], &mut [f32]),
) -> Result<Node, Error> {
    let [from, to] = planes.sizes();
    let (shape, count) = (x.tensor().shape().clone(), x.tensor().elem_count() / from);
    let mut kept = vec![nowhere; count * to];
    let (long, short) = (planes.together() * from, planes.together() * to);
    let dims = (shape.dims()[0], shape.dims()[1], planes.to[0], planes.to[1]);
    let y = host::read([x.tensor()], |[x]| {
        host::make(dims, |y| {
            let groups = y.par_chunks(short).zip(kept.par_chunks_mut(short));
            groups.zip(x.par_chunks(long)).for_each(|((mut y, kept), x)| {
                let each = x.chunks_exact(from).zip(kept.chunks_exact_mut(to));
                each.for_each(|(x, at)| pool(&planes, x, y.append_zeros(to), at));
            });
        })
    })??;
    let handle = x.handle();
    Ok(x.tape().result(y, [handle], move |gradient, adjoints| {
        let dx = host::read([&gradient], |[dy]| {
            host::make(shape, |dx| {
                let groups = dx.par_chunks(long).zip(kept.par_chunks(short));
                groups.zip(dy.par_chunks(short)).for_each(|((mut dx, kept), dy)| {
                    let each = kept.chunks_exact(to).zip(dy.chunks_exact(to));
                    each.for_each(|(at, dy)| back(&planes, dy, at, dx.append_zeros(from)));
                });
            })
        })??;
        adjoints.give(handle, dx)
    }))
}

simd! {
    /// Two rows make one; which of the four it was goes to `at`.
    fn pairs(x: &[f32], width: usize, y: &mut [f32], at: &mut [u8]) {
        let half = width / 2;
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

    fn unpair(dy: &[f32], at: &[u8], width: usize, dx: &mut [f32]) {
        let half = width / 2;
        let rows = dy.chunks_exact(half).zip(at.chunks_exact(half));
        for ((dy, at), dx) in rows.zip(dx.chunks_exact_mut(2 * width)) {
            let (above, below) = dx.split_at_mut(width);
            let size = block(half);
            for from in (0..half).step_by(size).map(|from| from.min(half - size)) {
                match size {
                    16 => spread::<16>(from, dy, at, above, below),
                    4 => spread::<4>(from, dy, at, above, below),
                    _ => spread::<1>(from, dy, at, above, below),
                }
            }
        }
    }
}

/// The size of the blocks that a row is cut into. The last may lie over the one before: the same is then written twice.
fn block(length: usize) -> usize {
    match length {
        16.. => 16,
        4.. => 4,
        _ => 1,
    }
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn pair<const N: usize>(from: usize, above: &[f32], below: &[f32], y: &mut [f32], at: &mut [u8]) {
    let (above, below) = (&above[2 * from..2 * (from + N)], &below[2 * from..2 * (from + N)]);
    let (y, at) = (&mut y[from..from + N], &mut at[from..from + N]);
    for lane in 0..N {
        let best = later((above[2 * lane], 0), (above[2 * lane + 1], 1));
        let best = later(best, (below[2 * lane], 2));
        let (best, place) = later(best, (below[2 * lane + 1], 3));
        y[lane] = best;
        at[lane] = place;
    }
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn spread<const N: usize>(
    from: usize,
    dy: &[f32],
    at: &[u8],
    above: &mut [f32],
    below: &mut [f32],
) {
    let (dy, at) = (&dy[from..from + N], &at[from..from + N]);
    let above = &mut above[2 * from..2 * (from + N)];
    let below = &mut below[2 * from..2 * (from + N)];
    for lane in 0..2 * N {
        let (dy, at, side) = (dy[lane / 2], at[lane / 2], u8::from(lane % 2 == 1));
        above[lane] = if at == side { dy } else { 0.0 };
        below[lane] = if at == side + 2 { dy } else { 0.0 };
    }
}

/// The second if it is greater or undefined.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn later(one: (f32, u8), other: (f32, u8)) -> (f32, u8) {
    let takes = other.0 > one.0 || other.0.is_nan();
    (if takes { other.0 } else { one.0 }, if takes { other.1 } else { one.1 })
}

/// A last row or column without a partner is under no window: its zeros stay.
fn back_pairs(planes: &Planes, dy: &[f32], at: &[u8], dx: &mut [f32]) {
    unpair(dy, at, planes.from[1], dx);
}

simd! {
    fn any(planes: &Planes, x: &[f32], y: &mut [f32], at: &mut [u32]) {
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
                        // Side by side first: only then the comparisons become vectors, and not branches.
                        let mut numbers = [0.0; BLOCK];
                        let strided = x[from..].iter().step_by(window.stride);
                        for (number, x) in numbers[..y.len()].iter_mut().zip(strided) {
                            *number = *x;
                        }
                        for (nth, ((y, at), number)) in y.iter_mut().zip(at).zip(numbers).enumerate() {
                            let takes = number > *y || number.is_nan();
                            *y = if takes { number } else { *y };
                            *at = if takes { flat(from + nth * window.stride) } else { *at };
                        }
                    }
                }
            }
        }
    }
}

/// A place in a plane.
#[expect(clippy::cast_possible_truncation, reason = "no plane has 2^32 numbers")]
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn flat(at: usize) -> u32 {
    at as u32
}

fn back_any(_: &Planes, dy: &[f32], at: &[u32], dx: &mut [f32]) {
    for (dy, at) in dy.iter().zip(at) {
        dx[*at as usize] += *dy;
    }
}
