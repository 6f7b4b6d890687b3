//! One pass over memory on all threads.

use candle_core::{Error, Tensor};

use super::Constants;
use crate::kernels::fused;

pub(super) fn update(
    weight: &Tensor,
    gradient: &Tensor,
    moments: [&Tensor; 2],
    constants: &Constants,
) -> Result<(), Error> {
    let Constants { scale, shrink, coupled, share1, beta2, share2, correction, epsilon, rate } =
        constants.in_32_bits();
    let [first, second] = moments;
    // Multiplying by 1 and adding 0 * w change nothing that is finite, and a loop without branches vectorizes.
    fused::each([weight, first, second], gradient, |[w, m, v], g| {
        let g = g * scale + w * coupled;
        let m = m + (g - m) * share1;
        let v = v * beta2 + g * share2 * g;
        [w * shrink - m / (v.sqrt() * correction + epsilon) * rate, m, v]
    })
}
