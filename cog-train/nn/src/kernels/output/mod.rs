//! Memory for results. It is not initialized first: zeroing it would take a tenth of a training step.
//!
//! A [`Buffer`] owns the memory of one result. An [`Output`] is a part of it that one thread fills from front to back, as
//! one fills a `Vec`: it hands out nothing that has not been written. The outputs of a buffer count what they have filled,
//! and a buffer becomes a tensor when the count is complete. So no caller can read memory that is not initialized, and the
//! reasons for that are in this folder alone.
#![expect(unsafe_code, reason = "memory is handed out before it is initialized, and counted")]

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

    /// All of it, to be filled.
    pub(crate) fn output(&mut self) -> Output<'_> {
        self.first(self.count)
    }

    /// The first `count` elements, to be filled. What was there before is forgotten.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub(crate) fn first(&mut self, count: usize) -> Output<'_> {
        *self.written.get_mut() = 0;
        let slots = &mut self.elements.spare_capacity_mut()[..self.count][..count];
        Output { slots, filled: 0, written: Some(&self.written) }
    }

    /// The elements.
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

    /// A tensor of the elements on the CPU.
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
    /// The counter of filled elements, updated when it is dropped; `None` for memory that was initialized before.
    written: Option<&'a AtomicUsize>,
}

impl<'a> Output<'a> {
    /// Memory that holds other values, which are written over.
    pub(crate) fn over(elements: &'a mut [f32]) -> Self {
        let (start, count) = (elements.as_mut_ptr().cast(), elements.len());
        // SAFETY: 1. `MaybeUninit<f32>` has the layout of `f32`; 2. the elements are borrowed mutably for 'a; 3. they stay
        // initialized: outputs write floats into their slots and nothing else, and nobody outside of this folder sees a slot.
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

    /// Writes `f` of each element of `a` behind what is filled, and returns the values.
    ///
    /// A function that is passed by name is always inlined into the loop if it says so, as that is needed to vectorize it. A
    /// closure is if it is small.
    ///
    /// # Panics
    ///
    /// When there is no room.
    #[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
    #[inline(always)]
    pub(crate) fn append_map<A: Copy>(&mut self, a: &[A], f: impl Fn(A) -> f32) -> &mut [f32] {
        let slots = &mut self.slots[self.filled..][..a.len()];
        write_map(slots, a, f);
        self.filled += a.len();
        // SAFETY: `write_map` has written each of the slots.
        unsafe { slots.assume_init_mut() }
    }

    /// As [`append_map`](Self::append_map), for pairs of elements.
    ///
    /// # Panics
    ///
    /// When there is no room, or `b` is shorter than `a`.
    #[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
    #[inline(always)]
    pub(crate) fn append_map2<A: Copy, B: Copy>(
        &mut self,
        a: &[A],
        b: &[B],
        f: impl Fn(A, B) -> f32,
    ) -> &mut [f32] {
        let slots = &mut self.slots[self.filled..][..a.len()];
        write_map2(slots, a, &b[..a.len()], f);
        self.filled += a.len();
        // SAFETY: `write_map2` has written each of the slots.
        unsafe { slots.assume_init_mut() }
    }

    /// As [`append_map`](Self::append_map), for triples of elements.
    ///
    /// # Panics
    ///
    /// When there is no room, or `b` or `c` is shorter than `a`.
    #[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
    #[inline(always)]
    pub(crate) fn append_map3(
        &mut self,
        [a, b, c]: [&[f32]; 3],
        f: impl Fn(f32, f32, f32) -> f32,
    ) -> &mut [f32] {
        let slots = &mut self.slots[self.filled..][..a.len()];
        write_map3(slots, [a, &b[..a.len()], &c[..a.len()]], f);
        self.filled += a.len();
        // SAFETY: `write_map3` has written each of the slots.
        unsafe { slots.assume_init_mut() }
    }

    /// Writes two rows as long as `a` behind what is filled: `f` of triples of elements returns a value of each.
    ///
    /// # Panics
    ///
    /// When there is no room for both rows, or `b` or `c` is shorter than `a`.
    #[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
    #[inline(always)]
    pub(crate) fn append_rows(
        &mut self,
        [a, b, c]: [&[f32]; 3],
        f: impl Fn(f32, f32, f32) -> [f32; 2],
    ) {
        let half = a.len();
        let (low, high) = self.slots[self.filled..][..2 * half].split_at_mut(half);
        write_pairs(low, high, [a, &b[..half], &c[..half]], f);
        self.filled += 2 * half;
    }

    /// As [`append_rows`](Self::append_rows), with the second row behind what is filled in `other`.
    ///
    /// # Panics
    ///
    /// As [`append_rows`](Self::append_rows).
    #[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
    #[inline(always)]
    pub(crate) fn append_rows_to(
        &mut self,
        other: &mut Output<'_>,
        [a, b, c]: [&[f32]; 3],
        f: impl Fn(f32, f32, f32) -> [f32; 2],
    ) {
        let count = a.len();
        let slots = &mut self.slots[self.filled..][..count];
        let others = &mut other.slots[other.filled..][..count];
        write_pairs(slots, others, [a, &b[..count], &c[..count]], f);
        self.filled += count;
        other.filled += count;
    }

    /// The next `count` slots, which count as filled from here on.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    ///
    /// # Safety
    ///
    /// The caller writes a float to each of them, and nothing else, before it does anything else with the output.
    pub(crate) unsafe fn append_slots(&mut self, count: usize) -> &mut [MaybeUninit<f32>] {
        let slots = &mut self.slots[self.filled..][..count];
        self.filled += count;
        slots
    }

    /// Copies `from` behind what is filled, and returns the copy.
    ///
    /// # Panics
    ///
    /// When there is no room for it.
    #[inline]
    pub(crate) fn append_copy(&mut self, from: &[f32]) -> &mut [f32] {
        let copy = self.slots[self.filled..][..from.len()].write_copy_of_slice(from);
        self.filled += from.len();
        copy
    }

    /// Writes `count` zeros behind what is filled, and returns them.
    ///
    /// # Panics
    ///
    /// When there is no room for them.
    pub(crate) fn append_zeros(&mut self, count: usize) -> &mut [f32] {
        let slots = &mut self.slots[self.filled..][..count];
        slots.fill(MaybeUninit::new(0.0));
        self.filled += count;
        // SAFETY: each of the `count` slots is written.
        unsafe { slots.assume_init_mut() }
    }

    /// Fills the rest with zeros, and returns all elements.
    pub(crate) fn zeroed(mut self) -> &'a mut [f32] {
        self.slots[self.filled..].fill(MaybeUninit::new(0.0));
        self.filled = self.slots.len();
        self.into_filled()
    }

    /// The elements that are filled.
    pub(crate) fn into_filled(mut self) -> &'a mut [f32] {
        // They are counted when `self` is dropped.
        let slots = &mut std::mem::take(&mut self.slots)[..self.filled];
        // SAFETY: the first `filled` slots are initialized, and were borrowed for 'a.
        unsafe { slots.assume_init_mut() }
    }

    /// The first element, for code that writes through pointers.
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

    /// Returns the fields of a part of it. Nothing is filled yet.
    fn take(&mut self) -> (&'a mut [MaybeUninit<f32>], Option<&'a AtomicUsize>) {
        assert_eq!(self.filled, 0, "an output is split before it is filled");
        (std::mem::take(&mut self.slots), self.written)
    }
}

// The loops. Slices that are parameters are known not to overlap, and a loop without a counter is vectorized at full width.
// A zip of slices of one length reaches each element.

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn write_map<A: Copy>(slots: &mut [MaybeUninit<f32>], a: &[A], f: impl Fn(A) -> f32) {
    assert!(a.len() == slots.len());
    for (slot, a) in slots.iter_mut().zip(a) {
        slot.write(f(*a));
    }
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn write_map2<A: Copy, B: Copy>(
    slots: &mut [MaybeUninit<f32>],
    a: &[A],
    b: &[B],
    f: impl Fn(A, B) -> f32,
) {
    assert!(a.len() == slots.len() && b.len() == slots.len());
    for ((slot, a), b) in slots.iter_mut().zip(a).zip(b) {
        slot.write(f(*a, *b));
    }
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn write_map3(
    slots: &mut [MaybeUninit<f32>],
    [a, b, c]: [&[f32]; 3],
    f: impl Fn(f32, f32, f32) -> f32,
) {
    assert!([a, b, c].iter().all(|slice| slice.len() == slots.len()));
    for (((slot, a), b), c) in slots.iter_mut().zip(a).zip(b).zip(c) {
        slot.write(f(*a, *b, *c));
    }
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn write_pairs(
    low: &mut [MaybeUninit<f32>],
    high: &mut [MaybeUninit<f32>],
    [a, b, c]: [&[f32]; 3],
    f: impl Fn(f32, f32, f32) -> [f32; 2],
) {
    assert!(high.len() == low.len() && [a, b, c].iter().all(|slice| slice.len() == low.len()));
    for ((((low, high), a), b), c) in low.iter_mut().zip(high).zip(a).zip(b).zip(c) {
        let [of_low, of_high] = f(*a, *b, *c);
        low.write(of_low);
        high.write(of_high);
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

/// The destination of a gradient.
pub(crate) enum Destination<'a> {
    /// Every element is to be written.
    Overwrite(Output<'a>),
    /// The gradient is to be added.
    Accumulate(&'a mut [f32]),
}

impl<'a> Destination<'a> {
    /// The elements that something is added to: zeros where nothing was accumulated yet.
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
mod tests {
    use super::*;

    fn panics(work: impl FnOnce()) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err()
    }

    #[test]
    fn every_way_to_fill_leaves_its_values() {
        let ones = [1.0, 1.0];
        let mut buffer = Buffer::new(17);
        let mut output = buffer.output();
        assert_eq!(output.append_map(&[0.0, 1.0], |a| a + 1.0), [1.0, 2.0]);
        output.append_map2(&[2u8, 3], &[1.0, 1.0, 9.0], |a, b| f32::from(a) + b);
        output.append_map3([&[3.0, 4.0], &ones, &ones], |a, b, c| a + b + c);
        output.append_rows([&[7.0, 8.0], &ones, &ones], |a, b, c| [a, a + b + c]);
        output.append_copy(&[7.0, 7.0])[1] += 1.0;
        output.append_zeros(1)[0] = 5.0;
        assert_eq!(output.zeroed().len(), 17);
        let expected =
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 7.0, 8.0, 5.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(buffer.into_vec(), expected);
    }

    #[test]
    fn two_outputs_are_filled_in_one_loop() {
        let mut buffers = [2, 3].map(Buffer::new);
        let [mut one, mut other] = buffers.each_mut().map(Buffer::output);
        other.append_copy(&[9.0]);
        let inputs: [&[f32]; 3] = [&[1.0, 2.0], &[3.0, 4.0], &[5.0, 6.0]];
        one.append_rows_to(&mut other, inputs, |a, b, c| [a * b, c]);
        drop((one, other));
        assert_eq!(buffers.map(Buffer::into_vec), [vec![3.0, 8.0], vec![9.0, 5.0, 6.0]]);
    }

    #[test]
    fn parts_are_filled_by_any_thread() {
        let values: Vec<f32> = (0..1000u16).map(f32::from).collect();
        let mut buffer = Buffer::new(1000);
        let parts = buffer.output().par_chunks(64).zip(values.par_chunks(64));
        parts.for_each(|(output, values)| {
            for (mut output, values) in output.chunks(10).zip(values.chunks(10)) {
                output.append_copy(values);
            }
        });
        assert_eq!(buffer.into_vec(), values);
    }

    /// A result with an element that nobody wrote, written twice or not at all, is never handed out.
    #[test]
    fn an_element_that_was_left_out_panics() {
        for fill in [
            |_: Output<'_>| (),
            |mut output: Output<'_>| _ = output.append_zeros(3),
            |output: Output<'_>| {
                let mut parts = output.chunks(2);
                parts.next().unwrap().zeroed();
                drop(parts.next());
            },
        ] {
            let mut buffer = Buffer::new(4);
            fill(buffer.output());
            assert!(panics(|| drop(buffer.into_vec())));
        }
        let mut buffer = Buffer::new(4);
        for _ in 0..2 {
            buffer.first(2).zeroed();
        }
        assert!(panics(|| drop(buffer.into_vec())), "the same half twice is not the whole");
    }

    #[test]
    fn an_output_takes_no_more_values_than_it_has_elements_and_no_fewer_than_it_needs() {
        let (two, three): (&[f32], &[f32]) = (&[1.0; 2], &[1.0; 3]);
        let pair = |a: f32, _: f32, _: f32| [a; 2];
        let fails = |fill: &dyn Fn(Output<'_>)| panics(|| fill(Buffer::new(2).output()));
        assert!(fails(&|mut output| _ = output.append_map(three, |a| a)));
        assert!(fails(&|mut output| _ = output.append_map2(two, &two[..1], |a, _| a)));
        assert!(fails(&|mut output| _ = output.append_map3([two, two, &two[..1]], |a, _, _| a)));
        assert!(fails(&|mut output| output.append_rows([two; 3], pair)));
        assert!(fails(&|mut output| output.append_rows([&two[..1], &[], two], pair)));
        assert!(fails(&|mut output| output.append_rows_to(
            &mut Output::over(&mut [0.0]),
            [two; 3],
            pair
        )));
        assert!(fails(&|mut output| _ = output.append_copy(three)));
        assert!(fails(&|mut output| _ = output.append_zeros(3)));
    }

    #[test]
    fn memory_that_was_initialized_is_written_over() {
        let mut elements = [1.0, 2.0, 3.0];
        Output::over(&mut elements).append_copy(&[5.0, 6.0]);
        assert_eq!(elements.as_slice(), [5.0, 6.0, 3.0]);
        let sum = Destination::Overwrite(Output::over(&mut elements)).into_sum();
        sum[0] += 1.0;
        assert_eq!(Destination::Accumulate(&mut elements).into_sum(), [1.0, 0.0, 0.0]);
    }
}
