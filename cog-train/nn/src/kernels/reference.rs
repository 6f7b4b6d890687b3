//! Dispatch between the fast path of an operation on the CPU and its reference in candle's own operations.

use candle_core::{DType, Error, Tensor, Var};

use super::host;
use super::tape::Node;

/// Whether the fast paths take a tensor: floats of 32 bits, and of 16, on the CPU.
pub(crate) fn fits(tensor: &Tensor) -> bool {
    host::on_cpu(tensor) && matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16)
}

/// Runs `fast` on the CPU, for floats of 32 bits and of 16, whose operands are widened and whose result is rounded; else
/// `reference`: every device and every float type.
///
/// `fast` gets contiguous 32-bit floats, and so does its backward step: what it [saves](Node::saved) of an operand is kept in the
/// operand's type. The result has the type of the first operand.
///
/// # Errors
///
/// The errors of the two.
pub(crate) fn dispatch<const N: usize>(
    operands: [&Node; N],
    fast: impl FnOnce([Node; N]) -> Result<Node, Error>,
    reference: impl Fn([&Tensor; N]) -> Result<Tensor, Error> + Send + 'static,
) -> Result<Node, Error> {
    let dtype = operands[0].tensor().dtype();
    dispatch_wide(operands, fast, reference)?.rounded(dtype)
}

/// As [`dispatch`], except that the result of `fast` stays in 32 bits: that of a sum over a batch, which may overflow 16.
///
/// # Errors
///
/// The errors of the two.
pub(crate) fn dispatch_wide<const N: usize>(
    operands: [&Node; N],
    fast: impl FnOnce([Node; N]) -> Result<Node, Error>,
    reference: impl Fn([&Tensor; N]) -> Result<Tensor, Error> + Send + 'static,
) -> Result<Node, Error> {
    if !operands.iter().all(|node| fits(node.tensor())) {
        return apply(operands, reference);
    }
    let mut widened = operands.map(Node::clone);
    for node in &mut widened {
        *node = node.widened()?;
    }
    fast(widened)
}

/// Computes in candle's own operations. Only the operands are saved for the backward pass, which computes again.
///
/// # Errors
///
/// The error of `compute`.
pub(crate) fn apply<const N: usize>(
    operands: [&Node; N],
    compute: impl Fn([&Tensor; N]) -> Result<Tensor, Error> + Send + 'static,
) -> Result<Node, Error> {
    let to = operands.map(Node::handle);
    let saved = operands.map(|node| node.tensor().clone());
    let y = compute(saved.each_ref())?.detach();
    Ok(operands[0].tape().result(y, to, move |gradient, adjoints| {
        let mut inputs = Vec::with_capacity(N);
        for (operand, to) in saved.iter().zip(to) {
            let input = to.map(|_| Var::from_tensor(operand)).transpose()?;
            inputs.push(input.map_or_else(|| operand.clone(), Var::into_inner));
        }
        let y = compute(std::array::from_fn(|at| &inputs[at]))?;
        // The gradient of a sum is one everywhere, and a product with one changes no bit.
        let mut gradients = (&y * gradient.to_dtype(y.dtype())?)?.sum_all()?.backward()?;
        for (to, input) in to.into_iter().zip(&inputs) {
            if let Some(gradient) = to.and_then(|_| gradients.remove(input)) {
                adjoints.give(to, gradient)?;
            }
        }
        Ok(())
    }))
}
