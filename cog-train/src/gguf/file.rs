//! An open file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::header::{self, Header};
use super::metadata::Metadata;
use super::tensor::TensorInfo;
use crate::error::{Error, printable_name};
use crate::read;

/// An open GGUF file, whose header was checked. Tensors are read, not mapped: a file that is truncated meanwhile is an error.
///
/// The example of [`gguf`](crate::gguf) opens one. Cloning gives the same file.
#[derive(Clone)]
pub struct Gguf {
    path: PathBuf,
    file: Arc<File>,
    header: Arc<Header>,
}

impl Gguf {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    ///
    /// [`Error::File`], or [`Error::Weights`] when it is not a GGUF file of version 2 or 3 in little-endian order, a key or a name
    /// is there twice, a type is not known, or a tensor is misaligned, overlaps another or ends behind the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(Error::file("read", path))?;
        let found = file.metadata().map_err(Error::file("read", path))?;
        if found.is_dir() {
            return Err(Error::weights(path, "is a folder, not a GGUF file"));
        }
        let header = header::read(BufReader::with_capacity(1 << 20, &file), found.len())
            .map_err(|reason| Error::weights(path, reason))?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), header: Arc::new(header) })
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the metadata.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.header.metadata
    }

    /// Returns the tensors by name, sorted.
    #[must_use]
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.header.tensors
    }

    /// Returns the names of the tensors, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.order.iter().map(String::as_str)
    }

    /// Returns a tensor.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.header.tensors.get(name)
    }

    /// Reads the bytes of a tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] when there is no such tensor or the file became shorter; [`Error::File`].
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let Some(info) = self.tensor(name) else {
            let count = self.header.order.len();
            let name = printable_name(name);
            return Err(Error::weights(&self.path, format!("no tensor `{name}` among {count}")));
        };
        let mut bytes = vec![0; info.bytes];
        read::exact_at(&self.file, &mut bytes, info.begin).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let name = printable_name(name);
                let reason =
                    format!("the file became shorter: tensor `{name}` is not there any more");
                Error::weights(&self.path, reason)
            }
            _ => Error::file("read", &self.path)(error),
        })?;
        Ok(bytes)
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path)
            .field("metadata", &self.header.metadata.len())
            .field("tensors", &self.header.order.len())
            .finish_non_exhaustive()
    }
}
