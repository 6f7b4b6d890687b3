//! The model that is tuned, and where it is found again.

use std::path::{Path, PathBuf};

use cog_train::CancelToken;
use cog_train::hub::resolve;
use cog_train::lora::LoraConfig;
use cog_train::prelude::*;
use cog_train::progress::{Report, Silent};
use cog_train::text::LanguageModel;
use tempfile::TempDir;

/// The name of the model that is built in, as an adapter's settings have it.
const BUILT_IN: &str = "examples/text_finetune/base";

/// Its files: a small Llama that knows short texts in plain English.
const FILES: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("../text_finetune/base/config.json")),
    ("model.safetensors", include_bytes!("../text_finetune/base/model.safetensors")),
    ("tokenizer.json", include_bytes!("../text_finetune/base/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../text_finetune/base/tokenizer_config.json")),
];

/// A model on disk: opened and checked, and nothing is loaded.
pub struct Base {
    pub name: String,
    pub lm: LanguageModel,
    /// Holds the built-in model.
    _folder: Option<TempDir>,
}

impl Base {
    /// Opens the model of a name, a folder, a `.gguf` file or `org/name` on a hub, or the built-in one.
    pub fn open(name: Option<&str>, cancel: &CancelToken, report: &mut dyn Report) -> Result<Self> {
        let name = name.unwrap_or(BUILT_IN).to_owned();
        let (path, folder) = if name == BUILT_IN {
            let folder = built_in()?;
            (folder.path().to_owned(), Some(folder))
        } else {
            (resolve(&name, cancel, report)?, None)
        };
        Ok(Self { name, lm: LanguageModel::open(path)?, _folder: folder })
    }

    /// Opens the base of what a training wrote, and returns the folder of the adapter, if it wrote one. Without weights it is the
    /// built-in model.
    pub fn of_weights(path: Option<&Path>) -> Result<(Self, Option<PathBuf>)> {
        let open = |name: Option<&str>| Self::open(name, &CancelToken::new(), &mut Silent);
        let Some(path) = path else { return Ok((open(None)?, None)) };
        let folder = if path.is_file() { path.parent().unwrap_or(Path::new(".")) } else { path };
        if !folder.join("adapter_config.json").is_file() {
            return Ok((open(folder.to_str())?, None));
        }
        let base = LoraConfig::open(folder)?.base_model_name();
        Ok((open(base.as_deref())?, Some(folder.to_owned())))
    }
}

fn built_in() -> Result<TempDir> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    for (name, content) in FILES {
        let file = folder.path().join(name);
        std::fs::write(&file, content)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(folder)
}
