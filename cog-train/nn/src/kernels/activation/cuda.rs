//! One pass over memory each way.

use candle_core::{Error, Tensor};

use super::Activation;
use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, kernel};
use crate::kernels::tape::Node;

const FORWARD: Kernel = kernel!("activation.cu", "activation_forward");
const BACKWARD: Kernel = kernel!("activation.cu", "activation_backward");

pub(super) fn forward(gpu: Gpu, x: &Node, activation: Activation) -> Result<Node, Error> {
    let input = x.tensor().contiguous()?;
    let y = mapped(&gpu, FORWARD, [&input], activation)?;
    let keeps_result = activation == Activation::Relu;
    let kept = if keeps_result { y.clone() } else { input.clone() };
    let (to, again) = (x.handle(), gpu.clone());
    let y = x.tape().result(y, [to], move |dy, adjoints| {
        let dy = gpu::plain(&dy, kept.dtype())?;
        adjoints.give(to, mapped(&gpu, BACKWARD, [&kept, &dy], activation)?)
    });
    // Whoever needs the result on the way back need not keep it beside the input.
    Ok(if keeps_result {
        y
    } else {
        y.computed_again(move || mapped(&again, FORWARD, [&input], activation))
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
    gpu.launch(&kernel, &[("CURVE", activation as usize)], Grid::numbers(count), &arguments)?;
    Ok(y)
}
