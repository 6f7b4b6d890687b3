//! The reference implementation, in candle operations.

use candle_core::{D, Error, Tensor};

pub(super) fn forward([x, weight, bias]: [&Tensor; 3], epsilon: f64) -> Result<Tensor, Error> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centered.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normal.broadcast_mul(weight)?.broadcast_add(bias)
}
