//! A job as the receiver of the progress of long work, such as a download.

use serde_json::{Map, Value};

use super::Job;
use crate::progress::Report;
use crate::table::Table;

/// Sends the lines, the numbers and the progress of long work where those of the run go.
///
/// ```
/// use cog_train::fetch::Fetcher;
/// use cog_train::{Job, prelude::*};
///
/// # let dir = tempfile::tempdir()?;
/// # let mut job = Job::for_test(dir.path());
/// let fetcher = Fetcher::new(job.dir().join("inputs"));
/// let file = fetcher.fetch("data:text/csv,a,b", &job.cancel_token(), &mut job)?;
/// assert_eq!(std::fs::read_to_string(file)?, "a,b");
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
impl Report for Job {
    fn line(&mut self, text: &str) {
        Self::line(self, text);
    }

    fn note(&mut self, text: &str) {
        Self::note(self, text);
    }

    fn table(&mut self, table: &Table) {
        Self::table(self, table);
    }

    fn output(&mut self, piece: &str) {
        self.stream(piece);
    }

    fn metric(&mut self, name: &str, step: u64, value: f64) {
        Self::metric(self, name, step, value);
    }

    fn step(&mut self, step: u64, values: &Map<String, Value>) {
        Self::step(self, step, values);
    }

    /// Reports progress that is not the run's own: it is no step of a training.
    fn progress(&mut self, unit: &str, done: u64, total: u64) {
        self.report.progress(unit, done, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_no_step_and_its_lines_are_the_runs() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::for_test(dir.path());
        let report: &mut dyn Report = &mut job;
        report.progress("bytes", 1, 2);
        report.note("on the terminal only");
        report.line("one line");
        assert!(!job.has_stepped());
        let report: &mut dyn Report = &mut job;
        report.metric("loss", 1, 0.5);
        assert!(job.has_stepped());
        drop(job);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("log.txt"), "one line\n");
        assert!(read("metrics.jsonl").contains("\"loss\":0.5"));
    }
}
