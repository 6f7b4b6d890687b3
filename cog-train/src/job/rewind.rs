//! The lengths of a run's files at a checkpoint, and the way back to them.

use super::files::Files;
use super::{Job, Marks};
use crate::error::Error;

impl Job {
    /// Returns the lengths of `log.txt`, `metrics.jsonl`, `samples.jsonl` and the event file, and the digests of all but the last. The files are
    /// on the disk when this returns. A loop of one's own stores them in its checkpoint; [`Job::rewind`] takes them.
    ///
    /// ```
    /// use cog_train::{Job, Marks, prelude::*};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let mut job = Job::for_test(dir.path());
    /// job.metric("loss", 1, 0.5);
    /// let saved = cog_train::serde_json::to_string(&job.mark()?)?; // a checkpoint of step 1
    /// job.metric("loss", 2, 0.25);
    /// drop(job); // killed after step 2
    ///
    /// let mut job = Job::for_test_resumed(dir.path());
    /// let marks: Marks = cog_train::serde_json::from_str(&saved)?;
    /// job.rewind(&marks)?;
    /// job.metric("loss", 2, 0.25); // step 2 once more
    /// let metrics = std::fs::read_to_string(dir.path().join("metrics.jsonl"))?;
    /// assert_eq!(metrics.lines().count(), 2);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::File`] when a file cannot be read or written.
    pub fn mark(&self) -> Result<Marks, Error> {
        let marks = self.marks()?;
        self.sync()?()?;
        Ok(marks)
    }

    /// Returns the lengths of the run's files, to which a resumed run truncates them, and their digests.
    pub(crate) fn marks(&self) -> Result<Marks, Error> {
        self.files.as_ref().map_or_else(|| Ok(Marks::default()), Files::marks)
    }

    /// Returns the work that makes the run's files durable up to here, for any thread.
    pub(crate) fn sync(&self) -> Result<impl FnOnce() -> Result<(), Error> + Send + use<>, Error> {
        let sync = self.files.as_ref().map(Files::sync).transpose()?;
        Ok(move || sync.map_or(Ok(()), |sync| sync()))
    }

    /// Removes what earlier processes wrote into the run's files: the run starts over.
    pub(crate) fn forget_earlier(&mut self) -> Result<(), Error> {
        self.files.as_mut().map_or(Ok(()), Files::forget_earlier)
    }

    /// Truncates the run's files to the lengths that they had at a checkpoint. `Marks::default()` is the start of the run.
    ///
    /// # Errors
    ///
    /// [`Error::Resume`] when a file is shorter than it was then, or other content is in it, and `--resume=force` was not
    /// given: nothing is truncated.
    pub fn rewind(&mut self, marks: &Marks) -> Result<(), Error> {
        let force = self.mode.forced;
        self.files.as_mut().map_or(Ok(()), |files| files.rewind(marks, force))
    }
}
