//! Requests to a run: to stop, to save, to resume from a checkpoint, to report a dry run.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::{Job, TargetDirs};
use crate::error::Error;
use crate::progress::CancelToken;

impl Job {
    /// Whether the run is cancelled: by Ctrl-C, SIGTERM or SIGHUP, or by whoever holds its token.
    ///
    /// A loop of one's own checks it between steps. It saves what a later [`Job::resume_from`] is to find, and then ends by
    /// [`Job::check_cancelled`]; a second Ctrl-C does not wait for it.
    ///
    /// ```
    /// # use cog_train::{Job, prelude::*};
    /// # let dir = tempfile::tempdir()?;
    /// # let mut job = Job::for_test(dir.path());
    /// # job.cancel_token().cancel();
    /// # fn save(step: u64, dir: &std::path::Path) -> Result<()> { Ok(std::fs::write(dir.join("saved"), step.to_string())?) }
    /// # let mut train = || -> Result<()> {
    /// for step in 1..=100 {
    ///     // ... one step ...
    ///     if job.cancelled() || job.save_requested() {
    ///         save(step, job.dir())?;
    ///     }
    ///     job.check_cancelled()?;
    /// }
    /// # Ok(())
    /// # };
    /// # assert_eq!(train().unwrap_err().to_string(), "cancelled");
    /// # assert_eq!(std::fs::read_to_string(dir.path().join("saved"))?, "1");
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Fails when the run is cancelled: `job.check_cancelled()?` ends a loop of one's own.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn check_cancelled(&self) -> Result<(), Error> {
        self.cancel.check()
    }

    /// Returns the flag behind [`Job::cancelled`], for threads.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Whether a checkpoint was requested since the last call, by SIGUSR1 or over HTTP. Reading clears the request.
    ///
    /// A loop of one's own checks it between steps and saves; see the example of [`Job::cancelled`].
    #[must_use]
    pub fn save_requested(&self) -> bool {
        self.save.swap(false, Ordering::SeqCst)
    }

    /// Returns the run's `checkpoints` folder, when `--resume` found a run that has one.
    ///
    /// A loop of one's own writes what it needs to continue to `job.dir().join("checkpoints")`, and calls this before its
    /// first step. A checkpoint should appear whole: written under another name, then renamed;
    /// [`Checkpoints`](crate::checkpoint::Checkpoints) does it. It holds [`Job::mark`], so that [`Job::rewind`] truncates what
    /// the steps after it wrote into `metrics.jsonl`. A trainer that does not call it gets a warning: it started over.
    ///
    /// ```
    /// # use cog_train::{Job, prelude::*};
    /// use std::fs;
    ///
    /// fn count(job: &mut Job, steps: u64) -> Result<u64> {
    ///     let (mut step, mut sum) = (0, 0);
    ///     if let Some(checkpoints) = job.resume_from() {
    ///         let text = fs::read_to_string(checkpoints.join("state.json"))?;
    ///         (step, sum) = cog_train::serde_json::from_str(&text)?;
    ///     }
    ///     let checkpoints = job.dir().join("checkpoints");
    ///     while step < steps {
    ///         step += 1;
    ///         sum += step;
    ///         if job.cancelled() || step % 10 == 0 {
    ///             fs::create_dir_all(&checkpoints)?;
    ///             fs::write(checkpoints.join("state.new"), format!("[{step}, {sum}]"))?;
    ///             fs::rename(checkpoints.join("state.new"), checkpoints.join("state.json"))?;
    ///         }
    ///         job.check_cancelled()?;
    ///     }
    ///     Ok(sum)
    /// }
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut job = Job::for_test(dir.path());
    /// job.cancel_token().cancel();
    /// assert!(count(&mut job, 15).is_err());
    /// let mut job = Job::for_test_resumed(dir.path());
    /// assert_eq!(count(&mut job, 15)?, 120);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    #[must_use]
    pub fn resume_from(&self) -> Option<&Path> {
        self.resume_read.set(true);
        self.mode.resume.as_deref()
    }

    /// Whether a config that differs from the checkpoint's is accepted: `--resume=force`.
    pub(crate) fn resume_forced(&self) -> bool {
        self.mode.forced
    }

    /// Whether this is a dry run: nothing is trained.
    ///
    /// [`fit`](crate::engine::fit()) returns at once with untrained weights. The code after it runs too, and its output and its
    /// errors are dropped: guard what is costly or reaches outside of [`Job::dir`], such as an upload.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.mode.dry_run.is_some()
    }

    /// Returns the folders that the run would write to, in a dry run.
    pub(crate) fn target_dirs(&self) -> Option<&TargetDirs> {
        self.mode.dry_run.as_ref()
    }

    /// Whether anybody has called [`Job::resume_from`].
    pub(crate) fn was_resume_read(&self) -> bool {
        self.resume_read.get()
    }

    /// Whether a number or progress was reported.
    pub(crate) fn has_stepped(&self) -> bool {
        self.has_stepped
    }
}
