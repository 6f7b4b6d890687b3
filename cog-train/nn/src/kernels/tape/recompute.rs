//! Activation checkpointing on a tape.

use std::sync::{Arc, Mutex, PoisonError};

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
    Ok(checkpoint(x, on_tape(block))?.y)
}

/// Computes `block` on `x` as [`recompute`], and saves its result no more than its activations: a layer that needs it backward,
/// such as a [`Linear`](crate::Linear) that is trained, takes it from the block's second run. It is for a block with a wide
/// result, such as the inner values of an MLP, and costs no more than [`recompute`]. A block that ends in a product is better
/// cut before it, as that product is then computed once. The gradients are the same bits.
///
/// Within a block that is computed again as a whole it keeps the activations of that second run.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{self as nn, Init, Linear, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
/// let (up, down) = (Linear::new(&init.at("up"), 4, 64)?, Linear::new(&init.at("down"), 64, 4)?);
/// let x = Tensor::ones((8, 4), DType::F32, &Device::Cpu)?;
/// let y = nn::trace([&x], |[x]| {
///     let up = up.clone();
///     let inner = nn::recompute_with_result(&x, move |x| nn::gelu(&up.forward(x)?))?;
///     down.forward(&inner) // needs `inner` for the gradient of its weight
/// })?;
/// assert!(y.sum_all()?.backward()?.get(down.weight().tensor()?).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// The error of `block`.
pub fn recompute_with_result(
    x: &Node,
    block: impl Fn(&Node) -> Result<Node, Error> + Send + 'static,
) -> Result<Node, Error> {
    if x.tape.record_mut().within_block {
        return block(x);
    }
    let Checkpoint { y, second } = checkpoint(x, on_tape(block))?;
    Ok(match second {
        Some(second) => y.recomputed_by(move || second.result()),
        None => y,
    })
}

/// Runs a block of nodes on a tape of its own.
fn on_tape(
    block: impl Fn(&Node) -> Result<Node, Error> + Send + 'static,
) -> impl Fn(&Tensor, bool) -> Result<Run, Error> + Send + 'static {
    move |x, needs_gradient| {
        let tape = Tape::of_block();
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
    }
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
    trace([x], |[x]| Ok(checkpoint(&x, run)?.y))
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
type Backward = Box<dyn FnOnce(&Tensor, &[Tensor]) -> Result<Gradients, Error> + Send>;

/// The gradients of a block's input and of its leaves, in their order.
#[derive(Default)]
struct Gradients {
    of_x: Option<Tensor>,
    of_leaves: Vec<Option<Tensor>>,
}

/// The result of a block, and its second run if there will be one.
struct Checkpoint {
    y: Node,
    second: Option<Arc<SecondRun>>,
}

/// The run of a block in the backward pass, for the block's own backward step and for those that need its result.
struct SecondRun(Mutex<Stage>);

enum Stage {
    Due(Box<dyn FnOnce() -> Result<Run, Error> + Send>),
    Done(Run),
    Over,
}

impl SecondRun {
    /// Returns the result of the block, which is run if it was not.
    fn result(&self) -> Result<Tensor, Error> {
        let run = self.take()?;
        let y = run.y.clone();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Stage::Done(run);
        Ok(y)
    }

    fn take(&self) -> Result<Run, Error> {
        let mut stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Due(run) => run(),
            Stage::Done(run) => Ok(run),
            Stage::Over => Err(Error::msg("the backward step of a block has run")),
        }
    }
}

/// Runs a block, and again in the backward pass. The flag of `run` says whether the input needs a gradient.
fn checkpoint(
    x: &Node,
    run: impl Fn(&Tensor, bool) -> Result<Run, Error> + Send + 'static,
) -> Result<Checkpoint, Error> {
    // The backward pass and what it saved are dropped here. Only the leaves that it would reach are kept.
    let Run { y, leaves, .. } = run(&x.tensor, false)?;
    let handles: Vec<Handle> = leaves.iter().map(|leaf| x.tape.leaf(leaf).handle).collect();
    if x.handle.is_none() && handles.is_empty() {
        return Ok(Checkpoint { y: x.constant(y), second: None });
    }
    let (source, to, pass) = (x.saved(), x.handle, Pass::current());
    let again = move || pass.run(|| run(&source.tensor()?, to.is_some()));
    let second = Arc::new(SecondRun(Mutex::new(Stage::Due(Box::new(again)))));
    let own = second.clone();
    let any = to.or_else(|| handles.first().copied().flatten());
    let y = x.tape.result(y, [any], move |gradient, adjoints| {
        let Run { backward, .. } = own.take()?;
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
    });
    Ok(Checkpoint { y, second: Some(second) })
}

#[cfg(test)]
mod tests;
