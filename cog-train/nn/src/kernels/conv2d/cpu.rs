//! Images are shared between threads in [pieces](super::piece) of a fixed number of them. The weight's gradient is
//! accumulated in a fixed number of partial sums, which are added up in their order, so the bits do not depend on the number of
//! threads.

use candle_core::{Error, Tensor};
use rayon::prelude::*;

use super::geometry::Geometry;
use super::piece::Piece;
use crate::kernels::host;
use crate::kernels::output::Buffer;
use crate::kernels::sum;
use crate::kernels::tape::Node;

/// Elements of a gradient that one task adds up.
const CHUNK: usize = 4 * 1024;

/// The most elements of all partial gradients of a weight together.
const PARTIAL_ELEMENTS: usize = 16 * 1024 * 1024;

pub(super) fn forward(
    x: &Node,
    weight: &Node,
    bias: Option<&Node>,
    geometry: Geometry,
) -> Result<Node, Error> {
    let nothing = host::tensor(Vec::new(), 0)?;
    let of_bias = bias.map_or(&nothing, Node::tensor);
    let [height, width] = geometry.positions;
    let shape = (geometry.images, geometry.groups * geometry.outputs, height, width);
    let y = host::read([x.tensor(), weight.tensor(), of_bias], |[x, weight, bias]| {
        host::make(shape, |y| {
            let each = geometry.together();
            let pieces = y.par_chunks(each * geometry.image_out());
            let pieces = pieces.zip(x.par_chunks(each * geometry.image_in()));
            pieces.for_each(|(y, x)| Piece::new(&geometry, x, weight).forward(bias, y));
        })
    })??;
    let to = [x.handle(), weight.handle(), bias.and_then(Node::handle)];
    let saved = Saved {
        geometry,
        x: x.tensor().clone(),
        weight: weight.tensor().clone(),
        y: if geometry.relu { y.clone() } else { nothing },
    };
    Ok(x.tape().result(y, to, move |dy, adjoints| {
        let [of_x, of_weight, of_bias] = to.map(|to| to.is_some());
        let Gradients { dx, mut partials, size } =
            saved.backward(&dy, of_x, of_weight || of_bias)?;
        if let Some(dx) = dx {
            adjoints.give(to[0], dx)?;
        }
        let weights = saved.weight.elem_count();
        let mut partials = partials.chunks_exact_mut(size);
        let Some(total) = partials.next() else { return Ok(()) };
        let partials: Vec<&[f32]> = partials.map(|part| &*part).collect();
        total.par_chunks_mut(CHUNK).enumerate().for_each(|(at, total)| {
            let range = at * CHUNK..at * CHUNK + total.len();
            for part in &partials {
                sum::add_chunk(total, &part[range.clone()]);
            }
        });
        let (of_weight, of_bias) = total.split_at(weights);
        let of_weight = transposed(of_weight, geometry.inner(), geometry.outputs);
        for (to, from) in [(to[1], of_weight.as_slice()), (to[2], of_bias)] {
            adjoints.write(to, |target| sum::add_or_copy(target, from))?;
        }
        Ok(())
    }))
}

/// Transposes consecutive matrices.
fn transposed(matrices: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut transposed = Vec::with_capacity(matrices.len());
    for matrix in matrices.chunks_exact(rows * columns) {
        let at = |column: usize| matrix[column..].iter().step_by(columns);
        (0..columns).for_each(|column| transposed.extend(at(column)));
    }
    transposed
}

/// The tensors that the backward pass needs.
struct Saved {
    geometry: Geometry,
    x: Tensor,
    weight: Tensor,
    /// Empty without ReLU.
    y: Tensor,
}

struct Gradients {
    dx: Option<Tensor>,
    /// Partial gradients of weight and bias, each of `size` elements.
    partials: Vec<f32>,
    size: usize,
}

impl Saved {
    fn backward(&self, dy: &Tensor, of_x: bool, of_weight: bool) -> Result<Gradients, Error> {
        let geometry = &self.geometry;
        let size = self.weight.elem_count() + geometry.groups * geometry.outputs;
        let pieces = geometry.images.div_ceil(geometry.together());
        let wanted = (PARTIAL_ELEMENTS / size).clamp(4, 32).min(pieces).max(1);
        // Images of a piece and of a partial sum.
        let each = geometry.together();
        let per_partial = pieces.div_ceil(wanted).max(1) * each;
        let count = geometry.images.div_ceil(per_partial).max(1);
        let mut partials = vec![0.0; if of_weight { count * size } else { 0 }];
        let mut dx = of_x.then(|| Buffer::new(self.x.elem_count()));
        host::read([&self.x, &self.weight, &self.y, dy], |[x, weight, y, dy]| {
            let transposed = transposed(weight, geometry.outputs, geometry.inner());
            let (into, out) = (geometry.image_in(), geometry.image_out());
            let work: Vec<_> = {
                let mut dx = dx.as_mut().map(|dx| dx.output().chunks(per_partial * into));
                let mut partials = of_weight.then(|| partials.chunks_mut(size));
                let next = |_| {
                    (
                        dx.as_mut().and_then(Iterator::next),
                        partials.as_mut().and_then(Iterator::next),
                    )
                };
                (0..count).map(next).collect()
            };
            work.into_par_iter().enumerate().for_each(|(at, (dx, mut partial))| {
                let images = at * per_partial..((at + 1) * per_partial).min(geometry.images);
                let mut dx = dx.map(|dx| dx.chunks(each * into));
                for first in images.clone().step_by(each) {
                    let last = (first + each).min(images.end);
                    let (read, write) = (first * into..last * into, first * out..last * out);
                    let y = y.get(write.clone());
                    let dx = dx.as_mut().and_then(Iterator::next);
                    let piece = Piece::new(geometry, &x[read], weight);
                    piece.backward(&transposed, y, &dy[write], dx, partial.as_deref_mut());
                }
            });
        })?;
        let dx = dx.map(|dx| dx.into_tensor(self.x.shape())).transpose()?;
        Ok(Gradients { dx, partials, size })
    }
}
