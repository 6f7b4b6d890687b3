//! The program that `run!` describes: its types and its `cog.yaml`.

use crate::predictor::Predictor;
use crate::run::{Kind, Role};
use crate::trainer::Trainer;

/// A binary's trainer, predictor and `cog.yaml`; made by [`run!`](crate::run).
#[derive(Clone)]
pub struct App {
    pub(crate) manifest_dir: &'static str,
    pub(crate) source: &'static str,
    pub(crate) target: Target,
    pub(crate) trainer: Option<Role>,
    pub(crate) predictor: Option<Role>,
    pub(crate) config: Option<EmbeddedConfig>,
}

/// The target of the package that the binary was built from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Target {
    /// Its name; an example's with `_` in place of `-`.
    pub(crate) name: &'static str,
    /// Whether it is a binary of the package and not an example.
    pub(crate) is_bin: bool,
}

/// The `cog.yaml` that was there when the binary was compiled.
#[derive(Clone, Copy)]
pub(crate) struct EmbeddedConfig {
    /// As `run!` names it, beside the source file.
    pub(crate) file: &'static str,
    pub(crate) text: &'static str,
    /// Whether it is the one beside Cargo.toml, which may be another binary's of the package.
    pub(crate) is_shared: bool,
}

impl App {
    /// A binary without trainer and predictor. `manifest_dir` is the folder of `Cargo.toml`, `source` the file that
    /// calls `run!`, as the compiler names it.
    #[must_use]
    pub const fn new(manifest_dir: &'static str, source: &'static str) -> Self {
        let target = Target { name: "", is_bin: false };
        Self { manifest_dir, source, target, trainer: None, predictor: None, config: None }
    }

    /// Sets the target that is compiled: a binary's name, or the name of the crate that another target is.
    #[must_use]
    pub const fn target(
        mut self,
        bin: Option<&'static str>,
        crate_name: Option<&'static str>,
    ) -> Self {
        self.target = match (bin, crate_name) {
            (Some(name), _) => Target { name, is_bin: true },
            (None, Some(name)) => Target { name, is_bin: false },
            (None, None) => Target { name: "", is_bin: false },
        };
        self
    }

    /// Sets the trainer; `name` is the last segment of its path.
    #[must_use]
    pub fn trainer<T: Trainer>(mut self, name: &'static str) -> Self {
        self.trainer = Some(Role::trainer::<T>(name));
        self
    }

    /// Sets the predictor; `name` is the last segment of its path.
    #[must_use]
    pub fn predictor<P: Predictor>(mut self, name: &'static str) -> Self {
        self.predictor = Some(Role::predictor::<P>(name));
        self
    }

    /// Embeds the `cog.yaml` that the source names.
    #[must_use]
    pub fn config(mut self, file: &'static str, text: &'static str) -> Self {
        self.config = Some(EmbeddedConfig { file, text, is_shared: false });
        self
    }

    /// Embeds the `cog.yaml` beside Cargo.toml, which all binaries of the package share.
    #[must_use]
    pub fn shared_config(mut self, file: &'static str, text: &'static str) -> Self {
        self.config = Some(EmbeddedConfig { file, text, is_shared: true });
        self
    }

    pub(crate) fn role(&self, kind: Kind) -> Option<&Role> {
        match kind {
            Kind::Train => self.trainer.as_ref(),
            Kind::Predict => self.predictor.as_ref(),
        }
    }

    /// Returns the role that is called when no command is named.
    pub(crate) fn default_role(&self) -> Option<&Role> {
        self.trainer.as_ref().or(self.predictor.as_ref())
    }
}
