//! The reference implementation, in candle operations.

use candle_core::{D, Error, Tensor};

use super::Rotation;

pub(super) fn forward([x, cos, sin]: [&Tensor; 3], rotation: &Rotation) -> Result<Tensor, Error> {
    let Rotation { batch, length, heads, rotated, width, ref positions } = *rotation;
    let rows = positions.len() / length.max(1);
    let positions = Tensor::new(positions.as_slice(), x.device())?;
    let of_rows = |table: &Tensor| -> Result<Tensor, Error> {
        let values = table.contiguous()?.index_select(&positions, 0)?.to_dtype(x.dtype())?;
        values.reshape((rows, length, 1, width / 2))
    };
    let (cos, sin) = (of_rows(cos)?, of_rows(sin)?);
    let all = x.reshape((batch, length, heads, width))?;
    let part = all.narrow(2, 0, rotated)?;
    let (one, other) =
        (part.narrow(D::Minus1, 0, width / 2)?, part.narrow(D::Minus1, width / 2, width / 2)?);
    let low = (one.broadcast_mul(&cos)? - other.broadcast_mul(&sin)?)?;
    let high = (other.broadcast_mul(&cos)? + one.broadcast_mul(&sin)?)?;
    let part = Tensor::cat(&[low, high], D::Minus1)?;
    let rest = all.narrow(2, rotated, heads - rotated)?;
    let y = if rotated == heads { part } else { Tensor::cat(&[part, rest], 2)? };
    y.reshape(x.shape())
}
