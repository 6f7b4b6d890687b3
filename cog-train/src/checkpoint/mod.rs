//! Checkpoints that are written atomically: a checkpoint is either complete or absent.
//!
//! A checkpoint is a folder `step-000120` of safetensors files and a `manifest.json`, which is written last and holds the
//! state and the size and digest of every file. It is staged as `.step-000120.partial/`, synced and renamed; then the
//! folder around it is synced. A crash or a loss of power at any point therefore leaves complete checkpoints under the
//! names without a dot.
//!
//! | name | holds |
//! |---|---|
//! | `step-000120` | a checkpoint |
//! | `.step-000120.partial` | one that is being written |
//! | `.step-000120.old` | one that a new one of the same step is replacing |
//! | `.step-000120.deleted` | one that is being deleted |
//!
//! Only a process that was killed leaves hidden folders behind; [`Checkpoints::open`] cleans them up.

mod blocks;
mod disk;
mod folder;
mod keep;
mod load;
mod manifest;
mod save;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use folder::folder;
pub use keep::Keep;
pub use load::{Checkpoint, Found, newest};
pub use save::Checkpoints;
pub(crate) use snapshot::Header;
pub use snapshot::Snapshot;
