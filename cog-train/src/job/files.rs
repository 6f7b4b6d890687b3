//! The files that a run adds to as it goes: `log.txt`, `metrics.jsonl`, and the events that `TensorBoard` reads.
//!
//! A checkpoint holds their lengths ([`Marks`]), so that a resumed run takes back what came after it, and a run that
//! was interrupted leaves the same `log.txt` and `metrics.jsonl` as one that was not.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::events::{Events, append};
use crate::error::Error;
use crate::progress::number_of;

const LOG: &str = "log.txt";
const METRICS: &str = "metrics.jsonl";

/// The lengths of a run's files in bytes, which a checkpoint holds.
///
/// The example of [`Job::mark`](super::Job::mark) stores them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Marks {
    /// Of `log.txt`.
    pub log: u64,
    /// Of `metrics.jsonl`.
    pub metrics: u64,
    /// Of the event file.
    pub tensorboard: u64,
}

/// The open files. The first write that fails is kept, for a run does not end by a full disk's lost line.
pub(super) struct Files {
    dir: PathBuf,
    log: File,
    metrics: File,
    events: Events,
    /// The lengths of the log and the metrics when this process opened them.
    found: [u64; 2],
    lost: Option<Error>,
}

impl Files {
    /// Opens the files of a run's folder; what is there stays, and new lines come after it.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let open = |name: &str| {
            let path = dir.join(name);
            let file = append(&path)?;
            let length = file.metadata().map_err(Error::file("read", &path))?.len();
            Ok::<_, Error>((file, length))
        };
        let (log, log_length) = open(LOG)?;
        let (metrics, metrics_length) = open(METRICS)?;
        Ok(Self {
            dir: dir.to_owned(),
            log,
            metrics,
            events: Events::open(dir)?,
            found: [log_length, metrics_length],
            lost: None,
        })
    }

    pub(super) fn line(&mut self, text: &str) {
        // One write a line: a process that is killed leaves whole lines.
        let written = self.log.write_all(format!("{text}\n").as_bytes());
        self.note_error(LOG, written);
    }

    /// One line of `metrics.jsonl`, and one event with all values.
    pub(super) fn metrics(&mut self, step: u64, values: &Map<String, Value>) {
        let mut line = Map::from_iter([("step".to_owned(), step.into())]);
        line.extend(values.clone());
        let written = self.metrics.write_all(format!("{}\n", Value::Object(line)).as_bytes());
        self.note_error(METRICS, written);
        let scalars: Vec<(&str, f64)> = values
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), number_of(value)?)))
            .collect();
        if !scalars.is_empty() {
            let written = self.events.add(step, &scalars);
            let name = self.events.name().to_owned();
            self.note_error(&name, written);
        }
    }

    /// Returns the lengths of the files. They are durable after [`sync`](Self::sync).
    pub(super) fn marks(&self) -> Result<Marks, Error> {
        let events = self.events.file().map(|file| (file, self.events.name()));
        let length = |file: &File, name: &str| {
            let data = file.metadata().map_err(Error::file("read", &self.dir.join(name)))?;
            Ok::<_, Error>(data.len())
        };
        Ok(Marks {
            log: length(&self.log, LOG)?,
            metrics: length(&self.metrics, METRICS)?,
            tensorboard: events.map_or(Ok(0), |(file, name)| length(file, name))?,
        })
    }

    /// Brings what was written so far to the disk, on whatever thread has the time.
    pub(super) fn sync(&self) -> Result<impl FnOnce() -> Result<(), Error> + Send + use<>, Error> {
        let events = self.events.file().map(|file| (file, self.events.name()));
        let files = [(&self.log, LOG), (&self.metrics, METRICS)].into_iter().chain(events);
        let open = |(file, name): (&File, &str)| {
            let path = self.dir.join(name);
            let again = file.try_clone().map_err(Error::file("sync", &path))?;
            Ok::<_, Error>((again, path))
        };
        let files = files.map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(move || {
            let sync =
                |(file, path): (File, PathBuf)| file.sync_all().map_err(Error::file("sync", &path));
            files.into_iter().try_for_each(sync)
        })
    }

    /// Truncates the files to the marks. A log or metrics file that was shorter than its mark when it was opened is refused,
    /// and the files are left as they were found; `force` accepts it. Events are for viewing alone: a missing file is
    /// accepted.
    pub(super) fn rewind(&mut self, marks: &Marks, force: bool) -> Result<(), Error> {
        let guarded = [(LOG, &self.log, marks.log), (METRICS, &self.metrics, marks.metrics)];
        let short = guarded.iter().zip(self.found).find(|((_, _, mark), found)| found < mark);
        if let Some(((name, _, mark), found)) = short.filter(|_| !force) {
            for ((name, file, _), found) in guarded.iter().zip(self.found) {
                // Otherwise the lines of this process would make the file long enough for the next one.
                file.set_len(found).map_err(Error::file("truncate", &self.dir.join(name)))?;
            }
            let reason = format!(
                "`{}` has {found} bytes, fewer than the {mark} of the checkpoint\n\
                 hint: `--resume=force` continues with the file as it is",
                self.dir.join(name).display()
            );
            return Err(Error::Resume { reason });
        }
        let events = self.events.name().to_owned();
        let events =
            self.events.file().map(|file| (events.as_str(), file, marks.tensorboard, u64::MAX));
        let guarded = guarded.into_iter().zip(self.found);
        let guarded = guarded.map(|((name, file, mark), found)| (name, file, mark, found));
        for (name, file, mark, found) in guarded.chain(events) {
            let path = self.dir.join(name);
            let length = file.metadata().map_err(Error::file("read", &path))?.len();
            file.set_len(mark.min(found).min(length))
                .and_then(|()| file.sync_all())
                .map_err(Error::file("truncate", &path))?;
        }
        Ok(())
    }

    /// Removes the content that was there when the files were opened. Lines written since stay, events do not.
    pub(super) fn forget_earlier(&mut self) -> Result<(), Error> {
        let files = [(LOG, &mut self.log), (METRICS, &mut self.metrics)];
        for ((name, file), found) in files.into_iter().zip(std::mem::take(&mut self.found)) {
            let path = self.dir.join(name);
            let own = std::fs::read(&path).map_err(Error::file("read", &path))?;
            let own = usize::try_from(found).ok().and_then(|found| own.get(found..));
            // Appending: what is written comes after the cut.
            file.set_len(0)
                .and_then(|()| file.write_all(own.unwrap_or_default()))
                .and_then(|()| file.sync_all())
                .map_err(Error::file("truncate", &path))?;
        }
        if let Some(events) = self.events.file() {
            let path = self.dir.join(self.events.name());
            events.set_len(0).map_err(Error::file("truncate", &path))?;
        }
        Ok(())
    }

    /// The first error of a line or metric that was not written.
    pub(super) fn take_lost(&mut self) -> Option<Error> {
        self.lost.take()
    }

    fn note_error(&mut self, file: &str, written: std::io::Result<()>) {
        if let Err(error) = written
            && self.lost.is_none()
        {
            self.lost = Some(Error::file("write", &self.dir.join(file))(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(files: &mut Files, step: u64, loss: f64) {
        files.line(&format!("step {step}"));
        files.metrics(step, &Map::from_iter([("loss".to_owned(), json!(loss))]));
    }

    fn bytes(dir: &Path) -> (Vec<u8>, Vec<u8>) {
        (std::fs::read(dir.join(LOG)).unwrap(), std::fs::read(dir.join(METRICS)).unwrap())
    }

    #[test]
    fn a_rewound_run_leaves_the_files_of_a_straight_one() {
        let (straight, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut files = Files::open(straight.path()).unwrap();
        (1..=4).for_each(|at| step(&mut files, at, 0.5));

        let mut files = Files::open(resumed.path()).unwrap();
        (1..=2).for_each(|at| step(&mut files, at, 0.5));
        let marks = files.marks().unwrap();
        step(&mut files, 3, 0.25);
        drop(files);
        let mut files = Files::open(resumed.path()).unwrap();
        files.rewind(&marks, false).unwrap();
        assert_eq!(files.marks().unwrap(), marks);
        (3..=4).for_each(|at| step(&mut files, at, 0.5));

        assert_eq!(bytes(straight.path()), bytes(resumed.path()));
        let length = |dir: &Path| Files::open(dir).unwrap().marks().unwrap();
        assert_eq!(length(straight.path()), length(resumed.path()));
    }

    #[test]
    fn a_run_that_starts_over_keeps_its_own_lines_alone() {
        let (straight, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut files = Files::open(straight.path()).unwrap();
        (1..=3).for_each(|at| step(&mut files, at, 0.5));
        let mut files = Files::open(resumed.path()).unwrap();
        (1..=2).for_each(|at| step(&mut files, at, 0.25));
        drop(files);
        let mut files = Files::open(resumed.path()).unwrap();
        step(&mut files, 1, 0.5);
        files.forget_earlier().unwrap();
        (2..=3).for_each(|at| step(&mut files, at, 0.5));
        assert_eq!(bytes(straight.path()), bytes(resumed.path()));
    }

    #[test]
    fn a_file_shorter_than_its_mark_is_refused_every_time_and_accepted_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        step(&mut files, 1, 0.5);
        let marks = files.marks().unwrap();
        step(&mut files, 2, 0.5);
        drop(files);
        std::fs::write(dir.path().join(METRICS), "").unwrap();
        let before = bytes(dir.path());
        for _ in 0..3 {
            let mut files = Files::open(dir.path()).unwrap();
            // Longer than the mark, by lines of this process.
            (1..=4).for_each(|at| step(&mut files, at, 0.5));
            let error = files.rewind(&marks, false).unwrap_err().to_string();
            assert!(
                error.contains("metrics.jsonl` has 0 bytes, fewer than the 22 of the checkpoint"),
                "{error}"
            );
            assert_eq!(bytes(dir.path()), before);
        }
        let mut files = Files::open(dir.path()).unwrap();
        step(&mut files, 1, 0.5);
        files.rewind(&marks, true).unwrap();
        assert_eq!(bytes(dir.path()), (before.0[..7].to_vec(), Vec::new()));
    }

    #[test]
    fn a_deleted_event_file_does_not_keep_a_run_from_being_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        step(&mut files, 1, 0.5);
        let marks = files.marks().unwrap();
        std::fs::remove_file(dir.path().join(files.events.name())).unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        files.rewind(&marks, false).unwrap();
        step(&mut files, 2, 0.5);
        assert_eq!(files.marks().unwrap().tensorboard, marks.tensorboard);
    }

    #[test]
    fn a_mark_before_the_first_event_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        let marks = files.marks().unwrap();
        assert_eq!(marks, Marks::default());
        step(&mut files, 1, 0.5);
        let one = files.marks().unwrap();
        files.rewind(&marks, false).unwrap();
        step(&mut files, 1, 0.5);
        assert_eq!(files.marks().unwrap(), one, "the file's head is written again");
    }
}
