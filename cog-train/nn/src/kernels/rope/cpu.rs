//! One pass over memory each way: a row of all heads is rotated by one row of the tables.

use rayon::prelude::*;

use super::Rotation;
use crate::kernels::host;
use crate::kernels::output::Output;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use candle_core::Error;

/// Elements of one task, about.
const CHUNK: usize = 16 * 1024;

pub(super) fn forward([x, cos, sin]: [Node; 3], rotation: Rotation) -> Result<Node, Error> {
    let operands = [x.tensor(), cos.tensor(), sin.tensor()];
    let y = host::read(operands, |[x, cos, sin]| {
        host::make(operands[0].shape(), |y| rotation.run(x, [cos, sin], 1.0, y))
    })??;
    let to = x.handle();
    let tables = [&cos, &sin].map(|table| table.tensor().clone());
    Ok(x.tape().result(y, [to], move |dy, adjoints| {
        let [cos, sin] = &tables;
        let dx = host::read([&dy, cos, sin], |[elements, cos, sin]| {
            host::make(dy.shape(), |dx| rotation.run(elements, [cos, sin], -1.0, dx))
        })??;
        adjoints.give(to, dx)
    }))
}

impl Rotation {
    /// Rotates by the angles, or by minus the angles.
    fn run(&self, x: &[f32], tables: [&[f32]; 2], direction: f32, y: Output<'_>) {
        let (full, half) = (self.heads * self.width, self.width / 2);
        let rows = (CHUNK / full.max(1)).max(1);
        let size = (rows * full).max(1);
        let chunks = y.par_chunks(size).zip(x.par_chunks(size));
        chunks.enumerate().for_each(|(chunk, (mut y, x))| {
            for (at, x) in x.chunks_exact(full).enumerate() {
                let position = self.positions[(chunk * rows + at) % self.positions.len()];
                let [cos, sin] = tables.map(|table| &table[position as usize * half..][..half]);
                let (rotated, rest) = x.split_at(self.rotated * self.width);
                rotate(rotated, cos, sin, direction, &mut y);
                y.append_copy(rest);
            }
        });
    }
}

simd! {
    fn rotate(x: &[f32], cos: &[f32], sin: &[f32], direction: f32, y: &mut Output<'_>) {
        let half = cos.len();
        for x in x.chunks_exact(2 * half) {
            let (one, other) = x.split_at(half);
            let (low, high) = y.append_copy(x).split_at_mut(half);
            for at in 0..half {
                let sin = direction * sin[at];
                low[at] = one[at].mul_add(cos[at], -(other[at] * sin));
                high[at] = other[at].mul_add(cos[at], one[at] * sin);
            }
        }
    }
}
