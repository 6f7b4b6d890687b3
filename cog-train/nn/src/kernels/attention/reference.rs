//! The reference implementation, in candle operations.

use candle_core::{D, Error, Tensor};

use super::geometry::Geometry;
use super::mask::HostMask;

pub(super) fn forward(
    [q, k, v]: [&Tensor; 3],
    geometry: &Geometry,
    mask: &HostMask,
) -> Result<Tensor, Error> {
    let Geometry { batch, keys, heads, kv_heads, width, .. } = *geometry;
    let shared = |x: &Tensor| -> Result<Tensor, Error> {
        let x = x.transpose(1, 2)?.unsqueeze(2)?;
        let x = x.broadcast_as((batch, kv_heads, geometry.group(), keys, width))?;
        x.reshape((batch, heads, keys, width))
    };
    let (q, k, v) = (q.transpose(1, 2)?.contiguous()?, shared(k)?, shared(v)?);
    let scores = (q.matmul(&k.t()?.contiguous()?)? * geometry.scale)?;
    let scores = match geometry.softcap {
        Some(cap) => ((scores / cap)?.tanh()? * cap)?,
        None => scores,
    };
    let [open, seeing] = masks(&scores, geometry, mask)?;
    let hidden = Tensor::full(f64::NEG_INFINITY, scores.shape(), scores.device())?;
    let scores = open
        .broadcast_as(scores.shape())?
        .where_cond(&scores, &hidden.to_dtype(scores.dtype())?)?;
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?.broadcast_mul(&seeing)?;
    let weights = match mask.dropped() {
        Some(dropped) => {
            (&weights * dropped.tensor(geometry, weights.dtype(), weights.device())?)?
        }
        None => weights,
    };
    weights.matmul(&v)?.transpose(1, 2)?.contiguous()
}

/// One where a query sees a key, `[B, 1, T, S]`, and where it sees any, `[B, 1, T, 1]`. One that sees none is shown all
/// in the first, so that its softmax is defined.
fn masks(scores: &Tensor, geometry: &Geometry, mask: &HostMask) -> Result<[Tensor; 2], Error> {
    let Geometry { queries, keys, .. } = *geometry;
    let batch = if mask.is_of_all_rows() { 1 } else { geometry.batch };
    let (mut open, mut seeing) = (Vec::with_capacity(batch * queries * keys), Vec::new());
    for row in 0..batch {
        for query in 0..queries {
            let seen = (0..keys).map(|key| u8::from(mask.sees(geometry, row, query, key)));
            let from = open.len();
            open.extend(seen);
            let any = open[from..].contains(&1);
            if !any {
                open[from..].fill(1);
            }
            seeing.push(u8::from(any));
        }
    }
    let device = scores.device();
    let open = Tensor::from_vec(open, (batch, 1, queries, keys), device)?;
    let seeing = Tensor::from_vec(seeing, (batch, 1, queries, 1), device)?;
    Ok([open, seeing.to_dtype(scores.dtype())?])
}
