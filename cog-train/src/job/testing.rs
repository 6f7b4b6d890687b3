//! Jobs for a trainer's own tests.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;

use super::{CHECKPOINTS, Job, Mode, Start, TargetDirs};
use crate::input::Mask;
use crate::parallel::{Communicator, Single};
use crate::progress::{CancelToken, Silent};

impl Job {
    /// A job on the CPU with seed 0 whose run folder is `dir`, made if it is not there: for a trainer's own tests.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[must_use]
    pub fn for_test(dir: impl AsRef<Path>) -> Self {
        Self::in_test(dir.as_ref(), Mode::default())
    }

    /// The same folder opened again, as by `--resume`, when it has `checkpoints`: for a trainer's own tests of its resume.
    ///
    /// ```
    /// use cog_train::{Job, prelude::*};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let job = Job::for_test(dir.path());
    /// std::fs::create_dir(job.dir().join("checkpoints"))?;
    /// drop(job); // as if it had been killed
    /// let job = Job::for_test_resumed(dir.path());
    /// assert_eq!(job.resume_from(), Some(dir.path().join("checkpoints").as_path()));
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[must_use]
    pub fn for_test_resumed(dir: impl AsRef<Path>) -> Self {
        let dir = dir.as_ref();
        Self::in_test(dir, Mode { resume: Some(dir.join(CHECKPOINTS)), ..Mode::default() })
    }

    /// The same as by `--resume=force`.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[doc(hidden)]
    #[must_use]
    pub fn for_test_forced(dir: impl AsRef<Path>) -> Self {
        let dir = dir.as_ref();
        Self::in_test(
            dir,
            Mode { resume: Some(dir.join(CHECKPOINTS)), forced: true, ..Mode::default() },
        )
    }

    /// A job of a dry run, which reports to `log.txt`, for a run that would write into `dir` and its output into `output`.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[doc(hidden)]
    #[must_use]
    pub fn for_test_planned(dir: impl AsRef<Path>, output: impl AsRef<Path>) -> Self {
        let (run, output) = (dir.as_ref().to_owned(), output.as_ref().to_owned());
        Self::in_test(
            dir.as_ref(),
            Mode { dry_run: Some(TargetDirs { run, output }), ..Mode::default() },
        )
    }

    /// The same job on one rank of a training.
    #[doc(hidden)]
    #[must_use]
    pub fn on_rank(self, communicator: Arc<dyn Communicator>) -> Self {
        Self { communicator, ..self }
    }

    fn in_test(dir: &Path, mode: Mode) -> Self {
        std::fs::create_dir_all(dir).expect("the test's run folder can be made");
        Self::start(Start {
            id: "test".to_owned(),
            dir: dir.to_owned(),
            device: Device::Cpu,
            communicator: Arc::new(Single),
            seed: 0,
            cancel: CancelToken::new(),
            save: Arc::default(),
            report: Box::new(Silent),
            mask: Mask::default(),
            keep_files: true,
            mode,
        })
        .expect("the test's run folder can be written")
    }
}
