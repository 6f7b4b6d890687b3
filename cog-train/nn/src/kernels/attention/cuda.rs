//! Blocks of queries against blocks of keys, on tensor cores. In 32 bits each element is split into two, so that an infinite
//! one becomes NaN.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{DType, Error, Tensor};

use super::geometry::Geometry;
use super::mask::Sight;
use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, kernel};
use crate::kernels::tape::Node;

// SAFETY: `Flash` passes operands of the sizes of its geometry, whose rows begin `rows` elements apart, all of its
// type, with `lse` and `delta` of one element for each query and head, and lengths and segments that `Sight` has checked.
const FORWARD: Kernel = unsafe { kernel!("forward.cu", "attention_forward", after "tiles.cu") };
// SAFETY: as above.
const DELTA: Kernel = unsafe { kernel!("backward.cu", "attention_delta", after "tiles.cu") };
// SAFETY: as above.
const BACKWARD_Q: Kernel =
    unsafe { kernel!("backward.cu", "attention_backward_q", after "tiles.cu") };
// SAFETY: as above.
const BACKWARD_KV: Kernel =
    unsafe { kernel!("backward.cu", "attention_backward_kv", after "tiles.cu") };

/// A window that hides nothing.
const NO_WINDOW: usize = i32::MAX as usize;

/// The widest heads that fit into a block's shared memory.
const WIDEST: usize = 128;
/// The most rows of a batch and the most heads: a grid has no more blocks in these directions.
const MOST: usize = 65_535;

/// Threads of a block, and the queries or keys that it owns.
const THREADS: usize = 128;
const ROWS: usize = 64;
const WARPS: usize = 4;

/// Whether the kernels support the sizes and the scores.
pub(super) fn fits(geometry: &Geometry) -> bool {
    let fits = geometry.width <= WIDEST && geometry.batch.max(geometry.heads) <= MOST;
    fits && geometry.softcap.is_none()
}

/// Attention of three operands.
pub(super) fn apart(
    gpu: Gpu,
    operands: [&Node; 3],
    geometry: Geometry,
    sight: &Sight,
) -> Result<Node, Error> {
    let [q, k, v] = operands.map(|operand| operand.tensor().contiguous());
    let (q, k, v) = (q?, k?, v?);
    let rows = [geometry.heads, geometry.kv_heads].map(|heads| heads * geometry.width);
    let flash = Flash::new(gpu, geometry, sight, q.dtype(), rows)?;
    let shape = q.dims().to_vec();
    let (y, lse) = flash.forward([&q, &k, &v], &shape)?;
    let (to, saved) = (operands.map(Node::handle), y.clone());
    Ok(operands[0].tape().result(y, to, move |dy, adjoints| {
        let dy = gpu::contiguous(&dy, flash.dtype)?;
        let like = |operand: &Tensor| flash.gpu.empty(operand.shape(), flash.dtype);
        let (dq, dk, dv) = (like(&q)?, like(&k)?, like(&v)?);
        flash.backward([&q, &k, &v], [&saved, &lse, &dy], [&dq, &dk, &dv])?;
        for (to, gradient) in to.into_iter().zip([dq, dk, dv]) {
            adjoints.give(to, gradient)?;
        }
        Ok(())
    }))
}

/// Attention of one operand that holds all three.
pub(super) fn packed(
    gpu: Gpu,
    operand: &Node,
    geometry: Geometry,
    sight: &Sight,
) -> Result<Node, Error> {
    let x = operand.tensor().contiguous()?;
    let Geometry { batch, queries, heads, kv_heads, width, .. } = geometry;
    let row = (heads + 2 * kv_heads) * width;
    let flash = Flash::new(gpu, geometry, sight, x.dtype(), [row; 2])?;
    let parts = move |x: &Tensor| -> Result<[Tensor; 3], Error> {
        let part = |from, heads| x.narrow(2, from * width, heads * width);
        let (k, v) = (part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?);
        Ok([part(0, heads)?, k, v])
    };
    let (y, lse) = flash.forward(parts(&x)?.each_ref(), &[batch, queries, heads * width])?;
    let (to, saved) = (operand.handle(), y.clone());
    Ok(operand.tape().result(y, [to], move |dy, adjoints| {
        let dy = gpu::contiguous(&dy, flash.dtype)?;
        let dx = flash.gpu.empty(x.shape(), flash.dtype)?;
        let (qkv, gradients) = (parts(&x)?, parts(&dx)?);
        flash.backward(qkv.each_ref(), [&saved, &lse, &dy], gradients.each_ref())?;
        adjoints.give(to, dx)
    }))
}

/// The arguments of the kernels of one attention.
struct Flash {
    gpu: Gpu,
    geometry: Geometry,
    dtype: DType,
    causal: bool,
    window: usize,
    lengths: Option<Tensor>,
    segments: Option<Tensor>,
    /// Strides of the rows of q, and of those of k and v.
    rows: [usize; 2],
}

impl Flash {
    fn new(
        gpu: Gpu,
        geometry: Geometry,
        sight: &Sight,
        dtype: DType,
        rows: [usize; 2],
    ) -> Result<Self, Error> {
        let upload = |words: Option<&[u32]>| words.map(|words| gpu.upload(words)).transpose();
        let (lengths, segments) = (upload(sight.lengths())?, upload(sight.segments())?);
        let (causal, window) = (sight.is_causal(), sight.window().unwrap_or(NO_WINDOW));
        Ok(Self { gpu, geometry, dtype, causal, window, lengths, segments, rows })
    }

    /// The result, and the logarithm of the softmax's denominator by row of the batch, head and query.
    fn forward(&self, [q, k, v]: [&Tensor; 3], shape: &[usize]) -> Result<(Tensor, Tensor), Error> {
        let Geometry { batch, queries, heads, .. } = self.geometry;
        let y = self.gpu.empty(shape, self.dtype)?;
        let lse = self.gpu.empty((batch, heads, queries), DType::F32)?;
        let blocks = [queries.div_ceil(ROWS), heads, batch];
        self.run(FORWARD, blocks, ROWS, &[q, k, v, &y, &lse])?;
        Ok((y, lse))
    }

    fn backward(
        &self,
        [q, k, v]: [&Tensor; 3],
        [y, lse, dy]: [&Tensor; 3],
        [dq, dk, dv]: [&Tensor; 3],
    ) -> Result<(), Error> {
        let Geometry { batch, queries, keys, heads, kv_heads, width, .. } = self.geometry;
        let delta = self.gpu.empty((batch, heads, queries), DType::F32)?;
        let rows = batch * queries * heads;
        let grid = Grid { blocks: [rows.div_ceil(WARPS), 1, 1], threads: THREADS, shared: 0 };
        let [queries_word, heads_word, width_word] = [word(queries)?, word(heads)?, word(width)?];
        let sizes = [rows.into(), queries_word.into(), heads_word.into(), width_word.into()];
        let arguments = [y.into(), dy.into(), (&delta).into()];
        self.gpu.launch(&DELTA, &self.defines(), grid, &[&arguments[..], &sizes].concat())?;
        let blocks = [queries.div_ceil(ROWS), heads, batch];
        self.run(BACKWARD_Q, blocks, 2 * ROWS, &[q, k, v, dy, lse, &delta, dq])?;
        let blocks = [keys.div_ceil(ROWS), kv_heads, batch];
        self.run(BACKWARD_KV, blocks, 2 * ROWS, &[q, k, v, dy, lse, &delta, dk, dv])
    }

    /// Launches a kernel whose blocks own `own` rows each.
    #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
    fn run(
        &self,
        kernel: Kernel,
        blocks: [usize; 3],
        own: usize,
        tensors: &[&Tensor],
    ) -> Result<(), Error> {
        let Geometry { queries, keys, heads, kv_heads, width, .. } = self.geometry;
        let mut arguments: Vec<_> = tensors.iter().map(|tensor| Argument::from(*tensor)).collect();
        arguments.extend([self.lengths.as_ref(), self.segments.as_ref()].map(Argument::from));
        let causal = usize::from(self.causal);
        for size in [queries, keys, heads, kv_heads, width, causal, self.window] {
            arguments.push(word(size)?.into());
        }
        arguments.push((self.geometry.scale as f32).into());
        arguments.extend(self.rows.map(Argument::from));
        let grid = Grid { blocks, threads: THREADS, shared: self.shared(own) };
        self.gpu.launch(&kernel, &self.defines(), grid, &arguments)
    }

    fn defines(&self) -> [(&'static str, usize); 2] {
        [("HD", self.padded()), ("TILE", self.tile())]
    }

    /// Returns the elements of a row of a tile.
    fn padded(&self) -> usize {
        self.geometry.width.next_multiple_of(32)
    }

    /// Rows of a tile: as many as leave the sums their registers.
    fn tile(&self) -> usize {
        let whole = if self.dtype == DType::F32 { 32 } else { 64 };
        if self.padded() > 64 { whole / 2 } else { whole }
    }

    /// Bytes that a block has for `own` rows and two tiles of each of two operands, each row padded by 16 bytes.
    fn shared(&self, own: usize) -> usize {
        (own + 4 * self.tile()) * (self.padded() * self.dtype.size_in_bytes() + 16)
    }
}

fn word(size: usize) -> Result<u32, Error> {
    i32::try_from(size)
        .map(i32::cast_unsigned)
        .map_err(|_| super::refused(&format!("a size of {size}")))
}
