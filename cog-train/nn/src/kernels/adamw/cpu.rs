//! One pass over memory on all threads.

use candle_core::{Error, Tensor};

use super::Constants;
use crate::kernels::fused;

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
pub(super) fn update(
    weight: &Tensor,
    gradient: &Tensor,
    moments: [&Tensor; 2],
    constants: &Constants,
) -> Result<(), Error> {
    let scale = constants.scale as f32;
    let shrink = constants.shrink as f32;
    let coupled = constants.coupled as f32;
    let share1 = constants.share1 as f32;
    let beta2 = constants.beta2 as f32;
    let share2 = constants.share2 as f32;
    let correction = constants.correction as f32;
    let epsilon = constants.epsilon as f32;
    let rate = constants.rate as f32;
    let [first, second] = moments;
    // Multiplying by 1 and adding 0 * w change nothing that is finite, and a loop without branches vectorizes.
    fused::each([weight, first, second], gradient, |[w, m, v], g| {
        let g = g * scale + w * coupled;
        let m = m + (g - m) * share1;
        let v = v * beta2 + g * share2 * g;
        [w * shrink - m / (v.sqrt() * correction + epsilon) * rate, m, v]
    })
}
