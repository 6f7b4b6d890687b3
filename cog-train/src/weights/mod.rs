//! Weights: safetensors files, and everything that `COG_WEIGHTS` may name.

use std::path::{Path, PathBuf};

/// Trained parameters in one or more safetensors files.
#[derive(Debug, Clone)]
pub struct Weights {
    path: PathBuf,
}

impl Weights {
    /// The local file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
