//! Scaled dot-product attention (Vaswani et al., "Attention Is All You Need", 2017), with fewer heads of keys than of
//! queries if wanted (Ainslie et al., "GQA", 2023):
//!
//! ```text
//! y = softmax(scale q k^T) v
//! ```
//!
//! for each row of the batch and head of queries. `q` and `y` `[B, T, H, hd]`, `k` and `v` `[B, S, KV, hd]`, all of one
//! float type; `KV` divides `H`, and query head `h` attends to key head `h / (H / KV)`. `scale` is `1 / sqrt(hd)` unless it is
//! given. A [`Mask`] and a window say which keys a query sees; one that sees none returns zeros and has no gradient, as in
//! PyTorch. With a soft cap `c` the scores are `c tanh(scale q k^T / c)` (Gemma Team, "Gemma 2", 2024).
//!
//! Backward, with `p` the softmax's result and `D = sum(y * dy)` of each query: `dv = p^T dy`,
//! `ds = scale p * (dy v^T - D)`, `dq = ds k`, `dk = ds^T q`; with a soft cap, `ds` is multiplied by `1 - (s / c)^2`.
//!
//! With dropout `y = (m * p) v`, where `m` is 0 or `1 / (1 - p)` for each weight: `dv = (m * p)^T dy` and
//! `ds = scale p * (m * dy v^T - D)`. `m` is a function of a random stream and of the weight's index, and is drawn again.
//!
//! The fast path never stores a matrix of `T` times `S` (Dao et al., "FlashAttention", 2022; Dao, "FlashAttention-2",
//! 2023): it iterates over blocks of queries and keys, and saves for the backward pass the result and one value for each
//! query and head, the logarithm of the softmax's denominator. Each thread has scratch memory for the keys and values of one
//! head and their gradients, and some blocks: memory is linear in `T`.

mod cpu;
mod cuda;
mod dropped;
mod geometry;
mod mask;
mod reference;

use super::gpu::Gpu;
use super::reference::dispatch;
use super::tape::Node;
use super::{dropout, dtypes};
use candle_core::Error;
use dropped::Dropped;
use geometry::{Geometry, default_scale};
pub use mask::Mask;
use mask::{HostMask, refused};

/// The parameters of an attention.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) mask: Mask,
    /// The greatest distance of a query and a key that it sees.
    pub(crate) window: Option<usize>,
    /// `1 / sqrt(hd)` if there is none.
    pub(crate) scale: Option<f64>,
    pub(crate) softcap: Option<f64>,
    /// The weights that dropout sets to zero, behind the softmax.
    pub(crate) dropped: Option<dropout::Mask>,
}

impl Options {
    pub(crate) fn new(mask: Mask) -> Self {
        Self { mask, window: None, scale: None, softcap: None, dropped: None }
    }

    /// # Errors
    ///
    /// candle's error when the mask does not fit the geometry.
    fn host_mask(&self, geometry: &Geometry) -> Result<HostMask, Error> {
        let dropped = self.dropped.clone().map(|mask| Dropped::new(mask, geometry));
        Ok(HostMask::new(&self.mask, self.window, geometry)?.dropping(dropped))
    }

    /// # Errors
    ///
    /// candle's error when a factor or a bound is no number that can be meant.
    fn check(&self) -> Result<(), Error> {
        if let Some(scale) = self.scale.filter(|scale| !scale.is_finite()) {
            return Err(refused(&format!("a scale of {scale}")));
        }
        if let Some(cap) = self.softcap.filter(|cap| !cap.is_finite() || *cap <= 0.0) {
            return Err(refused(&format!("a soft cap of {cap}, which must be above 0")));
        }
        Ok(())
    }
}

/// Attention of three operands.
///
/// # Errors
///
/// candle's error when the shapes or the mask do not fit or the device fails.
pub(crate) fn forward(q: &Node, k: &Node, v: &Node, options: &Options) -> Result<Node, Error> {
    options.check()?;
    let shapes = || format!("q {:?}, k {:?}, v {:?}", q.dims(), k.dims(), v.dims());
    let (&[batch, queries, heads, width], &[rows, keys, kv_heads, other]) = (q.dims(), k.dims())
    else {
        return Err(refused(&format!("not `[B, T, H, hd]`: {}", shapes())));
    };
    if k.dims() != v.dims() || (batch, width) != (rows, other) {
        return Err(refused(&format!("the shapes do not fit together: {}", shapes())));
    }
    let others = [("k", Some(k.tensor())), ("v", Some(v.tensor()))];
    dtypes::check("attention", ("q", q.tensor()), others)?;
    check_heads(heads, kv_heads, width)?;
    let scale = options.scale.unwrap_or_else(|| default_scale(width));
    let softcap = options.softcap;
    let geometry = Geometry { batch, queries, keys, heads, kv_heads, width, scale, softcap };
    let mask = options.host_mask(&geometry)?;
    let fits = cuda::fits(&geometry) && options.dropped.is_none();
    if let Some(gpu) = Gpu::of([q, k, v].map(Node::tensor)).filter(|_| fits) {
        return cuda::separate(gpu, [q, k, v], geometry, &mask);
    }
    let reference = mask.clone();
    let dtype = q.tensor().dtype();
    dispatch(
        [q, k, v],
        |operands| cpu::separate(operands, geometry, mask, dtype),
        move |operands| reference::forward(operands, &geometry, &reference),
    )
}

/// Attention of one operand `[B, T, (H + 2 KV) hd]`, which holds the heads of the queries, then those of the keys, then
/// those of the values. The result is `[B, T, H hd]`.
///
/// # Errors
///
/// candle's error when the shapes or the mask do not fit or the device fails.
pub(crate) fn packed(
    qkv: &Node,
    heads: usize,
    kv_heads: usize,
    options: &Options,
) -> Result<Node, Error> {
    options.check()?;
    let &[batch, queries, row] = qkv.dims() else {
        return Err(refused(&format!("not `[B, T, (H + 2 KV) hd]`: {:?}", qkv.dims())));
    };
    let all = heads + 2 * kv_heads;
    if all == 0 || row % all != 0 {
        return Err(refused(&format!(
            "{heads} + 2 * {kv_heads} heads do not divide a row of {row}"
        )));
    }
    let width = row / all;
    check_heads(heads, kv_heads, width)?;
    let scale = options.scale.unwrap_or_else(|| default_scale(width));
    let (keys, softcap) = (queries, options.softcap);
    let geometry = Geometry { batch, queries, keys, heads, kv_heads, width, scale, softcap };
    let mask = options.host_mask(&geometry)?;
    let fits = cuda::fits(&geometry) && options.dropped.is_none();
    if let Some(gpu) = Gpu::of([qkv.tensor()]).filter(|_| fits) {
        return cuda::packed(gpu, qkv, geometry, &mask);
    }
    let reference = mask.clone();
    let dtype = qkv.tensor().dtype();
    dispatch(
        [qkv],
        |operands| cpu::packed(operands, geometry, mask, dtype),
        move |[qkv]| {
            let x = qkv.reshape((batch, queries, all, width))?;
            let part = |from, count| x.narrow(2, from, count);
            let (keys, values) = (part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?);
            let y = reference::forward([&part(0, heads)?, &keys, &values], &geometry, &reference)?;
            y.reshape((batch, queries, heads * width))
        },
    )
}

fn check_heads(heads: usize, kv_heads: usize, width: usize) -> Result<(), Error> {
    if kv_heads == 0 || heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(refused(&format!("{kv_heads} heads of keys do not divide {heads} of queries")));
    }
    if width == 0 {
        return Err(refused("a head of no elements"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
