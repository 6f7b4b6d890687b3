//! One pass over memory each way.

use candle_core::{D, Tensor};

use crate::error::Error;
use crate::kernels::gpu::{self, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;

const FORWARD: Kernel = kernel!("swiglu.cu", "swiglu_forward");
const BACKWARD: Kernel = kernel!("swiglu.cu", "swiglu_backward");

pub(super) fn forward(gpu: Gpu, [gate, up]: [&Node; 2]) -> Result<Node, Error> {
    let operands = [gate.tensor().contiguous()?, up.tensor().contiguous()?];
    let y = product(&gpu, operands.each_ref())?;
    let (to, kept, again) = ([gate.handle(), up.handle()], operands.clone(), gpu.clone());
    let y = gate.tape().result(y, to, move |dy, adjoints| {
        let [gate, up] = kept.each_ref();
        let made = [gate, up].map(|operand| gpu.empty(operand.shape(), operand.dtype()));
        let [of_gate, of_up] = made;
        let (of_gate, of_up) = (of_gate?, of_up?);
        back(&gpu, [gate, up], &dy, [&of_gate, &of_up])?;
        adjoints.give(to[0], of_gate)?;
        adjoints.give(to[1], of_up)
    });
    Ok(y.computed_again(move || product(&again, operands.each_ref())))
}

pub(super) fn packed(gpu: Gpu, x: &Node) -> Result<Node, Error> {
    let input = x.tensor().contiguous()?;
    let y = product(&gpu, halves(&input)?.each_ref())?;
    let (to, kept, again) = (x.handle(), input.clone(), gpu.clone());
    let y = x.tape().result(y, [to], move |dy, adjoints| {
        let dx = gpu.empty(kept.shape(), kept.dtype())?;
        back(&gpu, halves(&kept)?.each_ref(), &dy, halves(&dx)?.each_ref())?;
        adjoints.give(to, dx)
    });
    Ok(y.computed_again(move || product(&again, halves(&input)?.each_ref())))
}

/// Views of the two parts of each row.
fn halves(x: &Tensor) -> Result<[Tensor; 2], Error> {
    let n = x.dim(D::Minus1)? / 2;
    Ok([x.narrow(D::Minus1, 0, n)?, x.narrow(D::Minus1, n, n)?])
}

fn product(gpu: &Gpu, [gate, up]: [&Tensor; 2]) -> Result<Tensor, Error> {
    let y = gpu.empty(gate.shape(), gate.dtype())?;
    let Rows { count, n, stride } = Rows::of(gate);
    call!(gpu, FORWARD, Grid::rows(count, n), gate, up, &y, n, stride)?;
    Ok(y)
}

fn back(
    gpu: &Gpu,
    [gate, up]: [&Tensor; 2],
    dy: &Tensor,
    [of_gate, of_up]: [&Tensor; 2],
) -> Result<(), Error> {
    let dy = gpu::plain(dy, gate.dtype())?;
    let Rows { count, n, stride } = Rows::of(gate);
    call!(gpu, BACKWARD, Grid::rows(count, n), gate, up, &dy, of_gate, of_up, n, stride)
}

/// The last dimension of an operand, and how far apart its rows are.
struct Rows {
    count: usize,
    n: usize,
    stride: usize,
}

impl Rows {
    fn of(operand: &Tensor) -> Self {
        let n = operand.dims().last().copied().unwrap_or(1);
        let last = operand.rank().checked_sub(2);
        let stride = last.map_or(n, |last| operand.stride()[last]);
        Self { count: operand.elem_count() / n.max(1), n, stride }
    }
}
