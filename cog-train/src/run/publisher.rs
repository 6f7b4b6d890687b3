//! The receiver of a run's output: files and folders on the command line, an answer over HTTP.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::outputs::{Destination, Published};
use crate::error::Error;
use crate::output::{Output, OutputType};

/// Publishes the output of a run.
pub(crate) trait Publisher {
    /// Checks before the training that an output of this type can be published. `runs` is the folder around the run's own.
    fn prepare(&self, output: &OutputType, runs: &Path) -> Result<(), Error>;

    /// Publishes the output of the run in `run_dir`, with its metrics where the whole answer is written.
    fn write(
        &self,
        output: &Output,
        run_dir: &Path,
        metrics: &Map<String, Value>,
    ) -> Result<Published, Error>;

    /// Returns the folder that is written into.
    fn parent(&self) -> PathBuf;
}

impl Publisher for Destination {
    fn prepare(&self, output: &OutputType, runs: &Path) -> Result<(), Error> {
        self.prepare(output, runs)
    }

    fn write(
        &self,
        output: &Output,
        run_dir: &Path,
        metrics: &Map<String, Value>,
    ) -> Result<Published, Error> {
        self.write(output, run_dir, metrics)
    }

    fn parent(&self) -> PathBuf {
        self.parent()
    }
}
