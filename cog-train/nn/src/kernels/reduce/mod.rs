//! Sums and means along a dimension, which is removed: `y[.., ..] = factor * sum over i of x[.., i, ..]`, and the mean over the
//! positions that a mask keeps: `x` `[B, T, d]`, `mask` `[B, T]`, `y` `[B, d]`.
//!
//! On every device in candle's own operations; floats of 16 bits are added up in 32. Backward, each element gets the gradient
//! of its sum. Nothing is kept but the mask.

use candle_core::{DType, Error, Tensor};

use super::tape::Node;

/// `factor` times the sum along dimension `dim`.
///
/// # Errors
///
/// candle's error when there is no such dimension or the device fails.
pub(crate) fn sum(x: &Node, dim: usize, factor: f64) -> Result<Node, Error> {
    let (to, shape, dtype) = (x.handle(), x.tensor().shape().clone(), x.tensor().dtype());
    let y = wide(x.tensor())?.sum(dim)?.affine(factor, 0.0)?.to_dtype(dtype)?;
    Ok(x.tape().result(y, [to], move |gradient, adjoints| {
        let spread = gradient.unsqueeze(dim)?.broadcast_as(shape)?;
        adjoints.give(to, spread.affine(factor, 0.0)?)
    }))
}

/// The mean along dimension `dim`.
///
/// # Errors
///
/// As [`sum`].
#[expect(clippy::cast_precision_loss, reason = "sizes of tensors are far below 2^53")]
pub(crate) fn mean(x: &Node, dim: usize) -> Result<Node, Error> {
    sum(x, dim, 1.0 / x.dims()[dim] as f64)
}

/// The mean over the positions of each row where `mask` is not 0; 0 where it is 0 everywhere.
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub(crate) fn masked_mean(x: &Node, mask: &Tensor) -> Result<Node, Error> {
    let &[rows, length, _] = x.dims() else { return Err(unfit(x, mask)) };
    if mask.dims() != [rows, length] {
        return Err(unfit(x, mask));
    }
    let (to, dtype) = (x.handle(), x.tensor().dtype());
    let keep = mask.ne(&mask.zeros_like()?)?.unsqueeze(2)?.broadcast_as(x.tensor().shape())?;
    let x_ = wide(x.tensor())?;
    let zeros = x_.zeros_like()?;
    let count = mask.ne(&mask.zeros_like()?)?.to_dtype(x_.dtype())?.sum_keepdim(1)?;
    let share = count.maximum(1.0)?.recip()?;
    let y = keep.where_cond(&x_, &zeros)?.sum(1)?.broadcast_mul(&share)?.to_dtype(dtype)?;
    Ok(x.tape().result(y, [to], move |gradient, adjoints| {
        let each = gradient.broadcast_mul(&share.to_dtype(gradient.dtype())?)?;
        let spread = each.unsqueeze(1)?.broadcast_as(keep.shape())?;
        adjoints.give(to, keep.where_cond(&spread, &spread.zeros_like()?)?)
    }))
}

/// Floats of 16 bits in 32.
pub(crate) fn wide(x: &Tensor) -> Result<Tensor, Error> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}

fn unfit(x: &Node, mask: &Tensor) -> Error {
    let (x, mask) = (x.dims(), mask.dims());
    Error::Msg(format!(
        "masked_mean: an input {x:?}, not [B, T, d], and a mask {mask:?}, not [B, T]"
    ))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::parity;
    use super::*;
    use crate::kernels::tape::trace;

    #[test]
    fn sums_and_means_along_each_dimension_are_candles() {
        let x = parity::draw(&[3, 40, 5], 0);
        for dim in 0..3 {
            parity::check([&x], |[x]| trace([x], |[x]| sum(&x, dim, 1.0)), |[x]| x.sum(dim));
            parity::check([&x], |[x]| trace([x], |[x]| mean(&x, dim)), |[x]| x.mean(dim));
        }
    }

    /// Rows that keep all, some, one and none of their positions.
    #[test]
    fn a_masked_mean_is_the_mean_of_what_is_kept() {
        let x = parity::draw(&[4, 3, 5], 0);
        let kept = [[1u8, 1, 1], [1, 0, 7], [0, 1, 0], [0, 0, 0]];
        let mask = |x: &Tensor| Tensor::new(&kept, x.device());
        parity::check(
            [&x],
            |[x]| trace([x], |[x]| masked_mean(&x, &mask(x.tensor())?)),
            |[x]| {
                let weights: Vec<Vec<f64>> = kept
                    .map(|row| {
                        let count = row.iter().filter(|kept| **kept != 0).count().max(1);
                        let share = 1.0 / f64::from(u32::try_from(count).unwrap());
                        row.map(|kept| if kept == 0 { 0.0 } else { share }).to_vec()
                    })
                    .to_vec();
                let weights = Tensor::new(weights, x.device())?.unsqueeze(1)?;
                weights.matmul(&x.contiguous()?)?.squeeze(1)
            },
        );
    }

    #[test]
    fn what_a_mask_leaves_out_does_not_matter() {
        let x = Tensor::new(&[[[1f32], [f32::NAN]]], &Device::Cpu).unwrap();
        let mask = Tensor::new(&[[1f32, 0.0]], &Device::Cpu).unwrap();
        let y = trace([&x], |[x]| masked_mean(&x, &mask)).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [[1.0]]);
        let error = trace([&x], |[x]| masked_mean(&x, &mask.t()?)).unwrap_err().to_string();
        assert!(error.contains("[1, 2, 1]") && error.contains("[2, 1]"), "{error}");
    }
}
