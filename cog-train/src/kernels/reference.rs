//! How an operation runs: by its fast form on the CPU, or as it is written in candle's own operations.

use candle_core::{DType, Tensor, Var};

use super::host;
use super::tape::Node;
use crate::error::Error;

/// Runs `fast` on the CPU, for floats of 32 bits and of 16, which are widened on the way in and rounded on the way out;
/// else `plain`: every device and every float type.
///
/// `fast` gets 32-bit floats without gaps, and so does the backward pass that it leaves. The result has the type of the
/// first operand.
///
/// # Errors
///
/// What the two fail with.
pub(crate) fn dispatch<const N: usize>(
    operands: [&Node; N],
    fast: impl FnOnce([Node; N]) -> Result<Node, Error>,
    plain: impl Fn([&Tensor; N]) -> Result<Tensor, Error> + Send + 'static,
) -> Result<Node, Error> {
    let fits = |node: &&Node| {
        host::on_cpu(node.tensor())
            && matches!(node.tensor().dtype(), DType::F32 | DType::F16 | DType::BF16)
    };
    if !operands.iter().all(fits) {
        return apply(operands, plain);
    }
    let dtype = operands[0].tensor().dtype();
    let mut widened = operands.map(Node::clone);
    for node in &mut widened {
        *node = node.map(host::plain)?;
    }
    fast(widened)?.map(|y| Ok(y.to_dtype(dtype)?))
}

/// Computes in candle's own operations. Nothing is kept for the backward pass but the operands: it computes once more.
///
/// # Errors
///
/// What `compute` fails with.
pub(crate) fn apply<const N: usize>(
    operands: [&Node; N],
    compute: impl Fn([&Tensor; N]) -> Result<Tensor, Error> + Send + 'static,
) -> Result<Node, Error> {
    let to = operands.map(Node::handle);
    let kept = operands.map(|node| node.tensor().clone());
    let y = compute(kept.each_ref())?.detach();
    Ok(operands[0].tape().result(y, to, move |gradient, adjoints| {
        let mut inputs = Vec::with_capacity(N);
        for (operand, to) in kept.iter().zip(to) {
            let input = to.map(|_| Var::from_tensor(operand)).transpose()?;
            inputs.push(input.map_or_else(|| operand.clone(), Var::into_inner));
        }
        let y = compute(std::array::from_fn(|at| &inputs[at]))?;
        // The gradient of a sum is one everywhere, and one times a number is that number, bit for bit.
        let mut gradients = (&y * gradient.to_dtype(y.dtype())?)?.sum_all()?.backward()?;
        for (to, input) in to.into_iter().zip(&inputs) {
            if let Some(gradient) = to.and_then(|_| gradients.remove(input)) {
                adjoints.give(to, gradient)?;
            }
        }
        Ok(())
    }))
}
