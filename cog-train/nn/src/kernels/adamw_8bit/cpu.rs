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
    let constants = constants.in_32_bits();
    host::read([gradient], |[gradient]| {
        host::lend(weight, |weight: &mut [f32]| {
            host::lend(first, |first: &mut [u8]| {
                host::lend(first_scales, |first_scales: &mut [f32]| {
                    host::lend(second, |second: &mut [u8]| {
                        host::lend(second_scales, |second_scales: &mut [f32]| {
                            let first = Moment { codes: first, scales: first_scales };
                            let second = Moment { codes: second, scales: second_scales };
                            update_all(weight, gradient, first, second, &constants);
                            Ok(())
                        })
                    })
                })
            })
        })
    })?
}

/// The codes of a moment and the scales of their blocks.
struct Moment<'a> {
    codes: &'a mut [u8],
    scales: &'a mut [f32],
}

impl<'a> Moment<'a> {
    fn blocks(self) -> impl IndexedParallelIterator<Item = (&'a mut [u8], &'a mut f32)> {
        self.codes.par_chunks_mut(BLOCK).zip(self.scales)
    }
}

fn update_all(
    weight: &mut [f32],
    gradient: &[f32],
    first: Moment<'_>,
    second: Moment<'_>,
    constants: &Constants<f32>,
) {
    let blocks = weight.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK));
    let blocks = blocks.zip(first.blocks().zip(second.blocks())).with_min_len(TASK);
    blocks.for_each(|((weight, gradient), ((first, of_first), (second, of_second)))| {
        let (mut m, mut v) = ([0.0; BLOCK], [0.0; BLOCK]);
        let (m, v) = (&mut m[..weight.len()], &mut v[..weight.len()]);
        decode(first, *of_first, &SIGNED.values, m);
        decode(second, *of_second, &UNSIGNED.values, v);
        step(weight, gradient, m, v, constants);
        *of_first = scale(m);
        *of_second = scale(v);
        for (code, value) in first.iter_mut().zip(&*m) {
            *code = SIGNED.signed(*value);
        }
        for (code, value) in second.iter_mut().zip(&*v) {
            *code = UNSIGNED.unsigned(*value);
        }
    });
}

fn decode(codes: &[u8], scale: f32, map: &[f32; 256], to: &mut [f32]) {
    for (to, code) in to.iter_mut().zip(codes) {
        *to = map[usize::from(*code)] * scale;
    }
}

simd! {
    fn step(
        weight: &mut [f32],
        gradient: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        constants: &Constants<f32>,
    ) {
        for (((w, g), m), v) in weight.iter_mut().zip(gradient).zip(m).zip(v) {
            let g = *g * constants.scale + *w * constants.coupled;
            *m += (g - *m) * constants.share1;
            *v = *v * constants.beta2 + g * constants.share2 * g;
            let divisor = v.sqrt() * constants.correction + constants.epsilon;
            *w = *w * constants.shrink - *m / divisor * constants.rate;
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
