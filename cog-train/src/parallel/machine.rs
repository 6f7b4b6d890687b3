//! The machine of this process.

use std::fs;

/// Returns the machine's name, with nothing in it that does not belong in a file's name.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    let name: String =
        name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Returns a text that is another one on each machine, and in each container with a network of its own.
#[cfg(feature = "mpi")]
pub(super) fn identity() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{} {}", host(), boot.trim())
}
