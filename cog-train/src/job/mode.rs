//! The mode of a run: straight, resumed, or dry.

use std::path::PathBuf;

use crate::parallel::Reduce;

/// The mode of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mode {
    /// The `checkpoints` folder of the resumed run, if there is one.
    pub(crate) resume: Option<PathBuf>,
    /// `--resume=force`: a config that differs from the checkpoint's is accepted.
    pub(crate) forced: bool,
    /// `--dry-run`: report the training without running it.
    pub(crate) dry_run: Option<TargetDirs>,
    /// `--reduce`, which precedes the trainer's config.
    pub(crate) reduce: Option<Reduce>,
}

/// The existing folders on whose disks a dry run would write.
#[derive(Debug, Clone)]
pub(crate) struct TargetDirs {
    /// On the disk of the run's folder.
    pub(crate) run: PathBuf,
    /// On the disk of the output.
    pub(crate) output: PathBuf,
}

/// The progress of a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DryRun {
    /// Nothing is known of the training yet.
    Started,
    /// `fit` has reported it. The author's code runs to its end, and nothing that it does counts.
    Reported,
    /// A loop of the author's own reported this step and was cancelled.
    OwnLoop { step: u64 },
}

/// The payload that ends a loop of the author's own which ignores its cancellation in a dry run. It is thrown without a
/// panic's message.
pub(crate) struct DryRunEnded;
