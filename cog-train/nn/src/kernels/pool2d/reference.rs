//! The reference: the elements under the window at each position are gathered, and reduced.
#![expect(clippy::cast_precision_loss, reason = "small counts")]

use candle_core::{DType, Error, Tensor};

use super::{Planes, Pool};

pub(super) fn forward(x: &Tensor, pool: Pool, planes: &Planes) -> Result<Tensor, Error> {
    let (images, channels, height, width) = x.dims4()?;
    let (count, [results, taps]) = (images * channels, [planes.sizes()[1], planes.window.taps()]);
    let table = planes.window.table(planes.from, planes.to);
    let from: Vec<u32> = table.iter().map(|at| at.unwrap_or(0)).collect();
    let inside: Vec<u8> = table.iter().map(|at| u8::from(at.is_some())).collect();
    let from = Tensor::from_vec(from, results * taps, x.device())?;
    let inside = Tensor::from_vec(inside, (1, results, taps), x.device())?;
    let seen = x.reshape((count, height * width))?.contiguous()?.index_select(&from, 1)?;
    let seen = seen.reshape((count, results, taps))?;
    let inside = inside.broadcast_as(seen.shape())?.contiguous()?;
    let padding = match pool {
        Pool::Max => f64::NEG_INFINITY,
        Pool::Average => 0.0,
    };
    let padding = Tensor::full(padding, seen.shape(), x.device())?.to_dtype(x.dtype())?;
    let seen = inside.where_cond(&seen, &padding)?;
    let y = match pool {
        // candle has no maximum of nothing.
        _ if count == 0 => seen.sum_keepdim(2)?,
        Pool::Max => seen.contiguous()?.gather(&chosen(&seen.detach(), &inside)?, 2)?,
        Pool::Average => (seen.sum_keepdim(2)? / taps as f64)?,
    };
    y.reshape((images, channels, planes.to[0], planes.to[1]))
}

/// Returns the index of the last NaN, else that of the first maximum that is not padding.
fn chosen(seen: &Tensor, inside: &Tensor) -> Result<Tensor, Error> {
    let taps = seen.dim(2)?;
    let order = Tensor::arange(0u32, u32::try_from(taps).unwrap_or(u32::MAX), seen.device())?;
    let order = order.to_dtype(DType::F32)?;
    let greatest = (seen.broadcast_eq(&seen.max_keepdim(2)?)? * inside)?.to_dtype(DType::F32)?;
    let undefined = seen.ne(seen)?.to_dtype(DType::F32)?;
    // No two ranks are equal.
    let first = greatest.broadcast_mul(&order.affine(-1.0, taps as f64)?)?;
    let last = undefined.broadcast_mul(&order.affine(1.0, 1.0 + taps as f64)?)?;
    (first + last)?.argmax_keepdim(2)
}
