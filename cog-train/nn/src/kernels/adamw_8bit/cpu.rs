//! A block at a time, on all threads.

use candle_core::{Error, Tensor};
use rayon::prelude::*;

use super::codes::{SIGNED, UNSIGNED};
use super::{BLOCK, Moments};
use crate::kernels::adamw::Constants;
use crate::kernels::host;
use crate::kernels::simd::simd;

/// The fewest blocks that are worth a task.
const TASK: usize = 64;

pub(super) fn update(
    weight: &Tensor,
    gradient: &Tensor,
    moments: Moments<'_>,
    constants: &Constants,
) -> Result<(), Error> {
    let Moments { first, first_scales, second, second_scales } = moments;
    let lanes = Lanes::from(constants);
    host::read([gradient], |[gradient]| {
        host::lend(weight, |weight: &mut [f32]| {
            host::lend(first, |first: &mut [u8]| {
                host::lend(first_scales, |first_scales: &mut [f32]| {
                    host::lend(second, |second: &mut [u8]| {
                        host::lend(second_scales, |second_scales: &mut [f32]| {
                            let blocks =
                                weight.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK));
                            let first = first.par_chunks_mut(BLOCK).zip(first_scales);
                            let second = second.par_chunks_mut(BLOCK).zip(second_scales);
                            let all = blocks.zip(first).zip(second).with_min_len(TASK);
                            all.for_each(|(((weight, gradient), first), second)| {
                                update_block(weight, gradient, first, second, &lanes);
                            });
                            Ok(())
                        })
                    })
                })
            })
        })
    })?
}

/// Updates up to [`BLOCK`] elements, with the codes and the scale of each moment.
fn update_block(
    weight: &mut [f32],
    gradient: &[f32],
    first: (&mut [u8], &mut f32),
    second: (&mut [u8], &mut f32),
    lanes: &Lanes,
) {
    let (mut m, mut v) = ([0.0; BLOCK], [0.0; BLOCK]);
    let (m, v) = (&mut m[..weight.len()], &mut v[..weight.len()]);
    decode(first.0, *first.1, &SIGNED.values, m);
    decode(second.0, *second.1, &UNSIGNED.values, v);
    step(weight, gradient, m, v, lanes);
    *first.1 = scale(m);
    *second.1 = scale(v);
    for (code, value) in first.0.iter_mut().zip(&*m) {
        *code = SIGNED.signed(*value);
    }
    for (code, value) in second.0.iter_mut().zip(&*v) {
        *code = UNSIGNED.unsigned(*value);
    }
}

fn decode(codes: &[u8], scale: f32, map: &[f32; 256], to: &mut [f32]) {
    for (to, code) in to.iter_mut().zip(codes) {
        *to = map[usize::from(*code)] * scale;
    }
}

/// [`Constants`] in 32 bits.
struct Lanes {
    scale: f32,
    shrink: f32,
    coupled: f32,
    share1: f32,
    beta2: f32,
    share2: f32,
    correction: f32,
    epsilon: f32,
    rate: f32,
}

impl From<&Constants> for Lanes {
    #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
    fn from(constants: &Constants) -> Self {
        let Constants { scale, shrink, coupled, share1, beta2, share2, correction, epsilon, rate } =
            *constants;
        Self {
            scale: scale as f32,
            shrink: shrink as f32,
            coupled: coupled as f32,
            share1: share1 as f32,
            beta2: beta2 as f32,
            share2: share2 as f32,
            correction: correction as f32,
            epsilon: epsilon as f32,
            rate: rate as f32,
        }
    }
}

simd! {
    fn step(weight: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32], lanes: &Lanes) {
        for (((w, g), m), v) in weight.iter_mut().zip(gradient).zip(m).zip(v) {
            let g = *g * lanes.scale + *w * lanes.coupled;
            *m += (g - *m) * lanes.share1;
            *v = *v * lanes.beta2 + g * lanes.share2 * g;
            *w = *w * lanes.shrink - *m / (v.sqrt() * lanes.correction + lanes.epsilon) * lanes.rate;
        }
    }

    /// Divides values by the largest of their magnitudes and returns it; all are 0 when it is 0.
    fn scale(values: &mut [f32]) -> f32 {
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let divisor = if largest > 0.0 { largest } else { 1.0 };
        for value in values {
            *value /= divisor;
        }
        largest
    }
}
