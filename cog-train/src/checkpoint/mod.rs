//! Checkpoints: written whole or not there.
//!
//! A checkpoint is a folder `step-000120/` of safetensors files and a `manifest.json`, which is written last and holds
//! the state, and the size and digest of every file. It is staged as `.step-000120.partial/`, brought to the disk, read
//! back, and renamed; then the folder around it is brought to the disk. So whatever stops the program or the machine, a
//! name without a dot stands for a checkpoint that was whole.
//!
//! | name | is |
//! |---|---|
//! | `step-000120` | a checkpoint |
//! | `.step-000120.partial` | one that is being written |
//! | `.step-000120.old` | one whose place a new one of the same step is taking |
//! | `.step-000120.deleted` | one that is being deleted |
//!
//! The hidden ones are left behind only by a process that was stopped; [`Checkpoints::open`] settles them.

mod disk;
mod host;
mod keep;
mod load;
mod manifest;
mod pace;
mod reserve;
mod save;
#[cfg(test)]
mod tests;
mod writer;

pub use keep::Keep;
pub use load::{Checkpoint, Found, newest};
pub use save::{Checkpoints, Snapshot};

/// The name of a step's checkpoint.
pub(super) fn folder(step: u64) -> String {
    Kind::Whole.name(step)
}

/// What a folder among checkpoints is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Deleted,
    Partial,
    Old,
    Whole,
}

impl Kind {
    /// The name of the folder of a step.
    fn name(self, step: u64) -> String {
        match self {
            Self::Whole => format!("step-{step:06}"),
            Self::Partial => format!(".step-{step:06}.partial"),
            Self::Old => format!(".step-{step:06}.old"),
            Self::Deleted => format!(".step-{step:06}.deleted"),
        }
    }

    /// The step and the kind of a folder; `None` for what is none of ours.
    fn of(name: &str) -> Option<(u64, Self)> {
        let digits = name.trim_start_matches('.').strip_prefix("step-")?;
        let step = digits.split('.').next()?.parse().ok()?;
        let kinds = [Self::Whole, Self::Partial, Self::Old, Self::Deleted];
        kinds.into_iter().find(|kind| kind.name(step) == name).map(|kind| (step, kind))
    }
}
