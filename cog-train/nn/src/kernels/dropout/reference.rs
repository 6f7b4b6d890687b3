//! The reference. The mask is drawn on the CPU and copied, so that every device has the same.

use candle_core::{Device, Error, Tensor};

use super::{GROUP, Mask};

pub(super) fn forward(x: &Tensor, mask: &Mask) -> Result<Tensor, Error> {
    let count = x.elem_count();
    let mut stays = Vec::with_capacity(count.next_multiple_of(GROUP));
    for group in 0..count.div_ceil(GROUP) {
        stays.extend(
            mask.words(group).as_flattened().iter().map(|word| u8::from(*word >= mask.least)),
        );
    }
    stays.truncate(count);
    let stays = Tensor::from_vec(stays, x.shape(), &Device::Cpu)?;
    let stays = stays.to_device(x.device())?.to_dtype(x.dtype())?;
    x * stays.affine(mask.scale, 0.0)?
}
