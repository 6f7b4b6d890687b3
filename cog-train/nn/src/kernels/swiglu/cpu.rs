//! One pass over memory each way.

use crate::kernels::host;
use crate::kernels::output::{Buffer, Output};
use crate::kernels::simd::{exp, simd};
use crate::kernels::tape::{Node, Saved};
use candle_core::{Error, Tensor};
use rayon::prelude::*;

/// Elements of the result of one task.
const CHUNK: usize = 16 * 1024;

pub(super) fn forward([gate, up]: &[Node; 2]) -> Result<Node, Error> {
    let y = product([gate.tensor(), up.tensor()])?;
    let operands = [gate.saved(), up.saved()];
    let [saved_gate, saved_up] = operands.clone();
    let to = [gate.handle(), up.handle()];
    let y = gate.tape().result(y, to, move |gradient, adjoints| {
        let (saved_gate, saved_up) = (saved_gate.tensor()?, saved_up.tensor()?);
        let shape = saved_gate.shape();
        let mut buffers = [(); 2].map(|()| Buffer::new(shape.elem_count()));
        host::read([&saved_gate, &saved_up, &gradient], |[gate, up, dy]| {
            let [dgate, dup] = buffers.each_mut().map(Buffer::output);
            let inputs = gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK));
            let inputs = inputs.zip(dy.par_chunks(CHUNK));
            let outputs = dgate.par_chunks(CHUNK).zip(dup.par_chunks(CHUNK));
            outputs.zip(inputs).for_each(|((dgate, dup), ((gate, up), dy))| {
                backward(gate, up, dy, dgate, dup);
            });
        })?;
        for (to, buffer) in to.into_iter().zip(buffers) {
            adjoints.give(to, buffer.into_tensor(shape)?)?;
        }
        Ok(())
    });
    Ok(y.recomputed_by(move || {
        let [gate, up] = operands.clone().map(Saved::tensor);
        product([&gate?, &up?])
    }))
}

fn product([gate, up]: [&Tensor; 2]) -> Result<Tensor, Error> {
    host::read([gate, up], |[gate_elements, up]| {
        host::make(gate.shape(), |y| {
            let chunks = y.par_chunks(CHUNK).zip(gate_elements.par_chunks(CHUNK));
            chunks.zip(up.par_chunks(CHUNK)).for_each(|((mut y, gate), up)| {
                value(gate, up, &mut y);
            });
        })
    })?
}

pub(super) fn packed(x: &Node) -> Result<Node, Error> {
    let saved = x.saved();
    let mut shape = x.dims().to_vec();
    let n = shape.last().map_or(0, |last| last / 2);
    if let Some(last) = shape.last_mut() {
        *last = n;
    }
    // A task has whole rows.
    let rows = (CHUNK / n.max(1)).max(1);
    let (long, short) = (rows * 2 * n.max(1), rows * n.max(1));
    let again = saved.clone();
    let product = move |x: &Tensor| {
        host::read([x], |[x]| {
            host::make(shape.as_slice(), |y| {
                y.par_chunks(short).zip(x.par_chunks(long)).for_each(|(mut y, x)| {
                    for x in x.chunks_exact(2 * n) {
                        let (gate, up) = x.split_at(n);
                        value(gate, up, &mut y);
                    }
                });
            })
        })?
    };
    let y = product(x.tensor())?;
    let to = x.handle();
    let y = x.tape().result(y, [to], move |gradient, adjoints| {
        let input = saved.tensor()?;
        let dx = host::read([&input, &gradient], |[x, dy]| {
            host::make(input.shape(), |dx| {
                let groups = dx.par_chunks(long).zip(x.par_chunks(long));
                groups.zip(dy.par_chunks(short)).for_each(|((mut dx, x), dy)| {
                    for (x, dy) in x.chunks_exact(2 * n).zip(dy.chunks_exact(n)) {
                        let (gate, up) = x.split_at(n);
                        backward_halves(gate, up, dy, &mut dx);
                    }
                });
            })
        })??;
        adjoints.give(to, dx)
    });
    Ok(y.recomputed_by(move || product(&again.clone().tensor()?)))
}

simd! {
    fn value(gate: &[f32], up: &[f32], y: &mut Output<'_>) {
        y.append_map2(gate, up, gated);
    }

    fn backward(gate: &[f32], up: &[f32], dy: &[f32], dgate: Output<'_>, dup: Output<'_>) {
        let (mut dgate, mut dup) = (dgate, dup);
        dgate.append_rows_to(&mut dup, [gate, up, dy], slopes);
    }

    /// Writes the gradients of the gate, and behind them those of the other operand.
    fn backward_halves(gate: &[f32], up: &[f32], dy: &[f32], dx: &mut Output<'_>) {
        dx.append_rows([gate, up, dy], slopes);
    }
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn gated(gate: f32, up: f32) -> f32 {
    gate / (1.0 + exp(-gate)) * up
}

/// Returns the gradients of the gate and of the other operand.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn slopes(gate: f32, up: f32, dy: f32) -> [f32; 2] {
    let sigmoid = 1.0 / (1.0 + exp(-gate));
    [dy * up * (sigmoid * gate.mul_add(1.0 - sigmoid, 1.0)), dy * (gate * sigmoid)]
}
