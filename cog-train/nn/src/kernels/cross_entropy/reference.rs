//! The reference implementation, in candle operations.

use candle_core::{D, DType, Error, Tensor};

use super::IGNORED;

pub(crate) fn forward(logits: &Tensor, targets: &[u32]) -> Result<Tensor, Error> {
    let device = logits.device();
    let count = |target: &u32| if *target == IGNORED { 0f32 } else { 1.0 };
    let class = |target: &u32| if *target == IGNORED { 0 } else { *target };
    let counts = Tensor::new(targets.iter().map(count).collect::<Vec<_>>(), device)?;
    let classes =
        Tensor::new(targets.iter().map(class).collect::<Vec<_>>(), device)?.unsqueeze(1)?;
    let wide = match logits.dtype() {
        DType::F64 => logits.clone(),
        _ => logits.to_dtype(DType::F32)?,
    };
    // The maximum is subtracted, detached: it changes only the rounding.
    let shifted = wide.broadcast_sub(&wide.detach().max_keepdim(D::Minus1)?)?;
    let total = shifted.exp()?.sum(D::Minus1)?.log()?;
    let losses = (total - shifted.gather(&classes, 1)?.squeeze(1)?)?;
    (losses * counts.to_dtype(wide.dtype())?)?.sum_all()
}
