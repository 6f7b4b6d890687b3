//! Arithmetic, element by element: `a + b`, `a - b` and `a * b` under broadcasting, and `factor * x + term`.
//!
//! On every device in candle's own operations and in the operands' type. Backward, the gradient of an operand is summed over
//! the dimensions along which it was broadcast; a product keeps both operands, the others keep nothing.

use candle_core::{Error, Shape, Tensor};

use super::tape::{Adjoints, Handle, Node};

/// An operation on two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
}

/// Combines two nodes whose shapes are broadcast.
///
/// # Errors
///
/// candle's error when the shapes or types do not fit or the device fails.
pub(crate) fn binary(operation: Binary, one: &Node, other: &Node) -> Result<Node, Error> {
    let operands = [one, other];
    let [a, b] = operands.map(|node| node.tensor().clone());
    let y = match operation {
        Binary::Add => a.broadcast_add(&b)?,
        Binary::Sub => a.broadcast_sub(&b)?,
        Binary::Mul => a.broadcast_mul(&b)?,
    };
    let to = operands.map(Node::handle);
    if operation == Binary::Mul {
        let kept = [to[1].map(|_| a.clone()), to[0].map(|_| b.clone())];
        let shapes = [a, b].map(|tensor| tensor.shape().clone());
        return Ok(one.tape().result(y, to, move |gradient, adjoints| {
            let [of_other, of_one] = kept;
            for ((to, factor), shape) in to.into_iter().zip([of_one, of_other]).zip(&shapes) {
                if let Some(factor) = factor {
                    let product = gradient.broadcast_mul(&factor.to_dtype(gradient.dtype())?)?;
                    adjoints.give(to, summed(product, shape)?)?;
                }
            }
            Ok(())
        }));
    }
    let shapes = [a, b].map(|tensor| tensor.shape().clone());
    Ok(one.tape().result(y, to, move |gradient, adjoints| {
        pass(adjoints, to[0], &gradient, &shapes[0])?;
        match operation {
            Binary::Sub if to[1].is_some() => {
                adjoints.give(to[1], summed(gradient.neg()?, &shapes[1])?)
            }
            Binary::Sub => Ok(()),
            _ => pass(adjoints, to[1], &gradient, &shapes[1]),
        }
    }))
}

/// `factor * x + term`.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn affine(x: &Node, factor: f64, term: f64) -> Result<Node, Error> {
    let to = x.handle();
    let y = x.tensor().affine(factor, term)?;
    Ok(x.tape().result(y, [to], move |gradient, adjoints| {
        adjoints.give(to, gradient.affine(factor, 0.0)?)
    }))
}

/// Passes on a gradient that may have other readers.
fn pass(
    adjoints: &mut Adjoints,
    to: Handle,
    gradient: &Tensor,
    shape: &Shape,
) -> Result<(), Error> {
    match to {
        None => Ok(()),
        Some(_) if gradient.shape() == shape => adjoints.share(to, gradient),
        Some(_) => adjoints.give(to, summed(gradient.clone(), shape)?),
    }
}

/// The sum over the dimensions along which `shape` was broadcast.
fn summed(gradient: Tensor, shape: &Shape) -> Result<Tensor, Error> {
    let missing = gradient.rank() - shape.rank();
    let sizes = std::iter::repeat_n(1, missing).chain(shape.dims().iter().copied());
    let pairs = gradient.dims().iter().zip(sizes).enumerate();
    let axes: Vec<usize> =
        pairs.filter(|(_, (wide, narrow))| *wide != narrow).map(|(axis, _)| axis).collect();
    if axes.is_empty() { Ok(gradient) } else { gradient.sum_keepdim(axes)?.reshape(shape) }
}

#[cfg(test)]
mod tests;
