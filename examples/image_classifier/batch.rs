//! From bytes to tensors, as the images are or varied.

use candle_core::{Device, Tensor};
use cog_train::candle_core;
use cog_train::prelude::*;
use cog_train::rng::Stream;

use crate::idx::SIDE;

/// The greatest shift of an image, in pixels.
const REACH: u64 = 2;

/// The random changes of an image, drawn anew each time it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Augmentation {
    None,
    /// Moved by up to two pixels in each direction.
    Shift,
    /// Moved, and made brighter or darker.
    ShiftAndLight,
}

/// An image's pixels and its label.
pub type Row = (Vec<u8>, u8);

/// Images side by side.
pub struct Batch {
    /// [batch, 1, side, side], from 0 to 1.
    pub images: Tensor,
    /// [batch]
    pub labels: Tensor,
}

/// Images as they are.
pub fn plain(rows: &[Row], device: &Device) -> Result<Batch> {
    batch(rows.iter().map(|(pixels, label)| (to_floats(pixels), *label)), device)
}

/// Images, each changed by random numbers of its own stream.
pub fn varied(
    rows: &[Row],
    augmentation: Augmentation,
    streams: impl Iterator<Item = Stream>,
    device: &Device,
) -> Result<Batch> {
    let vary = |((pixels, label), mut variation): (&Row, Stream)| {
        let mut pixels = to_floats(pixels);
        if augmentation != Augmentation::None {
            pixels =
                shifted(&pixels, variation.below(2 * REACH + 1), variation.below(2 * REACH + 1));
        }
        if augmentation == Augmentation::ShiftAndLight {
            #[expect(clippy::cast_possible_truncation, reason = "the network computes in 32 bits")]
            let light = (0.6 + 0.4 * variation.uniform()) as f32;
            for pixel in &mut pixels {
                *pixel *= light;
            }
        }
        (pixels, *label)
    };
    batch(rows.iter().zip(streams).map(vary), device)
}

fn to_floats(image: &[u8]) -> Vec<f32> {
    image.iter().map(|pixel| f32::from(*pixel) / 255.0).collect()
}

/// The image moved right and down; [`REACH`] leaves it where it is. What comes in is paper.
fn shifted(image: &[f32], right: u64, down: u64) -> Vec<f32> {
    let source =
        |to: usize, by: u64| (to as u64 + REACH).checked_sub(by).filter(|from| *from < SIDE as u64);
    let pixel = |at: usize| {
        let (y, x) = (source(at / SIDE, down)?, source(at % SIDE, right)?);
        image.get(usize::try_from(y * SIDE as u64 + x).ok()?).copied()
    };
    (0..SIDE * SIDE).map(|at| pixel(at).unwrap_or(0.0)).collect()
}

fn batch(images: impl Iterator<Item = (Vec<f32>, u8)>, device: &Device) -> Result<Batch> {
    let (pixels, labels): (Vec<_>, Vec<_>) =
        images.map(|(pixels, label)| (pixels, u32::from(label))).unzip();
    let count = labels.len();
    Ok(Batch {
        images: Tensor::from_vec(pixels.concat(), (count, 1, SIDE, SIDE), device)?,
        labels: Tensor::from_vec(labels, count, device)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_moves_every_pixel_and_brings_in_paper() {
        let mut image = vec![0.0; SIDE * SIDE];
        image[0] = 1.0;
        image[5 * SIDE + 9] = 0.5;
        assert_eq!(shifted(&image, REACH, REACH), image);
        let moved = shifted(&image, REACH + 2, REACH + 1);
        assert!((moved[SIDE + 2] - 1.0).abs() < 1e-6 && (moved[6 * SIDE + 11] - 0.5).abs() < 1e-6);
        assert_eq!(moved.iter().filter(|pixel| **pixel > 0.0).count(), 2);
        let moved = shifted(&image, 0, REACH);
        assert!((moved[5 * SIDE + 7] - 0.5).abs() < 1e-6);
        assert_eq!(
            moved.iter().filter(|pixel| **pixel > 0.0).count(),
            1,
            "the corner has left the image"
        );
    }
}
