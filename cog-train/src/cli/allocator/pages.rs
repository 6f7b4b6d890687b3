//! Whether freed memory stays with the process, and which blocks are large.

use std::ffi::{c_int, c_long};

/// The least size of a block of the heap. Smaller ones are mimalloc's, which has a cache for each thread.
pub(super) const LARGE: usize = 256 << 10;

/// `mi_option_purge_delay` of mimalloc's header.
const PURGE_DELAY: c_int = 15;
const NEVER: c_long = -1;

/// Keeps freed pages with the process: each step allocates what the step before it has freed, and the system would zero
/// returned pages anew. `MIMALLOC_PURGE_DELAY`, in milliseconds, overrides it. To be called before there are threads: each of them
/// would have a heap of its own.
pub(in crate::cli) fn keep_pages() {
    // SAFETY: the call stores one number atomically, and the allocator reads it atomically, whether or not it is in use.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, NEVER) }
    // The heap reads it with its first block.
    std::hint::black_box(Vec::<u8>::with_capacity(LARGE));
}

/// Whether freed pages stay with the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn are_kept() -> bool {
    // SAFETY: the call reads one number atomically.
    unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) == NEVER }
}
