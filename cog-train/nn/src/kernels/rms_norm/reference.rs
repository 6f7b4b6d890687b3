//! The reference implementation, in candle operations.

use candle_core::{D, Error, Tensor};

pub(super) fn forward([x, weight]: [&Tensor; 2], epsilon: f64) -> Result<Tensor, Error> {
    let square = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(square + epsilon)?.sqrt()?)?.broadcast_mul(weight)
}
