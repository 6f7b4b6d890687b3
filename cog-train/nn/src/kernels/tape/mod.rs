//! A backward pass of our own, inside one candle operation.
//!
//! candle starts every gradient as zeros and adds to it, and keeps every activation until its backward pass has ended.
//! Here a [`Node`] is a plain tensor with a number on a [`Tape`]; an operation computes on the plain tensors and leaves
//! a closure on the tape. Backward, the closures run from the last to the first, and each is dropped, with what it kept,
//! as soon as it has run. A gradient moves to where it goes; only a second one is added. Those of parameters are
//! written straight into [buffers](Buffers) that stay from step to step.
//!
//! [`trace`] makes one candle operation of all that, so that it has its place in a graph of candle's: gradients of what
//! comes from outside, parameters or the results of candle's operations, go back into that graph.

mod adjoints;
mod bridge;
mod buffers;
mod recompute;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernels::host;
use candle_core::{Error, Shape, Tensor, TensorId};

pub(crate) use adjoints::Adjoints;
pub use bridge::{Operand, trace};
pub(crate) use buffers::memory_for;
pub use buffers::{Buffers, collect, without_gradients};
pub use recompute::{recompute, recompute_tensor};

/// What an operation does backward: takes the gradient of its result and gives gradients to its operands.
type Backward = Box<dyn FnOnce(Tensor, &mut Adjoints) -> Result<(), Error> + Send>;

/// Computes a node's numbers anew from what its operation keeps for its own way back.
type Again = Arc<dyn Fn() -> Result<Tensor, Error> + Send + Sync>;

/// Where the gradient of a node goes; `None` for a node that needs none.
pub(crate) type Handle = Option<usize>;

/// What has been computed so far, and how to go back. Cloning gives the same tape.
#[derive(Clone, Default)]
pub(crate) struct Tape(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    /// The shape and type of every node that needs a gradient.
    nodes: Vec<Slot>,
    /// The node that a closure is of, and the closure.
    steps: Vec<(usize, Backward)>,
    /// What came from outside and needs a gradient: candle's variables and results of candle's operations.
    leaves: Vec<(Tensor, usize)>,
}

/// What a gradient must look like.
struct Slot {
    shape: Shape,
    leaf: Option<TensorId>,
}

/// A tensor within a [`trace`]: its numbers, and its place on the way back. Cloning shares both.
///
/// The blocks of [this crate](crate) take nodes and give nodes; [`Node::tensor`] lets any candle operation look at the
/// numbers, but what candle computes from them has no way back.
#[derive(Clone)]
pub struct Node {
    tensor: Tensor,
    tape: Tape,
    handle: Handle,
    again: Option<Again>,
}

/// Numbers that an operation needs on its way back.
pub(crate) enum Kept {
    Numbers(Tensor),
    /// They are cheap to compute and large to keep.
    Again(Again),
}

impl Kept {
    pub(crate) fn numbers(self) -> Result<Tensor, Error> {
        match self {
            Self::Numbers(tensor) => Ok(tensor),
            Self::Again(again) => again(),
        }
    }
}

impl Node {
    /// The numbers, without a graph.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The size of each dimension.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// Whether a gradient will be computed for it.
    #[must_use]
    pub fn needs_gradient(&self) -> bool {
        self.handle.is_some()
    }

    /// The same node with other numbers for the same values: another type, or without gaps.
    pub(crate) fn map(
        &self,
        change: impl FnOnce(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Self, Error> {
        let tensor = change(&self.tensor)?;
        // In another type they are other numbers.
        let again = self.again.clone().filter(|_| tensor.dtype() == self.tensor.dtype());
        Ok(Self { tensor, tape: self.tape.clone(), handle: self.handle, again })
    }

    /// Lets operations on this node keep the way to its numbers in their place: `again` gives the same ones.
    pub(crate) fn computed_again(
        mut self,
        again: impl Fn() -> Result<Tensor, Error> + Send + Sync + 'static,
    ) -> Self {
        // Without a way back its operation keeps nothing.
        self.again = self.handle.map(|_| -> Again { Arc::new(again) });
        self
    }

    /// What an operation keeps of it.
    pub(crate) fn kept(&self) -> Kept {
        match &self.again {
            Some(again) => Kept::Again(again.clone()),
            None => Kept::Numbers(self.tensor.clone()),
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    pub(crate) fn tape(&self) -> &Tape {
        &self.tape
    }

    /// A parameter, or another tensor from outside, on this node's tape. One tensor is one node, however often it is asked for.
    pub(crate) fn outside(&self, tensor: &Tensor) -> Self {
        self.tape.leaf(tensor)
    }

    /// Something that needs no gradient.
    pub(crate) fn constant(&self, tensor: Tensor) -> Self {
        Self { tensor, tape: self.tape.clone(), handle: None, again: None }
    }
}

impl Tape {
    /// A tensor from outside. It gets a gradient if candle would give it one.
    pub(crate) fn leaf(&self, tensor: &Tensor) -> Node {
        let wanted = tensor.track_op() && !buffers::gradients_are_off();
        let handle = wanted.then(|| {
            let mut record = self.record_mut();
            if let Some((_, id)) = record.leaves.iter().find(|(known, _)| known.id() == tensor.id())
            {
                *id
            } else {
                let id = record.node(tensor, Some(tensor.id()));
                record.leaves.push((tensor.clone(), id));
                id
            }
        });
        Node { tensor: tensor.detach(), tape: self.clone(), handle, again: None }
    }

    /// The result of an operation on `operands`. `backward` is kept only if one of them needs a gradient.
    pub(crate) fn result<const N: usize>(
        &self,
        tensor: Tensor,
        operands: [Handle; N],
        backward: impl FnOnce(Tensor, &mut Adjoints) -> Result<(), Error> + Send + 'static,
    ) -> Node {
        let wanted = operands.iter().any(Option::is_some);
        let handle = wanted.then(|| {
            let mut record = self.record_mut();
            let id = record.node(&tensor, None);
            record.steps.push((id, Box::new(backward)));
            id
        });
        Node { tensor, tape: self.clone(), handle, again: None }
    }

    /// A node to begin with that is no leaf: its gradient is asked for by its handle.
    fn start(&self, tensor: &Tensor, needs_gradient: bool) -> Node {
        let handle = needs_gradient.then(|| self.record_mut().node(tensor, None));
        Node { tensor: tensor.clone(), tape: self.clone(), handle, again: None }
    }

    fn record_mut(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was recorded; the tape is empty then.
    fn take(&self) -> Record {
        std::mem::take(&mut *self.record_mut())
    }
}

impl Record {
    fn node(&mut self, tensor: &Tensor, leaf: Option<TensorId>) -> usize {
        self.nodes.push(Slot { shape: tensor.shape().clone(), leaf });
        self.nodes.len() - 1
    }

    /// Goes back from node `from`, whose gradient is `seed`. Gives the gradient of `start`, and those of the leaves in
    /// their order, but for those that went into a buffer.
    fn backward(
        self,
        from: usize,
        seed: &Tensor,
        start: Handle,
    ) -> Result<(Option<Tensor>, Vec<Option<Tensor>>), Error> {
        let Self { nodes, mut steps, leaves } = self;
        let mut adjoints = Adjoints::new(nodes);
        adjoints.share(Some(from), seed)?;
        while let Some((id, step)) = steps.pop() {
            if let Some(gradient) = adjoints.take(id) {
                step(host::widened(gradient)?, &mut adjoints)?;
            }
        }
        let start = start.and_then(|id| adjoints.take(id));
        let leaves = leaves.iter().map(|(leaf, id)| adjoints.of_leaf(leaf, *id));
        Ok((start, leaves.collect::<Result<_, _>>()?))
    }
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let record = self.record_mut();
        f.debug_struct("Tape")
            .field("nodes", &record.nodes.len())
            .field("leaves", &record.leaves.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("dims", &self.dims())
            .field("needs_gradient", &self.needs_gradient())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
