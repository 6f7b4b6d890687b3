//! One training or prediction as its caller requests it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::active::ActiveRun;
use super::given::Given;
use super::publisher::Publisher;
use super::role::Role;
use crate::parallel::{Ranks, Reduce};
use crate::progress::CancelToken;

/// A training or prediction.
pub(crate) struct Request<'a> {
    pub(crate) role: &'a Role,
    /// The inputs, not yet checked. Without any, a finished run is published again and its inputs are not compared.
    pub(crate) inputs: Option<Given>,
    /// The seed of a run that has no input of that name.
    pub(crate) seed: Option<u64>,
    /// The run's folder; a new one in `runs/` without it.
    pub(crate) run_dir: Option<&'a Path>,
    pub(crate) resume: Option<Resume>,
    /// The destination of the output; without it the caller keeps the output.
    pub(crate) destination: Option<&'a dyn Publisher>,
    pub(crate) files: FileRules,
}

impl Request<'_> {
    /// Whether changed inputs of a resumed run are accepted.
    pub(crate) fn is_forced(&self) -> bool {
        self.resume == Some(Resume::Force)
    }
}

/// The rules for files that the inputs name.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileRules {
    /// Whether hosts in private networks are refused.
    pub(crate) public_only: bool,
    /// The most bytes that all of them may have together.
    pub(crate) most_bytes: Option<u64>,
    /// The most time that all of them may take together.
    pub(crate) most_time: Option<Duration>,
}

/// The way to resume an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Changed inputs are refused.
    Same,
    /// Changed inputs are accepted.
    Force,
}

/// The handles by which other threads reach a run.
#[derive(Clone, Default)]
pub(crate) struct Control {
    pub(crate) cancel: CancelToken,
    /// Requests a checkpoint.
    pub(crate) save: Arc<AtomicBool>,
    pub(crate) active: ActiveRun,
    /// The processes that train together.
    pub(crate) ranks: Ranks,
    /// `--reduce`.
    pub(crate) reduce: Option<Reduce>,
}
