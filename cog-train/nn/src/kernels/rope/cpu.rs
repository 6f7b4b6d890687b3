//! One pass over memory each way: a row of all heads is turned by one row of the tables.

use rayon::prelude::*;

use super::Rotation;
use crate::kernels::host;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;
use candle_core::Error;

/// Numbers that one thread takes at once, about.
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
        let dx = host::read([&dy, cos, sin], |[numbers, cos, sin]| {
            host::make(dy.shape(), |dx| rotation.run(numbers, [cos, sin], -1.0, dx))
        })??;
        adjoints.give(to, dx)
    }))
}

impl Rotation {
    /// By the angles, or by minus the angles.
    fn run(&self, x: &[f32], tables: [&[f32]; 2], direction: f32, y: &mut [f32]) {
        let (full, half) = (self.heads * self.width, self.width / 2);
        let rows = (CHUNK / full.max(1)).max(1);
        let size = (rows * full).max(1);
        let chunks = y.par_chunks_mut(size).zip(x.par_chunks(size));
        chunks.enumerate().for_each(|(chunk, (y, x))| {
            for (at, (y, x)) in y.chunks_exact_mut(full).zip(x.chunks_exact(full)).enumerate() {
                let position = self.positions[(chunk * rows + at) % self.positions.len()];
                let [cos, sin] = tables.map(|table| &table[position as usize * half..][..half]);
                let (turned, rest) = y.split_at_mut(self.turned * self.width);
                turn(&x[..turned.len()], cos, sin, direction, turned);
                rest.copy_from_slice(&x[turned.len()..]);
            }
        });
    }
}

simd! {
    fn turn(x: &[f32], cos: &[f32], sin: &[f32], direction: f32, y: &mut [f32]) {
        let half = cos.len();
        for (x, y) in x.chunks_exact(2 * half).zip(y.chunks_exact_mut(2 * half)) {
            let ((one, other), (low, high)) = (x.split_at(half), y.split_at_mut(half));
            for at in 0..half {
                let sin = direction * sin[at];
                low[at] = one[at].mul_add(cos[at], -(other[at] * sin));
                high[at] = other[at].mul_add(cos[at], one[at] * sin);
            }
        }
    }
}
