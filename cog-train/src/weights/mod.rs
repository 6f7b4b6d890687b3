//! Weights: safetensors files, and everything that `COG_WEIGHTS` may name.

mod header;
mod open;
mod read;
mod save;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
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
/// [`Weights::tensors`], [`Weights::get`] and the builder of [`Weights::var_builder`] read the files anew at each call
/// and give **fresh storage**: a clone of a candle tensor shares its bytes, so a model that is trained from a clone
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
    /// What the environment variable `COG_WEIGHTS` names; `None` when it is unset or empty.
    ///
    /// # Errors
    ///
    /// Those of [`Weights::open`].
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::from_env_with(&CancelToken::new(), &mut Silent)
    }

    /// [`Weights::from_env`] for a caller who may cancel a download and shows how far it is.
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
    /// with exactly one folder in it stands for that one. A name in two files is an error.
    ///
    /// **Downloads and archives** are kept in a cache: `$XDG_CACHE_HOME/cog-train`, else `~/.cache/cog-train`. An address
    /// without a digest is asked for again, and taken from the cache if the server says that it is unchanged.
    /// Archives are unpacked by the rules of [`crate::archive`], under the digest of the archive, once.
    ///
    /// Every header is checked before this returns: what is opened can be read, unless the files change meanwhile.
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

    /// With the user's own cache folder, if one is needed: where nothing is kept, a machine without a home is fine.
    fn open_at_home(
        source: &str,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<Self, Error> {
        let cache = if source::needs_cache(source) { cache_dir()? } else { PathBuf::new() };
        Self::open_with(source, &cache, cancel, report)
    }

    /// [`Weights::open`] with a cache folder of one's own, which can be cancelled and tells how many bytes it has fetched.
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

    /// Writes tensors into a safetensors file, whole or not at all, and opens it.
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

    /// All tensors by name, of their stored types, in fresh storage.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] for a type that candle does not have, [`Error::File`] or [`Error::Tensor`].
    pub fn tensors(&self, device: &Device) -> Result<BTreeMap<String, Tensor>, Error> {
        self.names().map(|name| Ok((name.to_owned(), self.get(name, device)?))).collect()
    }

    /// One tensor of its stored type, in fresh storage.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] when there is no such tensor, with the nearest name; else those of [`Weights::tensors`].
    pub fn get(&self, name: &str, device: &Device) -> Result<Tensor, Error> {
        self.opened.get(name, device)
    }

    /// A builder for candle's modules, which reads each tensor when it is asked for, in fresh storage, as `dtype`.
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

    /// The names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.opened.names()
    }

    /// The texts in the files' `__metadata__`. Of several files with one key the first counts.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The local file or folder. For an archive it is the unpacked folder that holds the safetensors files, so that what
    /// lies beside them, a `config.json` or a tokenizer, is found here.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The safetensors files.
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

/// Where downloads and unpacked archives are kept: `$XDG_CACHE_HOME/cog-train`, else `~/.cache/cog-train`.
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
