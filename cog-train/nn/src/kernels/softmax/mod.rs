//! `y = exp(x) / sum(exp(x))` along a dimension; `x` and `y` of one shape and float type.
//!
//! On every device in candle's own operations; floats of 16 bits are computed with in 32. Kept is the result; backward,
//! `dx = y * (dy - sum(dy * y))`.

use candle_core::{Error, Tensor};

use super::reduce::wide;
use super::tape::Node;

/// The softmax along dimension `dim`.
///
/// # Errors
///
/// candle's error when there is no such dimension or the device fails.
pub(crate) fn forward(x: &Node, dim: usize) -> Result<Node, Error> {
    let (to, dtype) = (x.handle(), x.tensor().dtype());
    let y = plain(&wide(x.tensor())?, dim)?;
    let kept = to.map(|_| y.clone());
    Ok(x.tape().result(y.to_dtype(dtype)?, [to], move |gradient, adjoints| {
        let Some(y) = kept else { return Ok(()) };
        let product = (&y * gradient.to_dtype(y.dtype())?)?;
        let inner = product.sum_keepdim(dim)?;
        adjoints.give(to, (product - y.broadcast_mul(&inner)?)?)
    }))
}

/// The maximum keeps `exp` in range and cancels out.
fn plain(x: &Tensor, dim: usize) -> Result<Tensor, Error> {
    let exp = x.broadcast_sub(&x.max_keepdim(dim)?.detach())?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(dim)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::parity;
    use super::*;
    use crate::kernels::tape::trace;

    #[test]
    fn values_and_gradients_are_candles() {
        let x = (parity::draw(&[3, 40, 5], 0) * 3.0).unwrap();
        for dim in 0..3 {
            parity::check([&x], |[x]| trace([x], |[x]| forward(&x, dim)), |[x]| plain(x, dim));
        }
    }

    #[test]
    fn large_and_masked_scores_stay_finite() {
        let x = Tensor::new(&[1000f32, 1000.0, f32::NEG_INFINITY], &Device::Cpu).unwrap();
        let y = trace([&x], |[x]| forward(&x, 0)).unwrap();
        assert_eq!(y.to_vec1::<f32>().unwrap(), [0.5, 0.5, 0.0]);
    }
}
