//! The disk space that a run will take, and whether it is free.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::checkpoint::Keep;
use crate::disk;
use crate::error::Error;
use crate::job::{Job, TargetDirs};
use crate::message::human;

/// The size of a run on disk, in bytes.
pub(super) struct Room {
    /// One checkpoint.
    pub(super) checkpoint: u64,
    /// The number of them that stay.
    pub(super) keep: Keep,
    /// The weights, as the author may write them at the end: all of them, in 32 bits.
    pub(super) weights: u64,
}

impl Room {
    /// Reports what is needed and what is free.
    ///
    /// # Errors
    ///
    /// [`Error::DiskSpace`] when there is too little; [`Error::File`] when the disk does not say.
    pub(super) fn report(&self, job: &mut Job) -> Result<(), Error> {
        let Some(TargetDirs { run, output }) = job.target_dirs().cloned() else { return Ok(()) };
        let there = job.resume_from().map_or(0, checkpoints_in);
        let checkpoints = self.checkpoint.saturating_mul(self.more(there));
        let needed = checkpoints.saturating_add(self.weights);
        let (free, free_there) = (free(&run)?, free(&output)?);
        let together = device(&run)? == device(&output)?;
        // The output is a copy of what lies in the run's folder.
        let (here, more) =
            if together { (needed.saturating_add(self.weights), "") } else { (needed, " there") };
        enough(here, free, &run, "keep fewer checkpoints, or put `--run-dir` on another disk")?;
        if !together {
            enough(self.weights, free_there, &output, "name a path on another disk with `-o`")?;
        }
        let beside = if together {
            String::new()
        } else {
            format!(", and {} where the output goes", human(free_there))
        };
        job.line(format_args!(
            "disk: {} for a checkpoint, {} for all of them, up to {} for the weights at the end and as much for the output; \
             {} are free{more}{beside}",
            human(self.checkpoint),
            human(checkpoints),
            human(self.weights),
            human(free),
        ));
        Ok(())
    }

    /// The checkpoints that are still to be written beside those that are there: a new one is whole before an old one
    /// goes.
    fn more(&self, there: u64) -> u64 {
        let stay = (self.keep.last.max(1) as u64).saturating_add(self.keep.best.into());
        stay.saturating_sub(there).saturating_add(1)
    }
}

fn enough(needed: u64, free: u64, path: &Path, hint: &str) -> Result<(), Error> {
    disk::check_room("the run", needed, &path.display().to_string(), free, hint)
}

/// Counts the checkpoints of a folder.
fn checkpoints_in(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    names.filter(|name| name.to_string_lossy().starts_with("step-")).count() as u64
}

fn free(path: &Path) -> Result<u64, Error> {
    disk::free(path).map_err(Error::file("look at the disk of", path))
}

fn device(path: &Path) -> Result<u64, Error> {
    path.metadata().map(|data| data.dev()).map_err(Error::file("look at", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_checkpoint_is_whole_before_an_old_one_goes() {
        let more = |last, best, there| {
            Room { checkpoint: 1, keep: Keep { last, best }, weights: 1 }.more(there)
        };
        assert_eq!((more(2, true, 0), more(2, false, 0), more(0, false, 0)), (4, 3, 2));
        // Of a run that is resumed some are there.
        assert_eq!((more(2, true, 1), more(2, true, 3), more(2, true, 9)), (3, 1, 1));
        assert_eq!(more(usize::MAX, true, 0), u64::MAX);
    }
}
