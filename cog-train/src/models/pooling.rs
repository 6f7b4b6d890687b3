//! The files of sentence-transformers: how a text's embedding is made from the states of its tokens.

use std::path::Path;

use serde_json::{Map, Value};

use super::keys::Keys;
use crate::error::{Error, printable, printable_name};
use crate::read;

const MODULES: &str = "modules.json";
const TEXT: &str = "sentence_bert_config.json";
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
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn folder(pooling: &Value, kinds: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let modules = kinds.iter().zip(["", "1_Pooling", "2_Last"]).enumerate();
        let modules: Vec<_> = modules
            .map(|(idx, (kind, path))| json!({"idx": idx, "name": "x", "path": path, "type": kind}))
            .collect();
        fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        fs::write(folder.path().join(MODULES), json!(modules).to_string()).unwrap();
        fs::write(folder.path().join("1_Pooling/config.json"), pooling.to_string()).unwrap();
        folder
    }

    const KINDS: &[&str] = &[
        "sentence_transformers.models.Transformer",
        "sentence_transformers.models.Pooling",
        "sentence_transformers.base.modules.normalize.Normalize",
    ];

    #[test]
    fn old_and_new_spellings_are_read() {
        let mean = Pooling::new(PoolingMode::Mean);
        let cls = Pooling::new(PoolingMode::Cls);
        for (pooling, kinds, expected) in [
            (json!({"word_embedding_dimension": 8, "pooling_mode_cls_token": true}), 2, cls),
            (
                json!({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false}),
                3,
                mean.normalize(true),
            ),
            (
                json!({"embedding_dimension": 8, "pooling_mode": "cls", "include_prompt": true}),
                3,
                cls.normalize(true),
            ),
            (json!({}), 2, mean),
        ] {
            let folder = folder(&pooling, &KINDS[..kinds]);
            assert_eq!(Pooling::open(folder.path()).unwrap(), expected, "{pooling}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Pooling::open(folder.path()).unwrap(), mean);
        fs::write(folder.path().join(TEXT), r#"{"max_seq_length": 256, "do_lower_case": false}"#)
            .unwrap();
        assert_eq!(Pooling::open(folder.path()).unwrap().max_length(), Some(256));
    }

    #[test]
    fn other_poolings_and_modules_are_refused_by_name() {
        let dense = [KINDS[0], KINDS[1], "sentence_transformers.models.Dense"];
        for (pooling, kinds, message) in [
            (
                json!({"pooling_mode": "max"}),
                KINDS,
                "the pooling is `max`, and `mean` or `cls` are supported",
            ),
            (
                json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}),
                KINDS,
                "the pooling is `cls` and `mean`",
            ),
            (
                json!({"include_prompt": false}),
                KINDS,
                "`include_prompt` is false, and only true is supported",
            ),
            (json!({}), &dense, "module 2 is `Dense`"),
        ] {
            let folder = folder(&pooling, kinds);
            let error = Pooling::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
