//! The allocator of a training's process: mimalloc for small blocks, the heap of the C library for tensors.
//!
//! A step holds a few hundred tensors of some ten sizes, and the gradients of its backward pass go where its activations were.
//! mimalloc takes the first run of its slices that has room, which leaves holes between sizes: a tenth of a process that trains
//! all of a model. The heap of glibc takes the best fit and joins free neighbours. Without glibc all blocks are mimalloc's.
#![expect(unsafe_code, reason = "an allocator hands out memory by address")]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc;
pub(super) mod pages;

use std::alloc::{GlobalAlloc, Layout};

use mimalloc::MiMalloc;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use self::glibc::Heap;
use self::pages::LARGE;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
use mimalloc::MiMalloc as Heap;

/// The allocator that `run!` installs.
#[derive(Debug, Clone, Copy)]
pub struct Allocator;

fn is_small(size: usize) -> bool {
    size < LARGE
}

// SAFETY: 1. the size of a block's layout selects its allocator, which therefore frees what it has allocated; 2. each allocator keeps the
// trait's promises for its blocks; 3. nothing here panics.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_small(layout.size()) {
            // SAFETY: the caller's promises are the allocator's.
            unsafe { MiMalloc.alloc(layout) }
        } else {
            // SAFETY: as above.
            unsafe { Heap.alloc(layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_small(layout.size()) {
            // SAFETY: the caller's promises are the allocator's.
            unsafe { MiMalloc.alloc_zeroed(layout) }
        } else {
            // SAFETY: as above.
            unsafe { Heap.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_small(layout.size()) {
            // SAFETY: the caller's promises are the allocator's, which has allocated the block by 1.
            unsafe { MiMalloc.dealloc(block, layout) }
        } else {
            // SAFETY: as above.
            unsafe { Heap.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are the allocator's, which has allocated the block by 1. From one to the other: the caller has seen
        // to it that the new size fits with the alignment; both blocks have the lesser of the two sizes and do not overlap; the old one is
        // freed when it has been copied.
        unsafe {
            match (is_small(layout.size()), is_small(size)) {
                (true, true) => MiMalloc.realloc(block, layout, size),
                (false, false) => Heap.realloc(block, layout, size),
                _ => {
                    let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !new.is_null() {
                        new.copy_from_nonoverlapping(block, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    new
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes on both sides of the border, each after each.
    #[test]
    fn a_block_keeps_its_bytes_at_any_new_size() {
        let byte = |at: usize| u8::try_from(at % 251).unwrap();
        let sizes = [1, 1000, LARGE - 1, LARGE, 3 * LARGE];
        for (from, to) in sizes.into_iter().flat_map(|from| sizes.map(|to| (from, to))) {
            for align in [1, 64, 4096] {
                let [before, after] =
                    [from, to].map(|size| Layout::from_size_align(size, align).unwrap());
                // SAFETY: the sizes are above zero; a block is read where it was written, and freed once, by its layout.
                unsafe {
                    let block = Allocator.alloc(before);
                    (0..from).for_each(|at| block.add(at).write(byte(at)));
                    let block = Allocator.realloc(block, before, to);
                    assert!(block.addr().is_multiple_of(align), "{from}, {to}");
                    let kept = (0..from.min(to)).all(|at| block.add(at).read() == byte(at));
                    assert!(kept, "{from}, {to}");
                    Allocator.dealloc(block, after);
                }
            }
        }
    }

    #[test]
    fn zeroed_blocks_are_zero_where_others_were() {
        for size in [1000, LARGE, 5 * LARGE] {
            let layout = Layout::from_size_align(size, 16).unwrap();
            for _ in 0..4 {
                // SAFETY: as above.
                unsafe {
                    let block = Allocator.alloc_zeroed(layout);
                    assert!((0..size).all(|at| block.add(at).read() == 0), "{size}");
                    block.write_bytes(1, size);
                    Allocator.dealloc(block, layout);
                }
            }
        }
    }
}
