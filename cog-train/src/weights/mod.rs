//! Weights: safetensors files, and everything that `COG_WEIGHTS` may name.

mod header;
mod json;
mod open;
mod read;
mod save;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::error::Error;
use crate::progress::{CancelToken, Report, Silent};
use read::Opened;
pub(crate) use save::{header, place_of, write_values};

/// The variable that names the weights to start from.
const VARIABLE: &str = "COG_WEIGHTS";

/// Trained parameters in one or more safetensors files, opened and checked.
///
/// [`Weights::tensors`], [`Weights::get`] and the builder of [`Weights::var_builder`] read the files at each call
/// and return **fresh storage**: a clone of a candle tensor shares its bytes, so a model that is trained from a clone
/// changes the base under every other model. From here two trainings in one process start from the same bytes.
///
/// ```
/// use cog_train::Weights;
/// use cog_train::candle_core::{DType, Device, Tensor};
///
/// # let dir = tempfile::tempdir()?;
/// # let file = dir.path().join("weights.safetensors");
/// let scale = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// let weights = Weights::save([("scale", scale)], &file)?;
///
/// assert_eq!(weights.get("scale", &Device::Cpu)?.to_vec1::<f32>()?, [1.0, 2.0]);
/// let builder = weights.var_builder(DType::F64, &Device::Cpu)?;
/// assert_eq!(builder.get(2, "scale")?.to_vec1::<f64>()?, [1.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Weights {
    path: PathBuf,
    files: Vec<PathBuf>,
    metadata: BTreeMap<String, String>,
    opened: Arc<Opened>,
}

impl Weights {
    /// Opens the weights that the environment variable `COG_WEIGHTS` names; `None` when it is unset or empty.
    ///
    /// # Errors
    ///
    /// Those of [`Weights::open`].
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::from_env_with(&CancelToken::new(), &mut Silent)
    }

    /// Opens weights as [`Weights::from_env`] does; a download can be cancelled and reports its progress.
    pub(crate) fn from_env_with(
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<Option<Self>, Error> {
        match std::env::var_os(VARIABLE) {
            None => Ok(None),
            Some(source) if source.is_empty() => Ok(None),
            Some(source) => match source.to_str() {
                Some(source) => Self::open_at_home(source, cancel, report).map(Some),
                None => Err(Error::Weights {
                    place: source.display().to_string(),
                    reason: format!("the value of `{VARIABLE}` is not UTF-8"),
                }),
            },
        }
    }

    /// Opens weights: a `.safetensors` file, a folder, an archive (`.tar`, `.tar.gz`, `.tgz`, `.tar.zst`, `.zip`), or one
    /// of these files by `http://`, `https://` or `file://`. At the end of a file's or an address's text
    /// `#sha256=HEX` asks for that digest.
    ///
    /// Of a **folder** the first of these counts: `model.safetensors`; `model.safetensors.index.json` and the files that
    /// it names; `weights.safetensors`; all `*.safetensors` in order of their names. A folder without any of these and
    /// with exactly one folder in it stands for that one. Where an index names a file for a tensor, copies of that tensor
    /// in other files do not count; any other name in two files is an error.
    ///
    /// **Downloads and archives** are cached in `$XDG_CACHE_HOME/cog-train`, else `~/.cache/cog-train`. An address without
    /// a digest is revalidated, and taken from the cache if the server answers that it is unchanged. Archives are unpacked
    /// by the rules of [`crate::archive`], under the digest of the archive. The unpacked folder is compared with the archive
    /// at each opening, and unpacked again when it differs.
    ///
    /// Every header is checked before this returns: a file that opens can be read, unless it changes meanwhile, except for
    /// the tensors in [`Weights::unsupported`].
    ///
    /// ```no_run
    /// use cog_train::Weights;
    /// let weights = Weights::open("https://example.com/model.tar.zst")?;
    /// println!("{} in {} files", weights.path().display(), weights.files().len());
    /// # Ok::<(), cog_train::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Weights`], [`Error::Archive`], [`Error::Fetch`] or [`Error::File`], by where the fault is. Pickle files are
    /// refused: to read one is to run its code.
    pub fn open(source: impl AsRef<str>) -> Result<Self, Error> {
        Self::open_at_home(source.as_ref(), &CancelToken::new(), &mut Silent)
    }

    /// Opens weights with the user's own cache folder. A source that needs no cache needs no home either.
    fn open_at_home(
        source: &str,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<Self, Error> {
        let cache = if source::needs_cache(source) { cache_dir()? } else { PathBuf::new() };
        Self::open_with(source, &cache, cancel, report)
    }

    /// Opens weights as [`Weights::open`] does, with another cache folder. It can be cancelled, and `report` gets the progress
    /// of a download in bytes, and a note that names the tensors in [`Weights::unsupported`].
    ///
    /// # Errors
    ///
    /// Those of [`Weights::open`], and [`Error::Cancelled`].
    pub fn open_with(
        source: impl AsRef<str>,
        cache: &Path,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<Self, Error> {
        source::open(source.as_ref(), cache, cancel, report)
    }

    /// Writes tensors into a safetensors file atomically, and opens it.
    ///
    /// The same tensors give the same bytes, whatever their order: they are sorted by name within each width of element,
    /// widest first, so that all are aligned. The file's metadata is `format: pt`.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] when a name is there twice or is `__metadata__`, [`Error::Tensor`], or [`Error::File`].
    pub fn save<K: AsRef<str>>(
        tensors: impl IntoIterator<Item = (K, Tensor)>,
        file: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let file = file.as_ref();
        save::save(tensors, file)?;
        Self::open_file(file)
    }

    /// Loads all tensors by name, of their stored dtypes, in fresh storage. Those in [`Weights::unsupported`] are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] when a file was cut meanwhile, [`Error::File`] or [`Error::Tensor`].
    pub fn tensors(&self, device: &Device) -> Result<BTreeMap<String, Tensor>, Error> {
        let left_out: BTreeSet<&str> = self.unsupported().map(|(name, _)| name).collect();
        let names = self.names().filter(|name| !left_out.contains(name));
        names.map(|name| Ok((name.to_owned(), self.get(name, device)?))).collect()
    }

    /// Returns the tensors that cannot be loaded because candle lacks their dtype, each with that dtype, such as `U16`.
    ///
    /// [`Weights::names`] has them, [`Weights::tensors`] leaves them out, and [`Weights::get`] and a builder refuse them.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let file = dir.path().join("model.safetensors");
    /// # let header = r#"{"mask":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}"#;
    /// # let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[1]].concat();
    /// # std::fs::write(&file, bytes)?;
    /// let weights = cog_train::Weights::open(file.to_str().unwrap())?;
    /// let unsupported: Vec<_> = weights.unsupported().collect();
    /// assert_eq!(unsupported, [("mask", "BOOL".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unsupported(&self) -> impl Iterator<Item = (&str, String)> {
        self.opened.unsupported().map(|(name, dtype)| (name, dtype.to_string()))
    }

    /// Loads one tensor of its stored dtype, in fresh storage.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] when there is no such tensor, with the nearest name, or when it is one of
    /// [`Weights::unsupported`]; else those of [`Weights::tensors`].
    pub fn get(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        self.opened.get(name, device)
    }

    /// Returns a builder for candle's modules, which loads each tensor on demand, in fresh storage, as `dtype`.
    ///
    /// # Errors
    ///
    /// None today: a tensor that is not there is the builder's error.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> Result<VarBuilder<'static>, Error> {
        let backend = Box::new(read::Backend(Arc::clone(&self.opened)));
        Ok(VarBuilder::from_backend(backend, dtype, device.clone()))
    }

    /// Opens one file, whatever its path looks like.
    pub(crate) fn open_file(file: &Path) -> Result<Self, Error> {
        open::files(file.to_owned(), vec![file.to_owned()])
    }

    /// Returns the names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.opened.names()
    }

    /// Returns the dtype of a tensor, such as `BF16`, and its shape.
    #[must_use]
    pub fn describe(&self, name: &str) -> Option<(String, &[usize])> {
        self.opened.describe(name).map(|(dtype, shape)| (dtype.to_string(), shape))
    }

    /// Returns the texts in the files' `__metadata__`. Of several files with one key the first counts.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns the local file or folder. For an archive it is the unpacked folder that holds the safetensors files, so that what
    /// lies beside them, a `config.json` or a tokenizer, is found here.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the safetensors files.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("path", &self.path)
            .field("files", &self.files)
            .field("tensors", &self.names().count())
            .finish_non_exhaustive()
    }
}

/// Returns the folder of downloads and unpacked archives: `$XDG_CACHE_HOME/cog-train`, else `~/.cache/cog-train`.
///
/// # Errors
///
/// [`Error::Arguments`] when the environment names neither.
pub fn cache_dir() -> Result<PathBuf, Error> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|dir| dir.join("cog-train"))
        .ok_or_else(|| Error::Arguments {
            reason: "there is no folder to keep downloads in\nhint: set `HOME` or `XDG_CACHE_HOME` to an absolute path"
                .to_owned(),
        })
}
