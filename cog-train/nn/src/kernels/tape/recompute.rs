//! Activation checkpointing on a tape.

use super::{Handle, Node, Tape};
use candle_core::Error;

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
    let (y, used) = {
        let inner = Tape::default();
        let y = block(&inner.start(&x.tensor, x.handle.is_some()))?;
        // The backward steps and what they saved are dropped here. Only the leaves that they would reach are kept.
        let used: Vec<_> = inner.take().leaves.into_iter().map(|(leaf, _)| leaf).collect();
        (y.tensor, used)
    };
    let handles: Vec<Handle> = used.iter().map(|leaf| x.tape.leaf(leaf).handle).collect();
    if x.handle.is_none() && handles.is_empty() {
        return Ok(x.constant(y));
    }
    let (source, to) = (x.tensor.clone(), x.handle);
    let any = to.or_else(|| handles.first().copied().flatten());
    Ok(x.tape.result(y, [any], move |gradient, adjoints| {
        let inner = Tape::default();
        let x = inner.start(&source, to.is_some());
        let y = block(&x)?;
        let record = inner.take();
        let Some(from) = y.handle else { return Ok(()) };
        let (of_x, of_leaves) = record.backward(from, &gradient, x.handle)?;
        if let Some(gradient) = of_x {
            adjoints.give(to, gradient)?;
        }
        for (handle, gradient) in handles.iter().zip(of_leaves) {
            if let Some(gradient) = gradient {
                adjoints.give(*handle, gradient)?;
            }
        }
        Ok(())
    }))
}
