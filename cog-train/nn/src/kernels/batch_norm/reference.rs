//! The plain form.

use candle_core::{Error, Tensor};

use super::{Sizes, Statistics, wide};

pub(super) fn statistics(x: &Tensor, sizes: Sizes) -> Result<Statistics, Error> {
    let Sizes { rows, channels, length } = sizes;
    let x = x.to_dtype(wide(x.dtype()))?.reshape((rows, channels, length))?;
    let by_channel = x.transpose(0, 1)?.flatten_from(1)?;
    let mean = by_channel.mean_keepdim(1)?;
    let variance = by_channel.broadcast_sub(&mean)?.sqr()?.mean(1)?;
    Ok(Statistics { mean: mean.squeeze(1)?, variance })
}

pub(super) fn forward(
    [x, weight, bias]: [&Tensor; 3],
    statistics: &Statistics,
    epsilon: f64,
    sizes: Sizes,
) -> Result<Tensor, Error> {
    let Sizes { rows, channels, length } = sizes;
    let dtype = wide(x.dtype());
    let column = |tensor: &Tensor| tensor.to_dtype(dtype)?.reshape((channels, 1));
    let x_ = x.to_dtype(dtype)?.reshape((rows, channels, length))?;
    let deviation = (column(&statistics.variance)? + epsilon)?.sqrt()?;
    let normal = x_.broadcast_sub(&column(&statistics.mean)?)?.broadcast_div(&deviation)?;
    let y = normal.broadcast_mul(&column(weight)?)?.broadcast_add(&column(bias)?)?;
    y.reshape(x.shape())?.to_dtype(x.dtype())
}
