//! The gradients of a backward pass that have not reached their nodes yet.

use candle_core::{Error, Tensor};

use super::buffers::{self, added};
use super::{Handle, Slot};
use crate::kernels::host;
use crate::kernels::output::Destination;

/// The gradients that have arrived for nodes whose backward step has not run yet.
pub(crate) struct Adjoints {
    nodes: Vec<Slot>,
    waiting: Vec<Waiting>,
}

/// The gradient that has arrived for a node.
#[derive(Default)]
enum Waiting {
    #[default]
    Nothing,
    /// In a storage that others may read.
    Shared(Tensor),
    /// In a storage of its own, so that it can be accumulated to in place.
    Own(Tensor),
}

impl Adjoints {
    pub(super) fn new(nodes: Vec<Slot>) -> Self {
        let waiting = nodes.iter().map(|_| Waiting::Nothing).collect();
        Self { nodes, waiting }
    }

    /// Adds a gradient whose storage nobody else refers to. It has as many elements as the node.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    #[expect(clippy::needless_pass_by_value, reason = "the caller must not keep it")]
    pub(crate) fn give(&mut self, to: Handle, gradient: Tensor) -> Result<(), Error> {
        let Some(id) = to else { return Ok(()) };
        let gradient = self.shaped(id, &gradient)?;
        if let Some(buffer) = self.buffered(id) {
            return buffer.give(&gradient);
        }
        self.waiting[id] = match std::mem::take(&mut self.waiting[id]) {
            Waiting::Nothing => Waiting::Own(gradient),
            Waiting::Own(sum) => Waiting::Own(added(sum, &gradient)?),
            Waiting::Shared(sum) => Waiting::Own(added(gradient, &sum)?),
        };
        Ok(())
    }

    /// Adds a gradient whose storage others may read.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub(crate) fn share(&mut self, to: Handle, gradient: &Tensor) -> Result<(), Error> {
        let Some(id) = to else { return Ok(()) };
        let gradient = self.shaped(id, gradient)?;
        if let Some(buffer) = self.buffered(id) {
            return buffer.share(&gradient);
        }
        self.waiting[id] = match std::mem::take(&mut self.waiting[id]) {
            Waiting::Nothing => Waiting::Shared(gradient),
            Waiting::Own(sum) => Waiting::Own(added(sum, &gradient)?),
            Waiting::Shared(sum) => Waiting::Own((&sum + gradient.to_dtype(sum.dtype())?)?),
        };
        Ok(())
    }

    /// Lets `work` write the gradient of a node on the CPU in place.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated.
    pub(crate) fn write(
        &mut self,
        to: Handle,
        work: impl FnOnce(Destination<'_>),
    ) -> Result<(), Error> {
        let Some(id) = to else { return Ok(()) };
        if let Some(buffer) = self.buffered(id) {
            return buffer.write(work);
        }
        let sum = match std::mem::take(&mut self.waiting[id]) {
            Waiting::Own(sum) if host::is_contiguous(&sum) => sum,
            Waiting::Own(sum) | Waiting::Shared(sum) => host::contiguous(&sum)?.copy()?,
            Waiting::Nothing => {
                let shape = self.nodes[id].shape.clone();
                let made = host::make(shape, |output| work(Destination::Overwrite(output)))?;
                self.waiting[id] = Waiting::Own(made);
                return Ok(());
            }
        };
        host::write(&sum, |sum| work(Destination::Accumulate(sum)))?;
        self.waiting[id] = Waiting::Own(sum);
        Ok(())
    }

    /// Lets `work(target, accumulate)` write the gradient of a node on another device in place, as [`write`](Self::write)
    /// does on the CPU. `make` allocates it in 32 bits.
    ///
    /// # Errors
    ///
    /// The errors of `make` and `work`.
    pub(crate) fn write_tensor(
        &mut self,
        to: Handle,
        make: impl FnOnce() -> Result<Tensor, Error>,
        work: impl FnOnce(&Tensor, bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(id) = to else { return Ok(()) };
        if let Some(buffer) = self.buffered(id) {
            return buffer.write_tensor(make, work);
        }
        let target = make()?;
        work(&target, false)?;
        self.give(to, target)
    }

    pub(super) fn take(&mut self, id: usize) -> Option<Tensor> {
        match std::mem::take(&mut self.waiting[id]) {
            Waiting::Nothing => None,
            Waiting::Own(gradient) | Waiting::Shared(gradient) => Some(gradient),
        }
    }

    /// Takes the gradient of a leaf, in the leaf's type.
    pub(super) fn of_leaf(&mut self, leaf: &Tensor, id: usize) -> Result<Option<Tensor>, Error> {
        self.take(id).map(|gradient| gradient.to_dtype(leaf.dtype())).transpose()
    }

    fn buffered(&self, id: usize) -> Option<buffers::Entry> {
        self.nodes[id].leaf.and_then(buffers::entry)
    }

    /// Gives a gradient the node's shape, and detaches it from its graph, which would keep its operands in memory.
    fn shaped(&self, id: usize, gradient: &Tensor) -> Result<Tensor, Error> {
        let (shape, gradient) = (&self.nodes[id].shape, gradient.detach());
        Ok(if gradient.shape() == shape { gradient } else { gradient.reshape(shape)? })
    }
}
