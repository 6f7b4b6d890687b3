//! One pass over memory each way.

use crate::kernels::host;
use crate::kernels::simd::{exp, simd};
use crate::kernels::tape::Node;
use candle_core::{Error, Tensor};
use rayon::prelude::*;

/// Numbers of the result that one thread takes at once.
const CHUNK: usize = 16 * 1024;

pub(super) fn forward([gate, up]: &[Node; 2]) -> Result<Node, Error> {
    let operands = [gate.tensor(), up.tensor()].map(Clone::clone);
    let y = product(&operands)?;
    let [kept_gate, kept_up] = operands.clone();
    let to = [gate.handle(), up.handle()];
    let y = gate.tape().result(y, to, move |gradient, adjoints| {
        let shape = kept_gate.shape();
        let mut of_up = host::uninit(shape.elem_count());
        let of_gate = host::read([&kept_gate, &kept_up, &gradient], |[gate, up, dy]| {
            host::make(shape, |of_gate| {
                let given = gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK));
                let given = given.zip(dy.par_chunks(CHUNK));
                let made = of_gate.par_chunks_mut(CHUNK).zip(of_up.par_chunks_mut(CHUNK));
                made.zip(given).for_each(|((of_gate, of_up), ((gate, up), dy))| {
                    back(gate, up, dy, of_gate, of_up);
                });
            })
        })??;
        adjoints.give(to[0], of_gate)?;
        adjoints.give(to[1], host::tensor(of_up, shape.clone())?)
    });
    Ok(y.computed_again(move || product(&operands)))
}

fn product(operands: &[Tensor; 2]) -> Result<Tensor, Error> {
    let [gate, up] = operands;
    host::read([gate, up], |[gate_numbers, up]| {
        host::make(gate.shape(), |y| {
            let chunks = y.par_chunks_mut(CHUNK).zip(gate_numbers.par_chunks(CHUNK));
            chunks.zip(up.par_chunks(CHUNK)).for_each(|((y, gate), up)| value(gate, up, y));
        })
    })?
}

pub(super) fn packed(x: &Node) -> Result<Node, Error> {
    let input = x.tensor().clone();
    let mut shape = input.dims().to_vec();
    let n = shape.last().map_or(0, |last| last / 2);
    if let Some(last) = shape.last_mut() {
        *last = n;
    }
    // Whole rows, some of them to a thread.
    let rows = (CHUNK / n.max(1)).max(1);
    let (long, short) = (rows * 2 * n.max(1), rows * n.max(1));
    let made = input.clone();
    let product = move || {
        host::read([&made], |[x]| {
            host::make(shape.as_slice(), |y| {
                y.par_chunks_mut(short).zip(x.par_chunks(long)).for_each(|(y, x)| {
                    for (y, x) in y.chunks_exact_mut(n).zip(x.chunks_exact(2 * n)) {
                        let (gate, up) = x.split_at(n);
                        value(gate, up, y);
                    }
                });
            })
        })?
    };
    let y = product()?;
    let to = x.handle();
    let y = x.tape().result(y, [to], move |gradient, adjoints| {
        let dx = host::read([&input, &gradient], |[x, dy]| {
            host::make(input.shape(), |dx| {
                let groups = dx.par_chunks_mut(long).zip(x.par_chunks(long));
                groups.zip(dy.par_chunks(short)).for_each(|((dx, x), dy)| {
                    let rows = dx.chunks_exact_mut(2 * n).zip(x.chunks_exact(2 * n));
                    for ((dx, x), dy) in rows.zip(dy.chunks_exact(n)) {
                        let ((of_gate, of_up), (gate, up)) = (dx.split_at_mut(n), x.split_at(n));
                        back(gate, up, dy, of_gate, of_up);
                    }
                });
            })
        })??;
        adjoints.give(to, dx)
    });
    Ok(y.computed_again(product))
}

simd! {
    fn value(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
            *y = *gate / (1.0 + exp(-*gate)) * *up;
        }
    }

    fn back(gate: &[f32], up: &[f32], dy: &[f32], of_gate: &mut [f32], of_up: &mut [f32]) {
        let made = of_gate.iter_mut().zip(of_up);
        for (((of_gate, of_up), (gate, up)), dy) in made.zip(gate.iter().zip(up)).zip(dy) {
            let sigmoid = 1.0 / (1.0 + exp(-*gate));
            *of_up = *dy * (*gate * sigmoid);
            *of_gate = *dy * *up * (sigmoid * gate.mul_add(1.0 - sigmoid, 1.0));
        }
    }
}
