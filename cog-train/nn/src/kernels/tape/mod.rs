//! A reverse-mode tape inside one candle operation.
//!
//! candle initializes every gradient to zero and adds to it, and keeps every activation until its backward pass has ended.
//! Here a [`Node`] is a detached tensor with an index on a `Tape`; an operation computes on detached tensors and records
//! a closure on the tape. Backward, the closures run from the last to the first, and each is dropped, with the tensors that
//! it saved, as soon as it has run. The first gradient of a node is moved, only further ones are added. Those of parameters
//! are written into [buffers](Buffers), which a GPU keeps from step to step.
//!
//! [`trace`] wraps a tape in one candle operation: the gradients of its leaves, parameters or results of candle's
//! operations, go back into candle's graph.

mod adjoints;
mod bridge;
mod buffers;
mod floats;
mod pass;
mod recompute;
mod uses;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernels::host;
use candle_core::{Error, Shape, Tensor, TensorId};

pub(crate) use adjoints::Adjoints;
pub use bridge::{Operand, trace};
pub(crate) use buffers::reusable_gradient;
pub use buffers::{Buffers, added, collect, collect_early, without_gradients};
pub(crate) use pass::Pass;
pub use pass::{evaluation, training, without_low_rank};
pub use recompute::{recompute, recompute_tensor, recompute_with_result};
pub use uses::Complete;

/// The backward step of an operation: takes the gradient of its result and gives gradients to its operands.
type Backward = Box<dyn FnOnce(Tensor, &mut Adjoints) -> Result<(), Error> + Send>;

/// Recomputes a node's tensor from what its operation saves for its own backward step.
type Recompute = Arc<Recomputed>;

/// A tensor that is computed again when the first operation needs it, and freed with the last one that has saved it.
pub(crate) struct Recomputed {
    compute: Box<dyn Fn() -> Result<Tensor, Error> + Send + Sync>,
    tensor: Mutex<Option<Tensor>>,
}

impl Recomputed {
    fn tensor(&self) -> Result<Tensor, Error> {
        let mut tensor = self.tensor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = &*tensor {
            return Ok(tensor.clone());
        }
        Ok(tensor.insert((self.compute)()?).clone())
    }
}

/// The index of a node on its tape; `None` for a node that needs no gradient.
pub(crate) type Handle = Option<usize>;

/// The operations that have been recorded. A clone is the same tape.
#[derive(Clone, Default)]
pub(crate) struct Tape(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    /// Every node that needs a gradient.
    nodes: Vec<Slot>,
    /// The node of each recorded operation, and its backward step.
    steps: Vec<(usize, Backward)>,
    /// The leaves that need a gradient: candle's variables and results of candle's operations.
    leaves: Vec<(Tensor, usize)>,
    /// Whether it is of a block that the backward pass computes again.
    within_block: bool,
}

/// The shape of a gradient, and the leaf that it is of.
struct Slot {
    shape: Shape,
    leaf: Option<TensorId>,
}

/// A tensor within a [`trace`], recorded for its backward pass. A clone is the same node.
///
/// The layers of [this crate](crate) take nodes and return nodes. Any candle operation may read [`Node::tensor`], but
/// no gradient flows back through its result.
#[derive(Clone)]
pub struct Node {
    tensor: Tensor,
    tape: Tape,
    handle: Handle,
    recompute: Option<Recompute>,
}

/// A tensor that an operation needs in its backward step.
#[derive(Clone)]
pub(crate) enum Saved {
    Tensor(Tensor),
    /// It is cheap to compute and large to keep.
    Recompute(Recompute),
}

impl Saved {
    pub(crate) fn tensor(self) -> Result<Tensor, Error> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Recompute(recompute) => recompute.tensor(),
        }
    }
}

impl Node {
    /// Returns the tensor, detached from any graph.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Returns the size of each dimension.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// Whether a gradient will be computed for it.
    #[must_use]
    pub fn needs_gradient(&self) -> bool {
        self.handle.is_some()
    }

    /// Returns the same node with the same values in another type or layout.
    pub(crate) fn map(
        &self,
        change: impl FnOnce(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Self, Error> {
        let tensor = change(&self.tensor)?;
        // In another type the values are rounded.
        let recompute = self.recompute.clone().filter(|_| tensor.dtype() == self.tensor.dtype());
        Ok(Self { tensor, tape: self.tape.clone(), handle: self.handle, recompute })
    }

    /// Lets operations on this node save `recompute` in place of its tensor: it returns the same bits.
    pub(crate) fn recomputed_by(
        mut self,
        recompute: impl Fn() -> Result<Tensor, Error> + Send + Sync + 'static,
    ) -> Self {
        // Without a gradient its operation saves nothing.
        self.recompute = self.handle.map(|_| {
            Arc::new(Recomputed { compute: Box::new(recompute), tensor: Mutex::default() })
        });
        self
    }

    /// Returns what an operation saves of it for its backward step.
    pub(crate) fn saved(&self) -> Saved {
        match &self.recompute {
            Some(recompute) => Saved::Recompute(recompute.clone()),
            None => Saved::Tensor(self.tensor.clone()),
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    pub(crate) fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Records a parameter, or another tensor of candle's, on this node's tape. One tensor is one node, however often it is
    /// recorded.
    pub(crate) fn leaf(&self, tensor: &Tensor) -> Self {
        self.tape.leaf(tensor)
    }

    /// Makes a node that needs no gradient.
    pub(crate) fn constant(&self, tensor: Tensor) -> Self {
        Self { tensor, tape: self.tape.clone(), handle: None, recompute: None }
    }
}

impl Tape {
    /// Records a tensor of candle's. It gets a gradient if candle would give it one.
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
        Node { tensor: tensor.detach(), tape: self.clone(), handle, recompute: None }
    }

    /// Records the result of an operation on `operands`. `backward` is kept only if one of them needs a gradient.
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
        Node { tensor, tape: self.clone(), handle, recompute: None }
    }

    /// Makes a tape for a block that the backward pass computes again.
    fn of_block() -> Self {
        Self(Arc::new(Mutex::new(Record { within_block: true, ..Record::default() })))
    }

    /// Records an input that is no leaf: its gradient is taken by its handle.
    fn start(&self, tensor: &Tensor, needs_gradient: bool) -> Node {
        let handle = needs_gradient.then(|| self.record_mut().node(tensor, None));
        Node { tensor: tensor.clone(), tape: self.clone(), handle, recompute: None }
    }

    fn record_mut(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the record, and leaves the tape empty.
    fn take(&self) -> Record {
        std::mem::take(&mut *self.record_mut())
    }
}

impl Record {
    fn node(&mut self, tensor: &Tensor, leaf: Option<TensorId>) -> usize {
        self.nodes.push(Slot { shape: tensor.shape().clone(), leaf });
        self.nodes.len() - 1
    }

    /// Runs the backward steps from node `from`, whose gradient is `seed`. Returns the gradient of `start`, and those of the
    /// leaves in their order, except for those that went into a buffer.
    fn backward(
        self,
        from: usize,
        seed: &Tensor,
        start: Handle,
    ) -> Result<(Option<Tensor>, Vec<Option<Tensor>>), Error> {
        let Self { nodes, mut steps, leaves, .. } = self;
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
