//! Any bytes on a connection of the server: no panic, no answer of a broken server, and nothing is written.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    cog_train::__private::check_connection(bytes);
    assert!(!std::path::Path::new("runs").exists());
});
