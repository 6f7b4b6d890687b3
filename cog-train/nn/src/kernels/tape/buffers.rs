//! Buffers that accumulate the gradients of parameters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::mpsc::Sender;

use candle_core::{Error, Shape, Tensor, TensorId};

use super::uses::{Complete, Uses};
use crate::kernels::output::{Destination, Output};
use crate::kernels::{host, loan, sum};

/// The gradients of parameters, as 32-bit floats.
#[derive(Debug, Default)]
pub struct Buffers {
    of: HashMap<TensorId, Buffer>,
    /// The receiver of the gradients of the present backward pass that are complete before its end.
    early: Option<Sender<Complete>>,
    /// The number of gradients that have arrived in the present backward pass.
    arrived: u64,
}

#[derive(Debug)]
struct Buffer {
    shape: Shape,
    /// Allocated when the first gradient arrives, and kept until it is released.
    tensor: Option<Tensor>,
    /// Whether its elements are of the present step.
    filled: bool,
    uses: Uses,
}

impl Buffers {
    /// Makes a buffer for each of `parameters`.
    pub fn new<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> Self {
        let buffer = |parameter: &Tensor| {
            let shape = parameter.shape().clone();
            let uses = Uses::default();
            (parameter.id(), Buffer { shape, tensor: None, filled: false, uses })
        };
        Self { of: parameters.into_iter().map(buffer).collect(), early: None, arrived: 0 }
    }

    /// Keeps the gradient of a parameter until the end of each backward pass from now on.
    pub fn keep(&mut self, parameter: &Tensor) {
        if let Some(buffer) = self.of.get_mut(&parameter.id()) {
            buffer.uses.irregular = true;
        }
    }

    /// Returns whether the gradient of a parameter was sent before the end of the last backward pass.
    #[must_use]
    pub fn was_sent(&self, parameter: &Tensor) -> bool {
        self.of.get(&parameter.id()).is_some_and(|buffer| buffer.uses.sent)
    }

    /// Returns the number of gradients that arrived in the last backward pass until that of a parameter was complete; `None` if that
    /// was not before its end.
    #[must_use]
    pub fn completed_at(&self, parameter: &Tensor) -> Option<u64> {
        let Buffer { uses, .. } = self.of.get(&parameter.id())?;
        Some(uses.last).filter(|last| *last > 0 && !uses.irregular)
    }

    fn begin_pass(&mut self) {
        self.arrived = 0;
        for Buffer { uses, .. } in self.of.values_mut() {
            let Uses { now, irregular, .. } = *uses;
            *uses = Uses { before: now, irregular, ..Uses::default() };
        }
    }

    /// Returns the sum of the gradients of a parameter since the last [`clear`](Self::clear), if one arrived.
    #[cfg(test)]
    pub(crate) fn get(&self, parameter: &Tensor) -> Option<&Tensor> {
        self.of.get(&parameter.id()).filter(|buffer| buffer.filled)?.tensor.as_ref()
    }

    /// Takes the sum of the gradients of a parameter out, if one arrived.
    pub fn take(&mut self, parameter: &Tensor) -> Option<Tensor> {
        let buffer = self.of.get_mut(&parameter.id()).filter(|buffer| buffer.filled)?;
        buffer.filled = false;
        buffer.tensor.take()
    }

    /// Gives a gradient that is no longer needed back: its memory on a GPU, where an allocation is dear, serves the next
    /// one of that parameter. Nobody else may refer to it.
    pub fn recycle(&mut self, parameter: &Tensor, gradient: Tensor) {
        if let Some(buffer) = self.of.get_mut(&parameter.id())
            && buffer.tensor.is_none()
            && !host::on_cpu(&gradient)
            && gradient.is_contiguous()
            && *gradient.shape() == buffer.shape
        {
            buffer.tensor = Some(gradient);
        }
    }

    /// Begins a new step: the next gradient of each parameter overwrites its buffer.
    pub fn clear(&mut self) {
        for buffer in self.of.values_mut() {
            buffer.filled = false;
        }
    }

    /// Ends a step. Memory of the CPU is freed: the activations of the next step take it. That of a GPU, where an allocation
    /// is dear, is kept.
    pub fn release(&mut self) {
        for buffer in self.of.values_mut() {
            buffer.filled = false;
            buffer.tensor.take_if(|tensor| host::on_cpu(tensor));
        }
    }
}

thread_local! {
    /// The buffers of the backward pass that runs on this thread. candle passes no context to the backward pass of an
    /// operation.
    static OPEN: RefCell<Option<Buffers>> = const { RefCell::new(None) };
    static OFF: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, a loss and its backward pass, and accumulates the gradients of parameters within [traces](super::trace)
/// in `buffers`.
pub fn collect<R>(buffers: &mut Buffers, work: impl FnOnce() -> R) -> R {
    collect_early(buffers, None, work)
}

/// Runs `work` as [`collect`]. A gradient goes to `early`, and is no longer kept, as soon as as many have arrived for its parameter
/// as in the pass before.
///
/// More may arrive for it after that, where the number of uses has changed, or where candle computes a part of it: the caller
/// finds them in the buffers or in candle's store.
pub fn collect_early<R>(
    buffers: &mut Buffers,
    early: Option<Sender<Complete>>,
    work: impl FnOnce() -> R,
) -> R {
    /// The receiver waits for the end of the pass, after a panic too.
    struct Open<'a>(&'a mut Buffers);
    impl Drop for Open<'_> {
        fn drop(&mut self) {
            self.0.early = None;
        }
    }
    buffers.begin_pass();
    buffers.early = early;
    let open = Open(buffers);
    loan::lend(&OPEN, open.0, work)
}

/// Runs `work` in which traces save nothing for a backward pass.
pub fn without_gradients<R>(work: impl FnOnce() -> R) -> R {
    struct Off(bool);
    impl Drop for Off {
        fn drop(&mut self) {
            OFF.set(self.0);
        }
    }
    let _off = Off(OFF.replace(true));
    work()
}

pub(super) fn gradients_are_off() -> bool {
    OFF.get()
}

/// Takes the memory of a parameter's buffer out, for a gradient in 32 bits that will be given to that parameter. Its
/// elements are of a step before. `None` if the buffer has a gradient of this step, or no memory of that shape.
pub(crate) fn reusable_gradient(parameter: &Tensor, shape: impl Into<Shape>) -> Option<Tensor> {
    let shape = shape.into();
    let reused = OPEN.with_borrow_mut(|open| {
        let buffer = open.as_mut()?.of.get_mut(&parameter.id())?;
        if buffer.filled { None } else { buffer.tensor.take() }
    });
    reused.filter(|reused| reused.is_contiguous() && *reused.shape() == shape)
}

/// A parameter that has a buffer in the present backward pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry(TensorId);

/// Returns the buffer of a parameter, if the present backward pass has one.
pub(super) fn entry(parameter: TensorId) -> Option<Entry> {
    let known = |buffers: &Buffers| buffers.of.contains_key(&parameter);
    OPEN.with_borrow(|open| open.as_ref().is_some_and(known)).then_some(Entry(parameter))
}

impl Entry {
    /// Adds a gradient whose storage nobody else refers to.
    pub(super) fn give(self, gradient: &Tensor) -> Result<(), Error> {
        self.add(|buffer| {
            let gradient = match &buffer.tensor {
                Some(sum) if buffer.filled => added(sum.clone(), &host::contiguous(gradient)?)?,
                _ => host::contiguous(gradient)?,
            };
            buffer.tensor = Some(gradient);
            buffer.filled = true;
            Ok(())
        })
    }

    /// Adds a gradient whose storage others may read.
    pub(super) fn share(self, gradient: &Tensor) -> Result<(), Error> {
        if self.with(|buffer| Ok(buffer.tensor.is_some()))? && host::on_cpu(gradient) {
            let gradient = host::contiguous(gradient)?;
            return host::read([&gradient], |[from]| {
                self.write(|target| sum::add_or_copy(target, from))
            })?;
        }
        self.give(&gradient.copy()?)
    }

    /// Lets `work` write a gradient to the buffer.
    pub(super) fn write(self, work: impl FnOnce(Destination<'_>)) -> Result<(), Error> {
        self.add(|buffer| {
            let target = match buffer.tensor.take() {
                Some(target) => {
                    let accumulate = buffer.filled;
                    host::write(&target, |elements| {
                        work(if accumulate {
                            Destination::Accumulate(elements)
                        } else {
                            Destination::Overwrite(Output::over(elements))
                        });
                    })?;
                    target
                }
                None => host::make(buffer.shape.clone(), |output| {
                    work(Destination::Overwrite(output));
                })?,
            };
            buffer.tensor = Some(target);
            buffer.filled = true;
            Ok(())
        })
    }

    /// Lets `work(target, accumulate)` write a gradient to the buffer on another device. `make` allocates it.
    pub(super) fn write_tensor(
        self,
        make: impl FnOnce() -> Result<Tensor, Error>,
        work: impl FnOnce(&Tensor, bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.add(|buffer| {
            let target = match buffer.tensor.take() {
                Some(target) => target,
                None => make()?,
            };
            work(&target, buffer.filled)?;
            buffer.tensor = Some(target);
            buffer.filled = true;
            Ok(())
        })
    }

    /// Lets `work` add a gradient, and sends the sum if it is complete.
    fn add(self, work: impl FnOnce(&mut Buffer) -> Result<(), Error>) -> Result<(), Error> {
        self.with(work)?;
        OPEN.with_borrow_mut(|open| {
            let Some(Buffers { of, early, arrived }) = open else { return };
            let Some(Buffer { tensor, filled, uses, .. }) = of.get_mut(&self.0) else { return };
            *arrived += 1;
            (uses.now, uses.last) = (uses.now + 1, *arrived);
            if let Some(early) = early
                && uses.now == uses.before
                && !uses.irregular
                && let Some(gradient) = tensor.take()
            {
                (*filled, uses.sent) = (false, true);
                // Nobody receives it when the step has failed elsewhere.
                drop(early.send(Complete { parameter: self.0, gradient }));
            }
        });
        Ok(())
    }

    fn with<R>(self, work: impl FnOnce(&mut Buffer) -> Result<R, Error>) -> Result<R, Error> {
        OPEN.with_borrow_mut(|open| {
            let buffer = open.as_mut().and_then(|buffers| buffers.of.get_mut(&self.0));
            let buffer = buffer.ok_or_else(|| Error::msg("the buffer of a gradient is gone"))?;
            work(buffer)
        })
    }
}

/// Adds two gradients, on the CPU in place in the first where both are contiguous: nobody else may refer to it.
///
/// # Errors
///
/// candle's error when the shapes differ or the device fails.
pub fn added(own: Tensor, other: &Tensor) -> Result<Tensor, Error> {
    if !host::is_contiguous(&own) || !host::is_contiguous(other) {
        return &own + other.to_dtype(own.dtype())?;
    }
    host::read([other], |[other]| host::write(&own, |own| sum::add(own, other)))??;
    Ok(own)
}
