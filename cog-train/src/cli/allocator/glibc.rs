//! Large blocks in the heap of glibc.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::pages::{self, LARGE};

/// glibc's heap: one for all threads, in huge pages where the system has them. It keeps what is freed if mimalloc is to
/// ([`pages::are_kept`]); otherwise each block is a mapping of its own.
pub(super) struct Heap;

/// The least amount by which the heap grows.
const GROWTH: usize = 64 << 20;

static CONFIGURED: AtomicBool = AtomicBool::new(false);
/// The end of the heap when huge pages were last asked for.
static ADVISED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: these are the functions of glibc's `malloc.h`, `unistd.h` and `sys/mman.h`. `mallopt` stores a number under the heap's lock.
unsafe extern "C" {
    safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    fn sbrk(increment: isize) -> *mut c_void;
    fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
}

/// Sets the heap's parameters, before its first block. One that fails leaves the heap slower or larger, and right.
#[cold]
fn configure() {
    const TRIM_THRESHOLD: c_int = -1;
    const TOP_PAD: c_int = -2;
    const MMAP_THRESHOLD: c_int = -3;
    const MMAP_MAX: c_int = -4;
    const ARENA_MAX: c_int = -8;
    const NEVER: c_int = -1;
    let number = |size: usize| c_int::try_from(size).unwrap_or(c_int::MAX);
    if pages::are_kept() {
        mallopt(ARENA_MAX, 1);
        mallopt(MMAP_MAX, 0);
        mallopt(TRIM_THRESHOLD, NEVER);
        mallopt(TOP_PAD, number(GROWTH));
    } else {
        mallopt(MMAP_THRESHOLD, number(LARGE));
    }
    CONFIGURED.store(true, Ordering::Relaxed);
}

/// Asks for huge pages for what the heap has grown by, if the block is of that.
fn advised(block: *mut u8, size: usize) -> *mut u8 {
    const HUGE_PAGES: c_int = 14;
    const PAGE: usize = 2 << 20;
    let before = ADVISED.load(Ordering::Relaxed);
    if !block.is_null() && block.addr() + size > before {
        // SAFETY: 1. an increment of zero changes nothing.
        let end = unsafe { sbrk(0) };
        let start = block.addr().max(before) / PAGE * PAGE;
        // A mapping is not of the heap.
        if start < end.addr() && block.addr() + size <= end.addr() {
            ADVISED.store(end.addr(), Ordering::Relaxed);
            // SAFETY: 1. the advice changes no contents and no access; 2. the range ends with the heap and begins in it, or at most a huge
            // page before it. Where the system has no huge pages it fails, and nothing is lost.
            unsafe { madvise(end.with_addr(start), end.addr() - start, HUGE_PAGES) };
        }
    }
    block
}

// SAFETY: the blocks are the system allocator's, whose contract is the trait's.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !CONFIGURED.load(Ordering::Relaxed) {
            configure();
        }
        // SAFETY: the caller's promises.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !CONFIGURED.load(Ordering::Relaxed) {
            configure();
        }
        // SAFETY: the caller's promises.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises.
        advised(unsafe { System.realloc(block, layout, size) }, size)
    }
}
