//! Activation checkpointing on a tape.

use candle_core::{Error, Tensor, Var};

use super::bridge::trace;
use super::{Handle, Node, Pass, Tape};

/// Computes `block` on `x` without saving its activations; the backward pass computes them again (activation
/// checkpointing; Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). The gradients are the same bits.
///
/// `block` must return the same each time: randomness in it comes from a stream of its own.
///
/// # Errors
///
/// The error of `block`.
pub fn recompute(
    x: &Node,
    block: impl Fn(&Node) -> Result<Node, Error> + Send + 'static,
) -> Result<Node, Error> {
    checkpoint(x, move |x, needs_gradient| {
        let tape = Tape::default();
        let x = tape.start(x, needs_gradient);
        let y = block(&x)?;
        let record = tape.take();
        let leaves = record.leaves.iter().map(|(leaf, _)| leaf.clone()).collect();
        let (start, from) = (x.handle, y.handle);
        let backward = move |gradient: &Tensor, _: &[Tensor]| {
            let Some(from) = from else { return Ok(Gradients::default()) };
            let (of_x, of_leaves) = record.backward(from, gradient, start)?;
            Ok(Gradients { of_x, of_leaves })
        };
        Ok(Run { y: y.tensor, leaves, backward: Box::new(backward) })
    })
}

/// Computes a block of candle's own operations in the same way, as one operation in candle's graph.
///
/// # Errors
///
/// The error of `block`.
pub fn recompute_tensor(
    x: &Tensor,
    block: impl Fn(&Tensor) -> Result<Tensor, Error> + Send + 'static,
) -> Result<Tensor, Error> {
    let run = move |x: &Tensor, needs_gradient: bool| {
        // A variable of its own collects the gradient of `x`.
        let input = if needs_gradient { Some(Var::from_tensor(x)?) } else { None };
        let y = block(input.as_ref().map_or(x, Var::as_tensor))?;
        let nodes = y.sorted_nodes();
        let leaves = nodes.into_iter().filter(|node| node.is_variable()).cloned().collect();
        let value = y.detach();
        let backward = move |gradient: &Tensor, leaves: &[Tensor]| {
            // The gradient of a sum is one everywhere, and one times a number is that number, bit for bit.
            let seeded = (&y * gradient.to_dtype(y.dtype())?)?.sum_all()?;
            let mut store = seeded.backward()?;
            let of_x = input.and_then(|input| store.remove(&input));
            let of_leaves = leaves.iter().map(|leaf| store.remove(leaf)).collect();
            Ok(Gradients { of_x, of_leaves })
        };
        Ok(Run { y: value, leaves, backward: Box::new(backward) })
    };
    trace([x], |[x]| checkpoint(&x, run))
}

/// A block that was run on a tensor.
struct Run {
    /// The result, detached.
    y: Tensor,
    /// The tensors beside the input that gradients flow to.
    leaves: Vec<Tensor>,
    backward: Backward,
}

/// The backward pass of a block: takes the gradient of its result, and the leaves.
type Backward = Box<dyn FnOnce(&Tensor, &[Tensor]) -> Result<Gradients, Error>>;

/// The gradients of a block's input and of its leaves, in their order.
#[derive(Default)]
struct Gradients {
    of_x: Option<Tensor>,
    of_leaves: Vec<Option<Tensor>>,
}

/// Runs a block, and again in the backward pass. The flag of `run` says whether the input needs a gradient.
fn checkpoint(
    x: &Node,
    run: impl Fn(&Tensor, bool) -> Result<Run, Error> + Send + 'static,
) -> Result<Node, Error> {
    // The backward pass and what it saved are dropped here. Only the leaves that it would reach are kept.
    let Run { y, leaves, .. } = run(&x.tensor, false)?;
    let handles: Vec<Handle> = leaves.iter().map(|leaf| x.tape.leaf(leaf).handle).collect();
    if x.handle.is_none() && handles.is_empty() {
        return Ok(x.constant(y));
    }
    let (source, to, pass) = (x.tensor.clone(), x.handle, Pass::current());
    let any = to.or_else(|| handles.first().copied().flatten());
    Ok(x.tape.result(y, [any], move |gradient, adjoints| {
        let Run { backward, .. } = pass.run(|| run(&source, to.is_some()))?;
        let Gradients { of_x, of_leaves } = backward(&gradient, &leaves)?;
        // candle may give several operands one gradient.
        if let Some(gradient) = of_x {
            adjoints.share(to, &gradient)?;
        }
        for (handle, gradient) in handles.iter().zip(of_leaves) {
            if let Some(gradient) = gradient {
                adjoints.share(*handle, &gradient)?;
            }
        }
        Ok(())
    }))
}
