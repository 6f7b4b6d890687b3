//! The files of sentence-transformers: how a text's embedding is made from the states of its tokens.

use std::fs;
use std::path::Path;

use candle_core::{Error as TensorError, Tensor};
use serde_json::{Map, Value, json};

use super::keys::Keys;
use super::save::write_json;
use crate::error::{Error, printable, printable_name};
use crate::read;

const MODULES: &str = "modules.json";
const TEXT: &str = "sentence_bert_config.json";
const POOLING: &str = "1_Pooling";
/// The squared length below which an embedding is not divided further, as PyTorch's `normalize` has it.
const TINY: f64 = 1e-24;
/// The most bytes of one of these files.
const MAX_BYTES: u64 = 1 << 20;

/// Pooling of token states into one embedding for each text, as `modules.json` and the configurations that it names say.
///
/// ```
/// use cog_train::models::{Pooling, PoolingMode};
///
/// let pooling = Pooling::new(PoolingMode::Cls).normalize(true);
/// assert!(pooling.is_normalized());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    mode: PoolingMode,
    normalize: bool,
    max_length: Option<usize>,
}

/// The part of a text that its embedding is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolingMode {
    /// The mean over its tokens.
    Mean,
    /// Its first token.
    Cls,
}

/// The names of sentence-transformers' modes: as a value of `pooling_mode`, and as a key of its own.
const MODES: &[(&str, &str)] = &[
    ("cls", "pooling_mode_cls_token"),
    ("max", "pooling_mode_max_tokens"),
    ("mean", "pooling_mode_mean_tokens"),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    ("weightedmean", "pooling_mode_weightedmean_tokens"),
    ("lasttoken", "pooling_mode_lasttoken"),
];

impl Pooling {
    /// Pooling without normalization.
    #[must_use]
    pub fn new(mode: PoolingMode) -> Self {
        Self { mode, normalize: false, max_length: None }
    }

    /// Divides each embedding by its length, or not.
    #[must_use]
    pub fn normalize(mut self, on: bool) -> Self {
        self.normalize = on;
        self
    }

    /// Reads the files in a model's folder. Without a `modules.json` it is the mean, as in sentence-transformers.
    ///
    /// # Errors
    ///
    /// [`Error::File`], or [`Error::Model`] when a file cannot be understood or names something that is not supported.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let file = folder.join(MODULES);
        let mut pooling = Self::new(PoolingMode::Mean);
        if file.is_file() {
            for (index, module) in modules(&file)?.into_iter().enumerate() {
                pooling.add(folder, &file, index, &module)?;
            }
        }
        let text = folder.join(TEXT);
        if text.is_file() {
            pooling.max_length = max_length(&text)?;
        }
        Ok(pooling)
    }

    /// Writes the files into a model's folder, so that sentence-transformers embeds as it was trained here. Files that say the same
    /// already are left as they are. `hidden` is the width of the embeddings.
    ///
    /// ```
    /// use cog_train::models::{Pooling, PoolingMode};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let folder = dir.path();
    /// let pooling = Pooling::new(PoolingMode::Mean).normalize(true);
    /// pooling.save(folder, 384)?; // beside the model: `base.save(folder, params.masters())`
    /// assert_eq!(Pooling::open(folder)?, pooling);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn save(&self, folder: impl AsRef<Path>, hidden: usize) -> Result<(), Error> {
        let folder = folder.as_ref();
        if folder.join(MODULES).is_file() && Self::open(folder).is_ok_and(|found| found == *self) {
            return Ok(());
        }
        let kinds = [("Transformer", ""), ("Pooling", POOLING), ("Normalize", "2_Normalize")];
        let module = |(idx, (kind, path)): (usize, &(&str, &str))| {
            let class = format!("sentence_transformers.models.{kind}");
            json!({"idx": idx, "name": idx.to_string(), "path": path, "type": class})
        };
        let count = if self.normalize { 3 } else { 2 };
        let modules: Vec<Value> = kinds[..count].iter().enumerate().map(module).collect();
        let config = folder.join(POOLING);
        fs::create_dir_all(&config).map_err(Error::file("create", &config))?;
        let mut keys = Map::from_iter([("word_embedding_dimension".to_owned(), json!(hidden))]);
        let mode = match self.mode {
            PoolingMode::Mean => "mean",
            PoolingMode::Cls => "cls",
        };
        keys.extend(MODES.iter().map(|(name, key)| ((*key).to_owned(), json!(*name == mode))));
        write_json(&config.join("config.json"), &keys.into())?;
        if let Some(length) = self.max_length {
            let text = json!({"max_seq_length": length, "do_lower_case": false});
            write_json(&folder.join(TEXT), &text)?;
        }
        // Last, for it names the others.
        write_json(&folder.join(MODULES), &modules.into())
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> PoolingMode {
        self.mode
    }

    /// Whether each embedding is divided by its length.
    #[must_use]
    pub fn is_normalized(&self) -> bool {
        self.normalize
    }

    /// The most tokens of a text; longer ones are cut.
    #[must_use]
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    fn add(
        &mut self,
        folder: &Path,
        file: &Path,
        index: usize,
        module: &Module,
    ) -> Result<(), Error> {
        match (index, module.kind()) {
            (0, "Transformer") if module.path.is_empty() => {}
            (0, "Transformer") => {
                let path = printable_name(&module.path);
                let reason =
                    format!("the transformer is in `{path}`\nhint: name that folder as the model");
                return Err(Error::model(file, reason));
            }
            (1, "Pooling") => self.mode = mode(&folder.join(&module.path).join("config.json"))?,
            (2, "Normalize") => self.normalize = true,
            (_, kind) => {
                let kind = printable_name(kind);
                let reason = format!(
                    "module {index} is `{kind}`, and only `Transformer`, `Pooling` and `Normalize` in this order are supported"
                );
                return Err(Error::model(file, reason));
            }
        }
        Ok(())
    }
}

/// Divides each row by its length, `[B, d]`.
pub(crate) fn unit_length(rows: &Tensor) -> Result<Tensor, TensorError> {
    let length = (rows.sqr()?.sum_keepdim(1)? + TINY)?.sqrt()?;
    rows.broadcast_div(&length)
}

struct Module {
    path: String,
    class: String,
}

impl Module {
    /// The class without the module that it is in, which moved between versions.
    fn kind(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }
}

fn modules(file: &Path) -> Result<Vec<Module>, Error> {
    let bytes = read::file(file, MAX_BYTES)?;
    let list: Vec<Map<String, Value>> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::model(file, format!("cannot be read: {}", printable(error))))?;
    let module = |values| {
        let mut keys = Keys::new(values);
        keys.ignore(&["idx", "name"]);
        let module =
            Module { path: keys.get_or(&["path"], String::new()), class: keys.require(&["type"]) };
        // Arguments of a call that this reader does not make.
        keys.only("kwargs", &serde_json::json!([]));
        keys.finish(file)?;
        Ok(module)
    };
    list.into_iter().map(module).collect()
}

fn mode(file: &Path) -> Result<PoolingMode, Error> {
    let mut keys = Keys::open(file)?;
    keys.ignore(&["word_embedding_dimension", "embedding_dimension"]);
    keys.only("include_prompt", &serde_json::json!(true));
    let old = MODES.iter().filter(|(_, key)| keys.get_or(&[key], false)).map(|(name, _)| *name);
    let old: Vec<_> = old.collect();
    let new = keys.get::<String>(&["pooling_mode"]);
    let name = match (new, old.as_slice()) {
        (Some(name), _) => name,
        (None, []) => "mean".to_owned(),
        (None, names) => names.join("` and `"),
    };
    let mode = match name.as_str() {
        "mean" => PoolingMode::Mean,
        "cls" => PoolingMode::Cls,
        other => {
            let other = printable_name(other);
            keys.problem(format!("the pooling is `{other}`, and `mean` or `cls` are supported"));
            PoolingMode::Mean
        }
    };
    keys.finish(file)?;
    Ok(mode)
}

fn max_length(file: &Path) -> Result<Option<usize>, Error> {
    let mut keys = Keys::open(file)?;
    let length = keys.get(&["max_seq_length"]);
    keys.only("do_lower_case", &serde_json::json!(false));
    keys.only("transformer_task", &serde_json::json!("feature-extraction"));
    keys.ignore(&["modality_config", "module_output_name", "unpad_inputs", "processing_kwargs"]);
    keys.finish(file)?;
    Ok(length)
}

#[cfg(test)]
mod tests;
