//! Panels: parts of a matrix in the order in which the innermost loops read them.

use crate::kernels::simd::{self, LINE, simd};

/// Rows and columns of a block that is transposed in registers.
const SQUARE: usize = 16;

/// Panels that are filled side by side.
const BESIDE: usize = 8;
/// Rows that are prefetched ahead: those of a narrow panel are too far apart for the processor's own prefetcher.
const AHEAD: usize = 12;

/// Packs lines of `depth` elements into panels of `width`, one panel behind the other.
///
/// The elements are at `line_step * line + depth_step * at`, and one of the steps is 1.
pub(super) fn panels(
    room: &mut [f32],
    width: usize,
    from: &[f32],
    (count, line_step): (usize, usize),
    (depth, depth_step): (usize, usize),
) {
    let done = match (line_step, width) {
        (1, 4) => beside::<4>(room, from, count, (depth, depth_step)),
        (1, 6) => beside::<6>(room, from, count, (depth, depth_step)),
        _ => 0,
    };
    let rooms = room[done * depth..].chunks_exact_mut(width * depth);
    for (room, line) in rooms.zip((done..count).step_by(width)) {
        let lines = width.min(count - line);
        panel(room, width, &from[line * line_step..], (lines, line_step), depth_step);
    }
}

/// Packs contiguous lines into narrow panels, [`BESIDE`] panels at a time, so that each cache line of the
/// matrix is read once. Returns the number of lines that are packed: those of full panels.
fn beside<const WIDTH: usize>(
    room: &mut [f32],
    from: &[f32],
    count: usize,
    (depth, step): (usize, usize),
) -> usize {
    let done = count / WIDTH * WIDTH;
    let rooms = room[..done * depth].chunks_mut(BESIDE * WIDTH * depth);
    for (room, from) in rooms.zip((0..done).step_by(BESIDE * WIDTH).map(|line| &from[line..])) {
        let (room, _) = room.as_chunks_mut::<WIDTH>();
        let lines = room.len() / depth * WIDTH;
        for at in 0..depth {
            for line in (0..lines + LINE).step_by(LINE) {
                simd::prefetch(from, (at + AHEAD) * step + line);
            }
            let (row, _) = from[at * step..][..lines].as_chunks::<WIDTH>();
            for (to, elements) in room[at..].iter_mut().step_by(depth).zip(row) {
                *to = *elements;
            }
        }
    }
    done
}

/// Interleaves `lines` lines: the element `at` of line `line` goes to `at * width + line`. There are at
/// most `width` lines; zeros stand for those that are missing. A panel is as deep as it is long over its width.
fn panel(
    panel: &mut [f32],
    width: usize,
    from: &[f32],
    (lines, line_step): (usize, usize),
    depth_step: usize,
) {
    if lines < width {
        panel.fill(0.0);
    }
    if line_step == 1 {
        copied(panel, width, from, lines, depth_step);
    } else {
        transposed(panel, width, from, lines, line_step);
    }
}

fn copied(panel: &mut [f32], width: usize, from: &[f32], lines: usize, step: usize) {
    if (width, lines) == (WIDE, WIDE) {
        return wide(panel, from, step);
    }
    for (at, to) in panel.chunks_exact_mut(width).enumerate() {
        to[..lines].copy_from_slice(&from[at * step..][..lines]);
    }
}

/// The columns of a full panel for AVX-512. A length that the compiler knows is a move or two, and no call.
const WIDE: usize = 64;

simd! {
    fn wide(panel: &mut [f32], from: &[f32], step: usize) {
        for (at, to) in panel.as_chunks_mut::<WIDE>().0.iter_mut().enumerate() {
            to.copy_from_slice(&from[at * step..][..WIDE]);
        }
    }
}

fn transposed(panel: &mut [f32], width: usize, from: &[f32], lines: usize, step: usize) {
    let depth = panel.len() / width;
    let squares = if square::is_supported() { lines / SQUARE * SQUARE } else { 0 };
    let deep = depth / SQUARE * SQUARE;
    for at in (0..deep).step_by(SQUARE) {
        for line in (0..squares).step_by(SQUARE) {
            square::transpose(
                &mut panel[at * width + line..],
                width,
                &from[line * step + at..],
                step,
            );
        }
    }
    let mut one_by_one = |lines: std::ops::Range<usize>, depth: std::ops::Range<usize>| {
        for line in lines {
            let elements = &from[line * step + depth.start..][..depth.len()];
            let panel = panel.get_mut(depth.start * width + line..).unwrap_or_default();
            for (to, element) in panel.iter_mut().step_by(width).zip(elements) {
                *to = *element;
            }
        }
    };
    one_by_one(0..squares, deep..depth);
    for at in (0..depth).step_by(SQUARE) {
        one_by_one(squares..lines, at..depth.min(at + SQUARE));
    }
}

/// Transposes 16 rows of 16 elements, in registers.
#[cfg(target_arch = "x86_64")]
mod square {
    use std::arch::x86_64::{
        __m512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_loadu_ps, _mm512_setzero_ps,
        _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };

    use super::SQUARE;
    use crate::kernels::simd::{Level, level};

    pub(super) fn is_supported() -> bool {
        level() == Level::Avx512
    }

    /// Transposes a block. Rows are `from_step` apart, columns `to_step`.
    ///
    /// # Panics
    ///
    /// When it is not [supported](is_supported), or a slice is too short.
    pub(super) fn transpose(to: &mut [f32], to_step: usize, from: &[f32], from_step: usize) {
        assert!(is_supported());
        assert!(to.len() >= (SQUARE - 1) * to_step + SQUARE);
        assert!(from.len() >= (SQUARE - 1) * from_step + SQUARE);
        // SAFETY: 1. the processor has AVX-512: the first assertion; 2. 16 elements at each of 16 steps are in the slices: the others.
        unsafe { avx512(to, to_step, from, from_step) }
    }

    /// # Safety
    ///
    /// The slices have 16 elements at each of 16 multiples of their steps.
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(to: &mut [f32], to_step: usize, from: &[f32], from_step: usize) {
        let mut rows = [_mm512_setzero_ps(); SQUARE];
        for (at, row) in rows.iter_mut().enumerate() {
            // SAFETY: the row is in the slice: the caller's promise.
            *row = unsafe { _mm512_loadu_ps(from.as_ptr().add(at * from_step)) };
        }
        // In each quarter of the registers, 4 rows of 4 elements become 4 columns.
        let mut fours = [_mm512_setzero_ps(); SQUARE];
        for group in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|at| rows[4 * group + at]);
            let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            fours[4 * group] = low(ab, cd);
            fours[4 * group + 1] = high(ab, cd);
            let (ab, cd) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            fours[4 * group + 2] = low(ab, cd);
            fours[4 * group + 3] = high(ab, cd);
        }
        // The quarters are exchanged: element `at` of quarter `quarter` is column `4 * quarter + at`.
        for at in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|group| fours[4 * group + at]);
            let (ab, cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
            let first = _mm512_shuffle_f32x4::<0x88>(ab, cd);
            let second = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
            let (ab, cd) = (_mm512_shuffle_f32x4::<0xee>(a, b), _mm512_shuffle_f32x4::<0xee>(c, d));
            let third = _mm512_shuffle_f32x4::<0x88>(ab, cd);
            let fourth = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
            for (quarter, column) in [first, second, third, fourth].into_iter().enumerate() {
                // SAFETY: the column is in the slice: the caller's promise.
                unsafe {
                    _mm512_storeu_ps(to.as_mut_ptr().add((4 * quarter + at) * to_step), column);
                };
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn low(a: __m512, b: __m512) -> __m512 {
        _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
    }

    #[target_feature(enable = "avx512f")]
    fn high(a: __m512, b: __m512) -> __m512 {
        _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod square {
    pub(super) fn is_supported() -> bool {
        false
    }

    pub(super) fn transpose(_: &mut [f32], _: usize, _: &[f32], _: usize) {
        unreachable!("it is not supported")
    }
}
