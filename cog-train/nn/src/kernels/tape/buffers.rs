//! Where the gradients of parameters are gathered: memory that stays from step to step.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use candle_core::{Error, Shape, Tensor, TensorId};

use super::adjoints::added;
use crate::kernels::{host, loan};

/// Gradients by the parameter that they are of, as 32-bit floats.
#[derive(Debug, Default)]
pub struct Buffers(HashMap<TensorId, Buffer>);

#[derive(Debug)]
struct Buffer {
    shape: Shape,
    /// Made when the first gradient arrives, and kept.
    tensor: Option<Tensor>,
    /// Whether its numbers are of the present step.
    filled: bool,
}

impl Buffers {
    /// A buffer for each of `parameters`.
    pub fn new<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> Self {
        let buffer = |parameter: &Tensor| {
            let shape = parameter.shape().clone();
            (parameter.id(), Buffer { shape, tensor: None, filled: false })
        };
        Self(parameters.into_iter().map(buffer).collect())
    }

    /// The sum of the gradients of a parameter since the last [`clear`](Self::clear), if one arrived.
    pub fn get(&self, parameter: &Tensor) -> Option<&Tensor> {
        self.0.get(&parameter.id()).filter(|buffer| buffer.filled)?.tensor.as_ref()
    }

    /// Begins a new step: what arrives next is written over what is there.
    pub fn clear(&mut self) {
        for buffer in self.0.values_mut() {
            buffer.filled = false;
        }
    }
}

thread_local! {
    /// The buffers of the backward pass that runs on this thread. candle calls an operation's backward pass without a
    /// word of whose it is.
    static OPEN: RefCell<Option<Buffers>> = const { RefCell::new(None) };
    static OFF: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, a loss and its backward pass, such that the gradients of parameters within [traces](super::trace) are added
/// to `buffers`.
pub fn collect<R>(buffers: &mut Buffers, work: impl FnOnce() -> R) -> R {
    loan::lend(&OPEN, buffers, work)
}

/// Runs `work` such that traces keep nothing for a backward pass.
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

/// Memory for a gradient, in 32 bits, that will be given to this parameter: that of its buffer, if its numbers are of no
/// more use, or what `make` makes. The numbers in it are anything.
pub(crate) fn memory_for(
    parameter: &Tensor,
    shape: impl Into<Shape>,
    make: impl FnOnce() -> Result<Tensor, Error>,
) -> Result<Tensor, Error> {
    let shape = shape.into();
    let spare = OPEN.with_borrow_mut(|open| {
        let buffer = open.as_mut()?.0.get_mut(&parameter.id())?;
        if buffer.filled { None } else { buffer.tensor.take() }
    });
    match spare {
        Some(spare) if spare.is_contiguous() && *spare.shape() == shape => Ok(spare),
        _ => make(),
    }
}

/// A parameter that has a buffer in the pass that runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(TensorId);

/// The buffer of a parameter, if the pass that runs has one.
pub(super) fn place(parameter: TensorId) -> Option<Place> {
    let known = |buffers: &Buffers| buffers.0.contains_key(&parameter);
    OPEN.with_borrow(|open| open.as_ref().is_some_and(known)).then_some(Place(parameter))
}

impl Place {
    /// Adds a gradient whose storage nobody else has.
    pub(super) fn give(self, gradient: &Tensor) -> Result<(), Error> {
        self.with(|buffer| {
            let gradient = match &buffer.tensor {
                Some(sum) if buffer.filled => added(sum.clone(), &host::plain(gradient)?)?,
                _ => host::plain(gradient)?,
            };
            buffer.tensor = Some(gradient);
            buffer.filled = true;
            Ok(())
        })
    }

    /// Adds a gradient that others look at.
    pub(super) fn share(self, gradient: &Tensor) -> Result<(), Error> {
        if self.with(|buffer| Ok(buffer.tensor.is_some()))? && host::on_cpu(gradient) {
            let gradient = host::plain(gradient)?;
            return host::read([&gradient], |[from]| {
                self.write(|target, adds| crate::kernels::sum::add_or_copy(target, from, adds))
            })?;
        }
        self.give(&gradient.copy()?)
    }

    /// Lets `work(target, adds)` add to the buffer's numbers, or write over them.
    pub(super) fn write(self, work: impl FnOnce(&mut [f32], bool)) -> Result<(), Error> {
        self.with(|buffer| {
            let target = match buffer.tensor.take() {
                Some(target) => target,
                None => host::make(buffer.shape.clone(), |_| ())?,
            };
            let adds = buffer.filled;
            host::write(&target, |target| work(target, adds))?;
            buffer.tensor = Some(target);
            buffer.filled = true;
            Ok(())
        })
    }

    /// The same on another device: `make` makes room.
    pub(super) fn write_tensor(
        self,
        make: impl FnOnce() -> Result<Tensor, Error>,
        work: impl FnOnce(&Tensor, bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.with(|buffer| {
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

    fn with<R>(self, work: impl FnOnce(&mut Buffer) -> Result<R, Error>) -> Result<R, Error> {
        OPEN.with_borrow_mut(|open| {
            let buffer = open.as_mut().and_then(|buffers| buffers.0.get_mut(&self.0));
            let buffer =
                buffer.ok_or_else(|| candle_core::Error::msg("a gradient's buffer is gone"))?;
            work(buffer)
        })
    }
}
