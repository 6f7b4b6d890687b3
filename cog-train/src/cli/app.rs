//! The program that `run!` describes: its types and its `cog.yaml`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::predictor::Predictor;
use crate::run::{Kind, Role};
use crate::trainer::Trainer;

/// A binary's trainer, predictor and `cog.yaml`; made by [`run!`](crate::run).
#[derive(Clone)]
pub struct App {
    pub(crate) manifest_dir: &'static str,
    pub(crate) source: &'static str,
    /// The name of the binary or example that the program was built as; empty when it is not known.
    pub(crate) target: &'static str,
    pub(crate) trainer: Option<Role>,
    pub(crate) predictor: Option<Role>,
    pub(crate) config: Option<EmbeddedConfig>,
    /// The first argument by which one of several programs in a binary is selected.
    pub(crate) command: Option<&'static str>,
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
        Self {
            manifest_dir,
            source,
            target: "",
            trainer: None,
            predictor: None,
            config: None,
            command: None,
        }
    }

    /// Sets the name of the binary or example that is compiled, as cargo gives it.
    #[must_use]
    pub const fn target(mut self, name: Option<&'static str>) -> Self {
        if let Some(name) = name {
            self.target = name;
        }
        self
    }

    /// Sets the trainer; `name` is the last segment of its path.
    #[must_use]
    pub fn trainer<T: Trainer>(mut self, name: &'static str) -> Self {
        self.trainer = Some(Role::trainer::<T>(name));
        self.introduced()
    }

    /// Sets the predictor; `name` is the last segment of its path.
    #[must_use]
    pub fn predictor<P: Predictor>(mut self, name: &'static str) -> Self {
        self.predictor = Some(Role::predictor::<P>(name));
        self.introduced()
    }

    /// Lets the trainer know the inputs of the predictor.
    fn introduced(mut self) -> Self {
        if let Some(trainer) = &mut self.trainer {
            trainer.predictor = self.predictor.map(|predictor| predictor.table);
        }
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

    /// Makes this the program that the first argument `name` selects in the tool. Inputs whose default is a file of the
    /// repository are required there.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn in_tool(mut self, name: &'static str) -> Self {
        use crate::input::{Literal, Spec};
        let is_file = |spec: &Spec| matches!(spec.default, Some(Literal::Str(text)) if text.starts_with("examples/"));
        if let Some(role) = self.trainer.as_mut().filter(|role| role.table.iter().any(is_file)) {
            let mut table = role.table.to_vec();
            for spec in table.iter_mut().filter(|spec| is_file(spec)) {
                spec.default = None;
            }
            // Once in the life of the process.
            role.table = table.leak();
        }
        for role in self.trainer.iter_mut().chain(&mut self.predictor) {
            role.command = Some(name);
        }
        self.command = Some(name);
        self
    }

    /// Returns the arguments of the process. Those of one program of several begin behind its command, which then belongs to the
    /// program's name.
    pub(crate) fn args(&self) -> Vec<OsString> {
        let mut args = std::env::args_os();
        let Some(command) = self.command else { return args.collect() };
        let program = args.next().map(PathBuf::from).unwrap_or_default();
        let mut name = program.file_name().unwrap_or_default().to_owned();
        name.push(" ");
        name.push(command);
        std::iter::once(name).chain(args.skip(1)).collect()
    }

    /// Returns the arguments that make a process of this binary a worker of its server.
    #[cfg(feature = "serve")]
    pub(crate) fn worker_args(&self, worker: &'static str) -> Vec<&'static str> {
        self.command.into_iter().chain([worker]).collect()
    }

    /// Returns the description of the trainer, or of the predictor.
    #[cfg(feature = "cli")]
    pub(crate) fn about(&self) -> &'static str {
        self.default_role().map_or("", |role| role.about)
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
