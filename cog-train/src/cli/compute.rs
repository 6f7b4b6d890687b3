//! Settings of a process before it computes: threads and the allocator.
#![expect(unsafe_code, reason = "a variable of one's own process")]

use super::allocator::pages::keep_pages;
use crate::device::processors;

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
