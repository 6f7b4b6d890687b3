//! The ways to fill an output. Each writes all elements that it counts as filled, or panics.

use std::mem::MaybeUninit;

use super::Output;

impl Output<'_> {
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

    /// Returns the next `count` slots, which count as filled from here on.
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
