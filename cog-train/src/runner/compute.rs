//! What a process is told before it computes.
#![expect(
    unsafe_code,
    reason = "a variable of one's own process; the allocator's settings, behind a C interface"
)]

use std::ffi::c_int;

use crate::device::processors;

/// Says how many threads compute, makes the calling one of them, and has memory stay with the process. Once is enough.
///
/// Must be called before any thread starts.
pub fn prepare() {
    count_threads();
    join_pool();
    keep_pages();
}

/// Candle asks for the number of threads at every product. Unless this variable tells, it counts the processors each time
/// by what the system says of them, which takes longer than a small product.
fn count_threads() {
    const NAME: &str = "RAYON_NUM_THREADS";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: the process has one thread yet, so no other thread reads the environment meanwhile.
        unsafe { std::env::set_var(NAME, processors().to_string()) };
    }
}

/// A thread that is not in a pool sleeps while the pool works for it, and is woken afterwards: a few thousand times in a
/// step. This pool is for what the calling thread asks for. Others have rayon's own, so that they get all processors
/// while this thread waits for them, and so that neither can wait for the other in a circle.
fn join_pool() {
    // It fails in a thread that is in a pool already.
    if let Ok(pool) = rayon::ThreadPoolBuilder::new().use_current_thread().build() {
        std::mem::forget(pool);
    }
}

/// A step allocates what the step before it has freed. Pages that were given back in between would be cleared again by
/// the system. `MIMALLOC_PURGE_DELAY`, in milliseconds, says otherwise.
fn keep_pages() {
    /// `mi_option_purge_delay` of mimalloc's header.
    const PURGE_DELAY: c_int = 15;
    const NEVER: std::ffi::c_long = -1;
    // SAFETY: it sets a number that the allocator reads atomically, whether or not it is the one in use.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, NEVER) }
}
