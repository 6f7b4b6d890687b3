//! The gradients of a backward pass while they are on their way.

use candle_core::{Error, Tensor};

use super::{Handle, Slot, buffers};
use crate::kernels::{host, sum};

/// The gradients that wait for their nodes' turns.
pub(crate) struct Adjoints {
    nodes: Vec<Slot>,
    waiting: Vec<Waiting>,
}

/// What has arrived for a node.
#[derive(Default)]
enum Waiting {
    #[default]
    Nothing,
    /// Others may be looking at the same storage.
    Shared(Tensor),
    /// Nobody else has it, so that it can be added to in place.
    Own(Tensor),
}

impl Adjoints {
    pub(super) fn new(nodes: Vec<Slot>) -> Self {
        let waiting = nodes.iter().map(|_| Waiting::Nothing).collect();
        Self { nodes, waiting }
    }

    /// A gradient in a storage that nobody else has. It has as many elements as the node.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    #[expect(clippy::needless_pass_by_value, reason = "so that nobody else has it")]
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

    /// A gradient that goes elsewhere too.
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

    /// Lets `work` write the gradient of a node of the CPU where it stays: `work(target, adds)` adds to the target's
    /// numbers if `adds`, and else writes over them, all of them.
    ///
    /// # Errors
    ///
    /// candle's error when there is no room.
    pub(crate) fn write(
        &mut self,
        to: Handle,
        work: impl FnOnce(&mut [f32], bool),
    ) -> Result<(), Error> {
        let Some(id) = to else { return Ok(()) };
        if let Some(buffer) = self.buffered(id) {
            return buffer.write(work);
        }
        let (target, adds) = match std::mem::take(&mut self.waiting[id]) {
            Waiting::Own(sum) if host::is_plain(&sum) => (sum, true),
            Waiting::Own(sum) | Waiting::Shared(sum) => (host::plain(&sum)?.copy()?, true),
            Waiting::Nothing => (host::make(self.nodes[id].shape.clone(), |_| ())?, false),
        };
        host::write(&target, |target| work(target, adds))?;
        self.waiting[id] = Waiting::Own(target);
        Ok(())
    }

    /// Lets `work(target, adds)` write the gradient of a node of another device where it stays, as [`write`](Self::write)
    /// does on the CPU. `make` makes room for it in 32 bits.
    ///
    /// # Errors
    ///
    /// What the two fail with.
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

    /// What has arrived for a leaf, in its own type.
    pub(super) fn of_leaf(&mut self, leaf: &Tensor, id: usize) -> Result<Option<Tensor>, Error> {
        self.take(id).map(|gradient| Ok(gradient.to_dtype(leaf.dtype())?)).transpose()
    }

    fn buffered(&self, id: usize) -> Option<buffers::Place> {
        self.nodes[id].leaf.and_then(buffers::place)
    }

    /// In the node's shape, and without what it was computed from: one that candle computed would keep that in memory.
    fn shaped(&self, id: usize, gradient: &Tensor) -> Result<Tensor, Error> {
        let (shape, gradient) = (&self.nodes[id].shape, gradient.detach());
        Ok(if gradient.shape() == shape { gradient } else { gradient.reshape(shape)? })
    }
}

/// The sum, in the place of the first where that is possible.
pub(super) fn added(own: Tensor, other: &Tensor) -> Result<Tensor, Error> {
    if !host::is_plain(&own) || !host::is_plain(other) {
        return Ok((&own + other.to_dtype(own.dtype())?)?);
    }
    host::read([other], |[other]| host::write(&own, |own| sum::add(own, other)))??;
    Ok(own)
}
