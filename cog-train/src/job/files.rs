//! The files that a run adds to as it goes: `log.txt`, `metrics.jsonl`, samples, and the events that `TensorBoard` reads.
//!
//! A checkpoint holds their lengths ([`Marks`]), so that a resumed run takes back what came after it, and a run that
//! was interrupted leaves the same `log.txt` and `metrics.jsonl` as one that was not.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::events::Events;
use super::histogram::Histogram;
use super::lines::{Lines, length};
use super::samples::{Picture, SAMPLES, Samples};
use super::summaries;
use crate::error::Error;
use crate::progress::number_of;

const LOG: &str = "log.txt";
const METRICS: &str = "metrics.jsonl";

/// The lengths of a run's files in bytes, and digests of their content up to there, which a checkpoint holds.
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
    /// The first 8 bytes of the SHA-256 of `log.txt`; `None` when it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_digest: Option<u64>,
    /// The same of `metrics.jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_digest: Option<u64>,
    /// Of `samples.jsonl`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub samples: u64,
    /// The same of `samples.jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples_digest: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(length: &u64) -> bool {
    *length == 0
}

/// The open files. The first write that fails is kept, for a run does not end by a full disk's lost line.
pub(super) struct Files {
    dir: PathBuf,
    log: Lines,
    metrics: Lines,
    samples: Samples,
    events: Events,
    lost: Option<Error>,
}

impl Files {
    /// Opens the files of a run's folder; what is there stays, and new lines come after it.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            dir: dir.to_owned(),
            log: Lines::open(dir, LOG)?,
            metrics: Lines::open(dir, METRICS)?,
            samples: Samples::open(dir)?,
            events: Events::open(dir)?,
            lost: None,
        })
    }

    pub(super) fn line(&mut self, text: &str) {
        // One write a line: a process that is killed leaves whole lines.
        let written = self.log.add(&format!("{text}\n"));
        self.note_error(LOG, written);
    }

    /// One line of `metrics.jsonl`, and one event with all values.
    pub(super) fn metrics(&mut self, step: u64, values: &Map<String, Value>) {
        let mut line = Map::from_iter([("step".to_owned(), step.into())]);
        line.extend(values.clone());
        let written = self.metrics.add(&format!("{}\n", Value::Object(line)));
        self.note_error(METRICS, written);
        let scalars: Vec<(&str, f64)> = values
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), number_of(value)?)))
            .collect();
        if !scalars.is_empty() {
            self.event(step, &summaries::scalars(&scalars));
        }
    }

    /// Adds a text to the samples and to the events.
    pub(super) fn text(&mut self, name: &str, step: u64, text: &str) {
        let added = self.samples.text(name, step, text);
        self.sample(added, step, &summaries::text(name, text));
    }

    /// Adds an image to the samples and to the events.
    pub(super) fn image(&mut self, name: &str, step: u64, picture: &Picture) {
        let added = self.samples.image(name, step, picture);
        self.sample(added, step, &summaries::image(name, picture));
    }

    /// Adds a histogram to the samples and to the events.
    pub(super) fn histogram(&mut self, name: &str, step: u64, histogram: &Histogram) {
        let added = self.samples.add(&histogram.line(name, step));
        self.sample(added, step, &summaries::histogram(name, histogram));
    }

    fn sample(&mut self, added: Result<(), Error>, step: u64, summary: &[u8]) {
        if let Err(error) = added {
            self.lost.get_or_insert(error);
        }
        self.event(step, summary);
    }

    fn event(&mut self, step: u64, summary: &[u8]) {
        let written = self.events.add(step, summary);
        let name = self.events.name().to_owned();
        self.note_error(&name, written);
    }

    /// Returns the lengths of the files and digests of their content. They are durable after [`sync`](Self::sync).
    pub(super) fn marks(&self) -> Result<Marks, Error> {
        let events =
            self.events.file().map(|file| length(file, &self.dir.join(self.events.name())));
        let (log, metrics) = (self.log.mark()?, self.metrics.mark()?);
        let samples = self.samples.lines.as_ref().map(Lines::mark).transpose()?.unwrap_or_default();
        Ok(Marks {
            log: log.length,
            metrics: metrics.length,
            tensorboard: events.unwrap_or(Ok(0))?,
            log_digest: log.digest(),
            metrics_digest: metrics.digest(),
            samples: samples.length,
            samples_digest: samples.digest(),
        })
    }

    /// Brings what was written so far to the disk, on whatever thread has the time.
    pub(super) fn sync(&self) -> Result<impl FnOnce() -> Result<(), Error> + Send + use<>, Error> {
        let events = self.events.file().map(|file| (file, self.events.name()));
        let samples = self.samples.lines.as_ref().map(|lines| (&lines.file, SAMPLES));
        let files = [(&self.log.file, LOG), (&self.metrics.file, METRICS)];
        let files = files.into_iter().chain(samples).chain(events);
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

    /// Truncates the files to the marks. A log or metrics file whose content up to its mark is not that of the checkpoint is
    /// refused, as are samples, and the files are left as they were found; `force` accepts it. Events and samples are for viewing
    /// alone: a missing file is accepted.
    pub(super) fn rewind(&mut self, marks: &Marks, force: bool) -> Result<(), Error> {
        let guarded = [
            (&self.log, marks.log, marks.log_digest),
            (&self.metrics, marks.metrics, marks.metrics_digest),
        ];
        let samples = self.samples.lines.as_ref();
        let samples = samples.map(|lines| (lines, marks.samples, marks.samples_digest));
        let mut problem = None;
        for (lines, mark, digest) in guarded.into_iter().chain(samples) {
            if problem.is_none() && !force {
                problem = lines.differs(mark, digest)?;
            }
        }
        if let Some(problem) = problem {
            // Otherwise the lines of this process would make a short file long enough.
            let found = [self.log.found, self.metrics.found];
            self.log.truncate(found[0])?;
            self.metrics.truncate(found[1])?;
            self.samples.truncate(u64::MAX)?;
            let reason =
                format!("{problem}\nhint: `--resume=force` continues with the file as it is");
            return Err(Error::Resume { reason });
        }
        self.log.truncate(marks.log.min(self.log.found))?;
        self.metrics.truncate(marks.metrics.min(self.metrics.found))?;
        self.samples.truncate(marks.samples)?;
        if let Some(events) = self.events.file() {
            let path = self.dir.join(self.events.name());
            let length = length(events, &path)?.min(marks.tensorboard);
            events
                .set_len(length)
                .and_then(|()| events.sync_all())
                .map_err(Error::file("truncate", &path))?;
        }
        Ok(())
    }

    /// Removes the content that was there when the files were opened. Lines written since stay, events do not.
    pub(super) fn forget_earlier(&mut self) -> Result<(), Error> {
        self.log.forget_earlier()?;
        self.metrics.forget_earlier()?;
        self.samples.forget_earlier()?;
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
mod tests;
