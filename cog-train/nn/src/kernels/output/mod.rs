//! Memory for results. It is not initialized first: zeroing it would take a tenth of a training step.
//!
//! A [`Buffer`] owns the memory of one result. An [`Output`] is a part of it that one thread fills from front to back, as
//! one fills a `Vec`: it hands out nothing that has not been written. The outputs of a buffer count what they have filled,
//! and a buffer becomes a tensor when the count is complete. So no caller can read memory that is not initialized, and the
//! reasons for that are in this folder alone.
#![expect(unsafe_code, reason = "memory is handed out before it is initialized, and counted")]

mod append;
mod columns;

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Error, Shape, Tensor};
use rayon::prelude::*;

pub(crate) use columns::Columns;

/// The memory of a result, to be filled through its [`output`](Self::output).
pub(crate) struct Buffer {
    /// Its length is 0, its capacity at least `count`.
    elements: Vec<f32>,
    count: usize,
    /// The number of elements that the outputs have filled since the last call of [`first`](Self::first).
    written: AtomicUsize,
}

impl Buffer {
    pub(crate) fn new(count: usize) -> Self {
        Self { elements: Vec::with_capacity(count), count, written: AtomicUsize::new(0) }
    }

    /// Returns all of it, to be filled.
    pub(crate) fn output(&mut self) -> Output<'_> {
        self.first(self.count)
    }

    /// Returns the first `count` elements, to be filled, and forgets all elements that were filled before.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub(crate) fn first(&mut self, count: usize) -> Output<'_> {
        *self.written.get_mut() = 0;
        let slots = &mut self.elements.spare_capacity_mut()[..self.count][..count];
        Output { slots, filled: 0, written: Some(&self.written) }
    }

    /// Returns the elements.
    ///
    /// # Panics
    ///
    /// When one has not been written, which is a defect of the operation.
    pub(crate) fn into_vec(self) -> Vec<f32> {
        let Self { mut elements, count, written } = self;
        assert_eq!(written.into_inner(), count, "an operation left elements of its result out");
        // SAFETY: 1. the capacity is at least `count`: `new` has reserved it; 2. all `count` elements are initialized: an
        // output counts an element when it has written it, no two outputs of one call of `first` share an element, an
        // output counts each of its elements once, and `written` is reset by each call of `first`.
        unsafe { elements.set_len(count) };
        elements
    }

    /// Makes a tensor of the elements on the CPU.
    ///
    /// # Errors
    ///
    /// candle's error when the shape has another number of elements.
    ///
    /// # Panics
    ///
    /// As [`into_vec`](Self::into_vec).
    pub(crate) fn into_tensor(self, shape: impl Into<Shape>) -> Result<Tensor, Error> {
        Tensor::from_vec(self.into_vec(), shape.into(), &Device::Cpu)
    }
}

/// A part of a result, which is filled from front to back. Nothing else refers to it.
pub(crate) struct Output<'a> {
    /// The first `filled` are initialized.
    slots: &'a mut [MaybeUninit<f32>],
    filled: usize,
    /// Counts the filled elements when it is dropped; `None` for memory that was initialized before.
    written: Option<&'a AtomicUsize>,
}

impl<'a> Output<'a> {
    /// Makes an output of memory that holds other values, which are overwritten.
    pub(crate) fn over(elements: &'a mut [f32]) -> Self {
        let (start, count) = (elements.as_mut_ptr().cast(), elements.len());
        // SAFETY: 1. `MaybeUninit<f32>` has the layout of `f32`; 2. the elements are borrowed mutably for 'a; 3. they stay
        // initialized: outputs write floats into their slots and nothing else, and whoever else gets a slot has promised the same (`append_slots`).
        let slots = unsafe { std::slice::from_raw_parts_mut(start, count) };
        Self { slots, filled: 0, written: None }
    }

    /// Returns the number of elements, filled or not.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Splits an output into parts of `size` elements, the last of which may have fewer, for any threads.
    pub(crate) fn par_chunks(
        mut self,
        size: usize,
    ) -> impl IndexedParallelIterator<Item = Output<'a>> {
        let (slots, written) = self.take();
        slots.par_chunks_mut(size).map(move |slots| Output { slots, filled: 0, written })
    }

    /// Splits an output into parts of `size` elements, the last of which may have fewer.
    pub(crate) fn chunks(mut self, size: usize) -> impl Iterator<Item = Output<'a>> {
        let (slots, written) = self.take();
        slots.chunks_mut(size).map(move |slots| Output { slots, filled: 0, written })
    }

    /// Fills the rest with zeros, and returns all elements.
    pub(crate) fn zeroed(mut self) -> &'a mut [f32] {
        self.slots[self.filled..].fill(MaybeUninit::new(0.0));
        self.filled = self.slots.len();
        self.into_filled()
    }

    /// Returns the elements that are filled.
    pub(crate) fn into_filled(mut self) -> &'a mut [f32] {
        // They are counted when `self` is dropped.
        let slots = &mut std::mem::take(&mut self.slots)[..self.filled];
        // SAFETY: the first `filled` slots are initialized, and were borrowed for 'a.
        unsafe { slots.assume_init_mut() }
    }

    /// Returns a pointer to the first element, for code that writes through pointers.
    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.slots.as_mut_ptr().cast()
    }

    /// Counts all elements as filled.
    ///
    /// # Safety
    ///
    /// Every element has been written through [`as_mut_ptr`](Self::as_mut_ptr), or is initialized anyhow.
    pub(super) unsafe fn assume_filled(&mut self) {
        self.filled = self.slots.len();
    }

    /// Takes the slots and the counter. Nothing is filled yet.
    fn take(&mut self) -> (&'a mut [MaybeUninit<f32>], Option<&'a AtomicUsize>) {
        assert_eq!(self.filled, 0, "an output is split before it is filled");
        (std::mem::take(&mut self.slots), self.written)
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if let Some(written) = self.written {
            // Whoever reads the sum has waited for the threads by other means.
            written.fetch_add(self.filled, Ordering::Relaxed);
        }
    }
}

/// The memory that an operation writes a gradient to.
pub(crate) enum Destination<'a> {
    /// Every element is to be written.
    Overwrite(Output<'a>),
    /// The gradient is to be added.
    Accumulate(&'a mut [f32]),
}

impl<'a> Destination<'a> {
    /// Returns the elements to add to: zeros where nothing was accumulated yet.
    pub(crate) fn into_sum(self) -> &'a mut [f32] {
        match self {
            Self::Overwrite(output) => output.zeroed(),
            Self::Accumulate(elements) => elements,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Overwrite(output) => output.len(),
            Self::Accumulate(elements) => elements.len(),
        }
    }
}

#[cfg(test)]
mod tests;
