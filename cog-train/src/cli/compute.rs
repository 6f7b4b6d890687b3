//! Settings of a process before it computes: threads and the allocator.
#![expect(
    unsafe_code,
    reason = "a variable of one's own process; the allocator's settings, behind a C interface"
)]

use std::ffi::{c_int, c_long};

use super::allocator::LARGE;
use crate::device::processors;

/// `mi_option_purge_delay` of mimalloc's header.
const PURGE_DELAY: c_int = 15;
const NEVER: c_long = -1;

/// Sets the number of threads, adds the calling thread to their pool, and keeps freed memory with the process. Once is
/// enough.
///
/// # Safety
///
/// 1. No other thread of the process runs during the call: it sets a variable of the environment.
pub unsafe fn prepare() {
    // SAFETY: (1) is the caller's promise.
    unsafe { set_thread_count() };
    keep_pages();
    join_pool();
}

/// Sets `RAYON_NUM_THREADS` where it is not set. Candle reads it at every product; without it, it counts the processors
/// each time, which takes longer than a small product.
///
/// # Safety
///
/// 1. No other thread of the process runs during the call.
unsafe fn set_thread_count() {
    const NAME: &str = "RAYON_NUM_THREADS";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: by (1) no other thread reads or writes the environment during the call.
        unsafe { std::env::set_var(NAME, processors().to_string()) };
    }
}

/// Makes the calling thread a worker of a pool of its own. Outside of a pool it would sleep and be woken at each parallel
/// call, a few thousand times in a step. Other threads use rayon's global pool: they get all processors while this thread
/// waits for them, and the two cannot deadlock.
fn join_pool() {
    // It fails in a thread that is in a pool already.
    if let Ok(pool) = rayon::ThreadPoolBuilder::new().use_current_thread().build() {
        std::mem::forget(pool);
    }
}

/// Keeps freed pages with the process: each step allocates what the step before it has freed, and the system would zero
/// returned pages anew. `MIMALLOC_PURGE_DELAY`, in milliseconds, overrides it.
fn keep_pages() {
    // SAFETY: the call stores one number atomically, and the allocator reads it atomically, whether or not it is in use.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, NEVER) }
    // The heap reads it with its first block, which is to be before there are threads: each would have a heap of its own.
    std::hint::black_box(Vec::<u8>::with_capacity(LARGE));
}

/// Whether freed pages stay with the process.
#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu")),
    expect(dead_code, reason = "for glibc's heap")
)]
pub(super) fn keeps_pages() -> bool {
    // SAFETY: the call reads one number atomically.
    unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) == NEVER }
}
