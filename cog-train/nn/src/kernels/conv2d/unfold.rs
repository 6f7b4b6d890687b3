//! Converts between planes and the matrix whose columns are the elements under the window at each position.
//!
//! Planes are first copied with their padding, so that no window needs to look for the edge. With stride 1 a row of
//! positions is a row of the plane; it is moved in [`BLOCK`]s, the last of which reaches beyond the row's end. The next row overwrites
//! these elements, so the matrix has [`BLOCK`] elements more than it needs.

use super::geometry::{BLOCK, Band, Geometry};
use crate::kernels::output::Output;
use crate::kernels::simd::simd;

/// Copies images with zeros around their planes.
pub(super) fn pad(geometry: &Geometry, x: &[f32], padded: &mut [f32]) {
    let ([height, width], [tall, wide]) = (geometry.plane, geometry.padded());
    let padding = geometry.window.padding;
    let planes = x.chunks_exact(height * width).zip(padded.chunks_exact_mut(tall * wide));
    for (plane, padded) in planes {
        padded.fill(0.0);
        let rows = padded.chunks_exact_mut(wide).skip(padding).zip(plane.chunks_exact(width));
        rows.for_each(|(padded, row)| padded[padding..padding + width].copy_from_slice(row));
    }
}

/// Copies the planes out of their padding.
pub(super) fn unpad(geometry: &Geometry, padded: &[f32], mut x: Output<'_>) {
    let ([height, width], [tall, wide]) = (geometry.plane, geometry.padded());
    let padding = geometry.window.padding;
    for padded in padded.chunks_exact(tall * wide).take(x.len() / (height * width)) {
        for row in padded.chunks_exact(wide).skip(padding).take(height) {
            x.append_copy(&row[padding..padding + width]);
        }
    }
}

simd! {
    /// Unfolds one group: a row for each channel and element under the window, a column for each position.
    pub(super) fn unfold(
        geometry: &Geometry, band: Band, group: usize, padded: &[f32], matrix: &mut [f32],
    ) {
        let (stride, width) = (geometry.window.stride, geometry.positions[1]);
        let [image, below] = geometry.strides();
        let mut at = 0;
        for seen in 0..geometry.inner() {
            let first = first(geometry, band, group, seen);
            for start in (0..band.images).map(|at| first + at * image) {
                for start in (0..band.rows).map(|row| start + row * below) {
                    if stride == 1 {
                        for block in (0..width).step_by(BLOCK) {
                            let from = &padded[start + block..start + block + BLOCK];
                            matrix[at + block..at + block + BLOCK].copy_from_slice(from);
                        }
                    } else {
                        let from = padded[start..].iter().step_by(stride);
                        for (to, from) in matrix[at..at + width].iter_mut().zip(from) {
                            *to = *from;
                        }
                    }
                    at += width;
                }
            }
        }
    }

    /// Adds the matrix to the planes that it was unfolded from.
    pub(super) fn fold(
        geometry: &Geometry, band: Band, group: usize, matrix: &[f32], padded: &mut [f32],
    ) {
        let (stride, width) = (geometry.window.stride, geometry.positions[1]);
        let [image, below] = geometry.strides();
        let mut at = 0;
        for seen in 0..geometry.inner() {
            let first = first(geometry, band, group, seen);
            for start in (0..band.images).map(|at| first + at * image) {
                for start in (0..band.rows).map(|row| start + row * below) {
                    if stride == 1 {
                        for block in (0..width).step_by(BLOCK) {
                            let live = width - block;
                            let to = &mut padded[start + block..start + block + BLOCK];
                            let from = &matrix[at + block..at + block + BLOCK];
                            for lane in 0..BLOCK {
                                // Over the row's end there is nothing to add.
                                to[lane] += if lane < live { from[lane] } else { 0.0 };
                            }
                        }
                    } else {
                        let to = padded[start..].iter_mut().step_by(stride);
                        for (to, from) in to.zip(&matrix[at..at + width]) {
                            *to += *from;
                        }
                    }
                    at += width;
                }
            }
        }
    }
}

/// Returns the beginning, in the padded planes of the first image, of the row `seen` of a group's matrix: a channel, and an
/// element under the window.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn first(geometry: &Geometry, band: Band, group: usize, seen: usize) -> usize {
    let ([tall, wide], window) = (geometry.padded(), geometry.window);
    let (channel, tap) = (seen / window.taps(), seen % window.taps());
    let (down, right) = (tap / window.kernel[1], tap % window.kernel[1]);
    let row = band.first * window.stride + down * window.dilation;
    ((group * geometry.channels + channel) * tall + row) * wide + right * window.dilation
}
