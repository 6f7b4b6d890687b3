//! Blocks of queries against blocks of keys.
//!
//! Scores are computed with keys as rows and queries as columns: so only the queries are transposed, once a block; the
//! softmax reduces columns without a sum across a register; and keys and values are used in their layout.

mod backward;
mod block;
mod forward;
mod product;
mod targets;

use candle_core::{DType, Error, Tensor};

use super::geometry::Geometry;
use super::mask::HostMask;
use crate::kernels::host;
use crate::kernels::output::Buffer;
use crate::kernels::tape::Node;
use block::Heads;
use targets::Targets;

/// Attention of three operands, which were of the type `dtype`.
pub(super) fn separate(
    operands: [Node; 3],
    geometry: Geometry,
    mask: HostMask,
    dtype: DType,
) -> Result<Node, Error> {
    let [q, k, v] = operands.each_ref().map(Node::tensor);
    let (y, lse) =
        host::read([q, k, v], |qkv| result(&geometry, &mask, geometry.separate(qkv), q.dims()))??;
    let (to, kept) = (operands.each_ref().map(Node::handle), kept(&y, dtype));
    let [q, k, v] = operands.each_ref().map(Node::saved);
    let tape = operands[0].tape().clone();
    drop(operands);
    Ok(tape.result(y, to, move |dy, adjoints| {
        let (q, k, v) = (q.tensor()?, k.tensor()?, v.tensor()?);
        let again = || {
            host::read([&q, &k, &v], |qkv| {
                result(&geometry, &mask, geometry.separate(qkv), q.dims())
            })?
        };
        let y = kept.map_or_else(|| again().map(|(y, _)| y), Ok)?;
        let mut gradients = [&q, &k, &v].map(|operand| Buffer::new(operand.elem_count()));
        host::read([&q, &k, &v, &y, &dy], |[q, k, v, y, dy]| {
            let targets = Targets::Apart(gradients.each_mut().map(Buffer::output));
            let qkv = geometry.separate([q, k, v]);
            backward::run(&geometry, &mask, qkv, [y, dy], &lse, targets);
        })?;
        for ((to, operand), gradient) in to.into_iter().zip([q, k, v]).zip(gradients) {
            adjoints.give(to, gradient.into_tensor(operand.shape())?)?;
        }
        Ok(())
    }))
}

/// Attention of one operand that holds all three, else as [`separate`].
pub(super) fn packed(
    [operand]: [Node; 1],
    geometry: Geometry,
    mask: HostMask,
    dtype: DType,
) -> Result<Node, Error> {
    let shape = [geometry.batch, geometry.queries, geometry.heads * geometry.width];
    let (y, lse) = host::read([operand.tensor()], |[x]| {
        result(&geometry, &mask, geometry.packed(x), &shape)
    })??;
    let (to, x, kept) = (operand.handle(), operand.saved(), kept(&y, dtype));
    Ok(operand.tape().result(y, [to], move |dy, adjoints| {
        let x = x.tensor()?;
        let again =
            || host::read([&x], |[x]| result(&geometry, &mask, geometry.packed(x), &shape))?;
        let y = kept.map_or_else(|| again().map(|(y, _)| y), Ok)?;
        let dx = host::read([&x, &y, &dy], |[elements, y, dy]| {
            host::make(x.shape(), |dx| {
                let (qkv, targets) = (geometry.packed(elements), Targets::Packed(dx));
                backward::run(&geometry, &mask, qkv, [y, dy], &lse, targets);
            })
        })??;
        adjoints.give(to, dx)
    }))
}

/// Returns the result if it is kept for the backward pass. Beside operands of 16 bits, one of 32 is computed again: it would be twice as
/// large as one of them, and the gradients need all its bits.
fn kept(y: &Tensor, dtype: DType) -> Option<Tensor> {
    (dtype == DType::F32).then(|| y.clone())
}

/// The result, and the logarithm of the softmax's denominator by row of the batch, head and query.
fn result(
    geometry: &Geometry,
    mask: &HostMask,
    qkv: [Heads<'_>; 3],
    shape: &[usize],
) -> Result<(Tensor, Vec<f32>), Error> {
    let mut lse = vec![0.0; geometry.batch * geometry.heads * geometry.queries];
    let y = host::make(shape, |y| forward::run(geometry, mask, qkv, y, &mut lse))?;
    Ok((y, lse))
}

impl Geometry {
    /// Whether there are no queries or no keys.
    fn is_empty(&self) -> bool {
        self.batch * self.queries * self.keys == 0
    }

    fn separate<'a>(&self, [q, k, v]: [&'a [f32]; 3]) -> [Heads<'a>; 3] {
        let (of_q, of_kv) = (self.heads * self.width, self.kv_heads * self.width);
        [
            Heads::new(q, of_q, self.queries, self.width),
            Heads::new(k, of_kv, self.keys, self.width),
            Heads::new(v, of_kv, self.keys, self.width),
        ]
    }

    fn packed<'a>(&self, x: &'a [f32]) -> [Heads<'a>; 3] {
        let (of_q, of_kv) = (self.heads * self.width, self.kv_heads * self.width);
        [0, of_q, of_q + of_kv].map(|from| {
            let elements = x.get(from..).unwrap_or_default();
            Heads::new(elements, of_q + 2 * of_kv, self.queries, self.width)
        })
    }
}

/// Returns the most scratch memory of a thread, in elements.
#[cfg(test)]
pub(super) fn room(geometry: &Geometry) -> usize {
    let total = |lengths: &[usize]| lengths.iter().sum();
    usize::max(
        total(&forward::room(geometry, false)),
        total(&backward::room(geometry, geometry.keys, true, false)),
    )
}
