//! Comparison of a `cog.yaml` with the program that reads it.

use std::sync::Arc;

use super::note::{ConfigError, Note, NoteKind, example, quoted};
use super::{Config, Reference};

/// The names of the types given to `run!`: the last segment of each path, `TextFinetune` for `jobs::TextFinetune`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// The trainer's name, if there is one.
    pub trainer: Option<&'a str>,
    /// The predictor's name, if there is one.
    pub predictor: Option<&'a str>,
}

impl Config {
    /// Checks that `train` and `run` or `predict` name this program's types. An absent key is valid.
    ///
    /// ```
    /// use cog_train::Config;
    /// use cog_train::config::Names;
    ///
    /// let (config, _) = Config::parse("train: src/main.rs:Finetune", "cog.yaml").unwrap();
    /// let names = Names { trainer: Some("TextFinetune"), predictor: None };
    /// assert_eq!(
    ///     config.verify(&names).unwrap_err().to_string(),
    ///     "1 mistake in `cog.yaml`
    ///   cog.yaml:1:8: `train` names `Finetune`, and this program trains `TextFinetune`
    ///   hint: write `train: \"src/main.rs:TextFinetune\"`"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Every wrong name, at its position.
    pub fn verify(&self, names: &Names<'_>) -> Result<(), ConfigError> {
        ConfigError::unless_empty(&self.file(), self.mismatches(names))
    }

    /// Checks that a driver runs the CUDA version of `build.cuda`. `driver` is the version that the driver supports, such
    /// as `(12, 4)`. Without `build.cuda` every driver is valid.
    ///
    /// A driver runs older versions of CUDA and none newer than itself: within one major version it would run binaries
    /// for its GPU, but kernels are PTX, which an older driver refuses.
    ///
    /// # Errors
    ///
    /// A driver that is too old.
    pub fn cuda_runs_on(&self, driver: (u32, u32)) -> Result<(), ConfigError> {
        let Some(required) = self.build.required_cuda.as_ref().filter(|cuda| cuda.version > driver)
        else {
            return Ok(());
        };
        let note = Note {
            position: required.position.clone(),
            kind: NoteKind::Mistake,
            message: format!(
                "`cuda` asks for CUDA {}.{}, and the driver runs CUDA up to {}.{}",
                required.version.0, required.version.1, driver.0, driver.1
            ),
            hint: Some("install a newer NVIDIA driver, or lower `cuda`".to_owned()),
        };
        ConfigError::unless_empty(&self.file(), vec![note])
    }

    pub(super) fn mismatches(&self, names: &Names<'_>) -> Vec<Note> {
        let train =
            self.train.iter().filter_map(|it| mismatch(it, names.trainer, "trains", "trainer"));
        let predict = self
            .predict
            .iter()
            .filter_map(|it| mismatch(it, names.predictor, "predicts with", "predictor"));
        train.chain(predict).collect()
    }

    pub(super) fn missing_files(&self, exists: impl Fn(&str) -> bool) -> Vec<Note> {
        let references = self.train.iter().chain(&self.predict);
        let missing = references.filter(|reference| !exists(reference.file()));
        missing
            .map(|reference| {
                let message = format!(
                    "`{}` names the file {}, which is not there",
                    reference.key,
                    quoted(reference.file())
                );
                mistake(
                    reference,
                    message,
                    "write its path from the folder of this file".to_owned(),
                )
            })
            .collect()
    }

    pub(super) fn file(&self) -> Arc<str> {
        self.file.clone().unwrap_or_else(|| Arc::from("cog.yaml"))
    }
}

/// Compares a reference with the name that the program has for it, if any.
fn mismatch(reference: &Reference, name: Option<&str>, does: &str, what: &str) -> Option<Note> {
    let key = reference.key;
    let written = reference.name();
    let Some(name) = name else {
        let message = format!("`{key}` names {}, and this program has no {what}", quoted(written));
        let hint = format!("remove `{key}`, or give `run!` a {what}");
        return Some(mistake(reference, message, hint));
    };
    // A type that is named with `r#` in the source is the same name.
    if name.strip_prefix("r#").unwrap_or(name) == written {
        return None;
    }
    let message = format!("`{key}` names {}, and this program {does} `{name}`", quoted(written));
    let hint = example(&format!("{key}: \"{}:{name}\"", reference.file()));
    Some(mistake(reference, message, hint))
}

fn mistake(reference: &Reference, message: String, hint: String) -> Note {
    Note {
        position: reference.position().clone(),
        kind: NoteKind::Mistake,
        message,
        hint: Some(hint),
    }
}
