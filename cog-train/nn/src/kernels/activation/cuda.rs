//! One pass over memory each way.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{Error, Tensor};

use super::Activation;
use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, kernel};
use crate::kernels::tape::Node;

// SAFETY: `mapped` passes contiguous operands and a result of `count` elements, all of the type of the GPU.
const FORWARD: Kernel = unsafe { kernel!("activation.cu", "activation_forward") };
// SAFETY: as above.
const BACKWARD: Kernel = unsafe { kernel!("activation.cu", "activation_backward") };

pub(super) fn forward(gpu: Gpu, x: &Node, activation: Activation) -> Result<Node, Error> {
    let input = x.tensor().contiguous()?;
    let y = mapped(&gpu, FORWARD, [&input], activation)?;
    let keeps_result = activation == Activation::Relu;
    let saved = if keeps_result { y.clone() } else { input.clone() };
    let (to, again) = (x.handle(), gpu.clone());
    let y = x.tape().result(y, [to], move |dy, adjoints| {
        let dy = gpu::contiguous(&dy, saved.dtype())?;
        adjoints.give(to, mapped(&gpu, BACKWARD, [&saved, &dy], activation)?)
    });
    // An operation that needs the result backward need not save it beside the input.
    Ok(if keeps_result {
        y
    } else {
        y.recomputed_by(move || mapped(&again, FORWARD, [&input], activation))
    })
}

fn mapped<const N: usize>(
    gpu: &Gpu,
    kernel: Kernel,
    operands: [&Tensor; N],
    activation: Activation,
) -> Result<Tensor, Error> {
    let count = operands[0].elem_count();
    let y = gpu.empty(operands[0].shape(), operands[0].dtype())?;
    let mut arguments = operands.map(Argument::Tensor).to_vec();
    arguments.extend([Argument::Tensor(&y), Argument::Size(count)]);
    gpu.launch(&kernel, &[("CURVE", activation as usize)], Grid::elementwise(count), &arguments)?;
    Ok(y)
}
