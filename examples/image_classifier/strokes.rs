//! Draws the data set: the ten digits as pen strokes, each time turned, slanted, sized, placed and inked a little
//! otherwise, with specks.

use cog_train::rng::Stream;

use crate::idx::{Images, SIDE};

/// The strokes of each digit: points from 0 to 1, x to the right, y down.
const DIGITS: [&[&[[f64; 2]]]; 10] = [
    &[&[
        [0.5, 0.0],
        [0.78, 0.1],
        [0.9, 0.35],
        [0.9, 0.65],
        [0.78, 0.9],
        [0.5, 1.0],
        [0.22, 0.9],
        [0.1, 0.65],
        [0.1, 0.35],
        [0.22, 0.1],
        [0.5, 0.0],
    ]],
    &[&[[0.3, 0.2], [0.55, 0.0], [0.55, 1.0]]],
    &[&[
        [0.12, 0.25],
        [0.25, 0.06],
        [0.5, 0.0],
        [0.78, 0.08],
        [0.86, 0.3],
        [0.72, 0.52],
        [0.1, 1.0],
        [0.9, 1.0],
    ]],
    &[
        &[[0.12, 0.08], [0.5, 0.0], [0.8, 0.1], [0.84, 0.32], [0.66, 0.46], [0.42, 0.48]],
        &[[0.42, 0.48], [0.76, 0.54], [0.88, 0.74], [0.74, 0.94], [0.45, 1.0], [0.12, 0.9]],
    ],
    &[&[[0.6, 0.0], [0.08, 0.66], [0.95, 0.66]], &[[0.68, 0.35], [0.68, 1.0]]],
    &[&[
        [0.84, 0.0],
        [0.22, 0.0],
        [0.17, 0.45],
        [0.5, 0.38],
        [0.8, 0.48],
        [0.88, 0.7],
        [0.75, 0.93],
        [0.45, 1.0],
        [0.12, 0.9],
    ]],
    &[&[
        [0.72, 0.0],
        [0.4, 0.16],
        [0.18, 0.45],
        [0.12, 0.72],
        [0.25, 0.94],
        [0.5, 1.0],
        [0.76, 0.92],
        [0.86, 0.7],
        [0.72, 0.52],
        [0.45, 0.5],
        [0.2, 0.62],
    ]],
    &[&[[0.08, 0.0], [0.92, 0.0], [0.38, 1.0]]],
    &[&[
        [0.5, 0.47],
        [0.22, 0.36],
        [0.2, 0.12],
        [0.5, 0.0],
        [0.8, 0.12],
        [0.78, 0.36],
        [0.5, 0.47],
        [0.14, 0.64],
        [0.14, 0.88],
        [0.5, 1.0],
        [0.86, 0.88],
        [0.86, 0.64],
        [0.5, 0.47],
    ]],
    &[&[
        [0.82, 0.35],
        [0.55, 0.5],
        [0.26, 0.46],
        [0.14, 0.26],
        [0.28, 0.06],
        [0.52, 0.0],
        [0.76, 0.08],
        [0.85, 0.3],
        [0.78, 0.7],
        [0.6, 1.0],
    ]],
];

/// `count` digits in a random order, as often each.
pub fn draw(count: usize, stream: &mut Stream) -> Images {
    let mut labels: Vec<u8> = (0..10).cycle().take(count).collect();
    stream.shuffle(&mut labels);
    let pixels = labels.iter().flat_map(|label| digit(usize::from(*label), stream)).collect();
    Images { pixels, labels }
}

/// One digit, [`SIDE`] by [`SIDE`], from 0 (paper) to 255 (ink) in sixteen steps, which a file packs well.
#[expect(clippy::cast_precision_loss, reason = "from 0 to 784")]
fn digit(digit: usize, stream: &mut Stream) -> Vec<u8> {
    let mut between = |low: f64, high: f64| low + (high - low) * stream.uniform();
    let side = SIDE as f64;
    let (angle, slant) = (between(-0.25, 0.25), between(-0.25, 0.25));
    let (width, height) = (between(0.32, 0.55) * side, between(0.5, 0.7) * side);
    let centre = [between(0.42, 0.58) * side, between(0.42, 0.58) * side];
    let (pen, ink) = (between(0.7, 1.6), between(150.0, 255.0));
    let (sin, cos) = angle.sin_cos();
    let mut transform = |[x, y]: [f64; 2]| {
        let (x, y) = (x - 0.5 + between(-0.035, 0.035), y - 0.5 + between(-0.035, 0.035));
        let (x, y) = ((x - slant * y) * width, y * height);
        [centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y]
    };
    let strokes: Vec<Vec<[f64; 2]>> = DIGITS[digit]
        .iter()
        .map(|stroke| stroke.iter().map(|point| transform(*point)).collect())
        .collect();
    let inked = |at: usize| {
        let point = [(at % SIDE) as f64 + 0.5, (at / SIDE) as f64 + 0.5];
        let lines = strokes.iter().flat_map(|stroke| stroke.windows(2));
        let away =
            lines.map(|ends| distance(point, ends[0], ends[1])).fold(f64::INFINITY, f64::min);
        // The edge of a stroke fades over one pixel.
        ink * (pen + 0.5 - away).clamp(0.0, 1.0)
    };
    let mut pixels: Vec<f64> = (0..SIDE * SIDE).map(inked).collect();
    for _ in 0..stream.below(12) {
        let speck = usize::try_from(stream.below((SIDE * SIDE) as u64)).expect("a pixel's number");
        pixels[speck] = 255.0 * stream.uniform();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 15")]
    pixels.into_iter().map(|pixel| 17 * (pixel / 17.0).round() as u8).collect()
}

fn distance(point: [f64; 2], start: [f64; 2], end: [f64; 2]) -> f64 {
    let (along, to) =
        ([end[0] - start[0], end[1] - start[1]], [point[0] - start[0], point[1] - start[1]]);
    let length = (along[0] * along[0] + along[1] * along[1]).max(1e-12);
    let share = ((to[0] * along[0] + to[1] * along[1]) / length).clamp(0.0, 1.0);
    (to[0] - share * along[0]).hypot(to[1] - share * along[1])
}
