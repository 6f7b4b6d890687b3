//! What a process is told before it computes.
#![expect(unsafe_code, reason = "the allocator's settings are behind a C interface")]

use std::ffi::c_int;

/// Makes the calling thread one of those that compute, and has memory stay with the process. Once is enough.
pub fn prepare() {
    join_pool();
    keep_pages();
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
