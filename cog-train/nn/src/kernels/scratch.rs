//! Memory for what a thread computes and needs no more afterwards. It stays with the thread: fresh pages would cost more
//! than the work of a small operation.

use std::cell::RefCell;

use super::simd::LINE;

thread_local! {
    /// One for each depth of nested uses, the outermost last.
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with slices of these lengths, whose numbers are anything. The first begins with a cache line, and so do
/// the others if the lengths are multiples of 16: a register that is loaded across two lines costs twice.
pub(crate) fn scratch<const N: usize, R>(
    lengths: [usize; N],
    work: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    // Taken and not borrowed: while it waits for others the thread may begin another piece of work.
    let mut kept = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    let length = lengths.iter().sum::<usize>() + LINE;
    if kept.len() < length {
        kept = vec![0.0; length];
    }
    let skipped = kept.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let mut rest = &mut kept[skipped..];
    let slices = lengths.map(|length| {
        let (slice, after) = std::mem::take(&mut rest).split_at_mut(length);
        rest = after;
        slice
    });
    let result = work(slices);
    KEPT.with_borrow_mut(|others| others.push(kept));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_apart_and_uses_may_be_nested() {
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
