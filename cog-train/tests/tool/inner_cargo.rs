//! Cargo, called by a test that cargo runs.

use std::process::Command;

/// Returns cargo without the variables that it has set for this test: build scripts would take themselves for changed by them.
pub(crate) fn inner_cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        let of_package = bytes.starts_with(b"CARGO_PKG_") || bytes.starts_with(b"CARGO_MANIFEST_");
        if of_package || bytes == b"OUT_DIR" {
            cargo.env_remove(name);
        }
    }
    cargo
}
