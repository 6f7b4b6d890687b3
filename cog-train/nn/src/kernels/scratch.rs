//! Scratch memory of a thread. The thread keeps it: fresh pages would cost more
//! than the work of a small operation.

use std::cell::RefCell;

use super::simd::LINE;

thread_local! {
    /// One for each depth of nested uses, the outermost last.
    static CACHE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
thread_local! {
    /// The largest sum of lengths that this thread asked for.
    pub(crate) static LARGEST: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Calls `work` with slices of these lengths, which have arbitrary values. The first is aligned to a cache line, and so are
/// the others if the lengths are multiples of 16: a register that is loaded across two lines costs twice.
pub(crate) fn scratch<const N: usize, R>(
    lengths: [usize; N],
    work: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    // Taken and not borrowed: while it waits for others the thread may begin another piece of work.
    let mut memory = CACHE.with_borrow_mut(Vec::pop).unwrap_or_default();
    let length = lengths.iter().sum::<usize>() + LINE;
    #[cfg(test)]
    LARGEST.set(LARGEST.get().max(length));
    if memory.len() < length {
        memory = vec![0.0; length];
    }
    let skipped = memory.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let mut rest = &mut memory[skipped..];
    let slices = lengths.map(|length| {
        let (slice, after) = std::mem::take(&mut rest).split_at_mut(length);
        rest = after;
        slice
    });
    let result = work(slices);
    CACHE.with_borrow_mut(|others| others.push(memory));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_disjoint_and_calls_nest() {
        let sum = scratch([3, 0, 2], |[one, none, two]| {
            one.fill(1.0);
            two.fill(2.0);
            scratch([4], |[inner]| inner.fill(9.0));
            assert!(none.is_empty());
            one.iter().sum::<f32>() + two.iter().sum::<f32>()
        });
        assert_eq!(sum.to_bits(), 7f32.to_bits());
        scratch([1000], |[large]| {
            assert_eq!(large.len(), 1000);
            assert!(large.as_ptr().addr().is_multiple_of(64));
        });
    }
}
