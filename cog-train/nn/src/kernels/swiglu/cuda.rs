//! One pass over memory each way.
#![expect(unsafe_code, reason = "a kernel is declared")]

use crate::kernels::gpu::{self, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;
use candle_core::{D, Error, Tensor};

// SAFETY: `product` and `back` pass rows of `n` elements that begin `stride` apart for what has the layout of the
// operands, and contiguous rows of `n` for the result and its gradient, all of the type of the GPU.
const FORWARD: Kernel = unsafe { kernel!("swiglu.cu", "swiglu_forward") };
// SAFETY: as above.
const BACKWARD: Kernel = unsafe { kernel!("swiglu.cu", "swiglu_backward") };

pub(super) fn forward(gpu: Gpu, [gate, up]: [&Node; 2]) -> Result<Node, Error> {
    let operands = [gate.tensor().contiguous()?, up.tensor().contiguous()?];
    let n = last(&operands[0]);
    let y = product(&gpu, operands.each_ref(), n)?;
    let (to, saved, again) = ([gate.handle(), up.handle()], operands.clone(), gpu.clone());
    let y = gate.tape().result(y, to, move |dy, adjoints| {
        let [gate, up] = saved.each_ref();
        let made = [gate, up].map(|operand| gpu.empty(operand.shape(), operand.dtype()));
        let [of_gate, of_up] = made;
        let (of_gate, of_up) = (of_gate?, of_up?);
        back(&gpu, [gate, up], &dy, [&of_gate, &of_up], n)?;
        adjoints.give(to[0], of_gate)?;
        adjoints.give(to[1], of_up)
    });
    Ok(y.recomputed_by(move || product(&again, operands.each_ref(), n)))
}

pub(super) fn packed(gpu: Gpu, x: &Node) -> Result<Node, Error> {
    let input = x.tensor().contiguous()?;
    let row = last(&input);
    let y = product(&gpu, halves(&input)?.each_ref(), row)?;
    let (to, saved, again) = (x.handle(), input.clone(), gpu.clone());
    let y = x.tape().result(y, [to], move |dy, adjoints| {
        let dx = gpu.empty(saved.shape(), saved.dtype())?;
        back(&gpu, halves(&saved)?.each_ref(), &dy, halves(&dx)?.each_ref(), row)?;
        adjoints.give(to, dx)
    });
    Ok(y.recomputed_by(move || product(&again, halves(&input)?.each_ref(), row)))
}

/// Views of the two parts of each row.
fn halves(x: &Tensor) -> Result<[Tensor; 2], Error> {
    let n = x.dim(D::Minus1)? / 2;
    Ok([x.narrow(D::Minus1, 0, n)?, x.narrow(D::Minus1, n, n)?])
}

/// Rows of the operands begin `stride` elements apart. candle's stride would not do: that of a dimension of one is arbitrary.
fn product(gpu: &Gpu, [gate, up]: [&Tensor; 2], stride: usize) -> Result<Tensor, Error> {
    let y = gpu.empty(gate.shape(), gate.dtype())?;
    let n = last(gate);
    let rows = gate.elem_count() / n.max(1);
    call!(gpu, FORWARD, Grid::rows(rows, n), gate, up, &y, n, stride)?;
    Ok(y)
}

fn back(
    gpu: &Gpu,
    [gate, up]: [&Tensor; 2],
    dy: &Tensor,
    [of_gate, of_up]: [&Tensor; 2],
    stride: usize,
) -> Result<(), Error> {
    let dy = gpu::contiguous(dy, gate.dtype())?;
    let n = last(gate);
    let grid = Grid::rows(gate.elem_count() / n.max(1), n);
    call!(gpu, BACKWARD, grid, gate, up, &dy, of_gate, of_up, n, stride)
}

/// The size of the last dimension.
fn last(x: &Tensor) -> usize {
    x.dims().last().copied().unwrap_or(1)
}
