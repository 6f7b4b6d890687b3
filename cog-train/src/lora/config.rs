//! The settings of an adapter.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;

/// PEFT's key for the revision of the base.
const REVISION: &str = "revision";

/// The settings of an adapter, as PEFT's `LoraConfig`.
///
/// ```
/// use cog_train::lora::{Bias, LoraConfig, Modules};
///
/// let config = LoraConfig::new(16)
///     .alpha(32.0)
///     .dropout(0.05)
///     .targets(Modules::AllLinear)
///     .rank_of("down_proj", 32)
///     .bias(Bias::None);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    pub(super) rank: usize,
    pub(super) alpha: f64,
    pub(super) dropout: f64,
    pub(super) targets: Option<Modules>,
    pub(super) exclude: Option<Modules>,
    /// Patterns, of which the first that matches counts.
    pub(super) ranks: Vec<(String, usize)>,
    pub(super) alphas: Vec<(String, f64)>,
    pub(super) layers: Option<Vec<usize>>,
    pub(super) layers_pattern: Vec<String>,
    pub(super) modules_to_save: Vec<String>,
    pub(super) bias: Bias,
    pub(super) rslora: bool,
    pub(super) dora: bool,
    pub(super) initial: InitialValues,
    pub(super) task_type: Option<String>,
    pub(super) base_model: Option<String>,
    /// Whether it was read from a file.
    pub(super) of_file: bool,
    /// The keys of a file that change nothing here.
    pub(super) rest: Map<String, Value>,
}

/// Modules of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Modules {
    /// All linear layers but the output layer (`all-linear`).
    AllLinear,
    /// Names, each of a module or of the end of its path: `q_proj`, `layers.0.mlp.up_proj`.
    Named(Vec<String>),
    /// A regular expression that matches the whole path.
    Regex(String),
}

/// The biases of the base that are trained beside the branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Bias {
    /// None.
    #[default]
    None,
    /// All of the model.
    All,
    /// Those of the adapted layers (`lora_only`).
    Adapted,
}

/// The first values of the branches. `B` is zero, so that a new adapter changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum InitialValues {
    /// `A` as PyTorch's linear layers: uniform within `1 / sqrt(inputs)`.
    #[default]
    Uniform,
    /// `A` from a normal distribution with the standard deviation `1 / rank`.
    Gaussian,
    /// Values of another tool, which can be loaded and not drawn: the text of `init_lora_weights`.
    Other(String),
}

impl Modules {
    /// Modules by name, or by the end of their paths.
    pub fn named<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self::Named(names.into_iter().map(Into::into).collect())
    }

    /// Modules whose whole path matches a regular expression.
    pub fn regex(pattern: impl Into<String>) -> Self {
        Self::Regex(pattern.into())
    }

    /// PEFT's choice for a family, by the `model_type` of its `config.json`.
    ///
    /// ```
    /// use cog_train::lora::Modules;
    /// assert_eq!(Modules::default_of("llama")?, Modules::named(["q_proj", "v_proj"]));
    /// # Ok::<(), cog_train::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for a family without one.
    pub fn default_of(model_type: &str) -> Result<Self, Error> {
        let found = DEFAULTS.iter().find(|(families, _)| families.contains(&model_type));
        let (_, names) = found.ok_or_else(|| Error::InvalidConfig {
            reason: format!(
                "there are no default targets for the model type `{model_type}`\nhint: name the modules, or take `all-linear`"
            ),
        })?;
        Ok(Self::named(names.iter().copied()))
    }
}

/// `TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING` of PEFT for the families here, and those that it lacks, after their
/// nearest.
const DEFAULTS: &[(&[&str], &[&str])] = &[
    (
        &["llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma", "gemma2", "gemma3_text"],
        &["q_proj", "v_proj"],
    ),
    (&["phi3"], &["qkv_proj"]),
    (&["gpt2"], &["c_attn"]),
    (&["bert", "roberta", "xlm-roberta", "vit"], &["query", "value"]),
    (&["distilbert"], &["q_lin", "v_lin"]),
    (&["modernbert"], &["Wqkv"]),
];

impl LoraConfig {
    /// An adapter of a rank. Its alpha is the rank, so that its scale is 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rank is small")]
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            alpha: rank as f64,
            dropout: 0.0,
            targets: None,
            exclude: None,
            ranks: Vec::new(),
            alphas: Vec::new(),
            layers: None,
            layers_pattern: Vec::new(),
            modules_to_save: Vec::new(),
            bias: Bias::None,
            rslora: false,
            dora: false,
            initial: InitialValues::Uniform,
            task_type: None,
            base_model: None,
            of_file: false,
            rest: Map::new(),
        }
    }

    /// Sets alpha: the branches are multiplied by `alpha / rank`.
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }

    /// Drops elements of the branches' inputs with this probability while training.
    #[must_use]
    pub fn dropout(self, p: f64) -> Self {
        Self { dropout: p, ..self }
    }

    /// Chooses the adapted layers.
    #[must_use]
    pub fn targets(self, modules: Modules) -> Self {
        Self { targets: Some(modules), ..self }
    }

    /// Leaves layers out of the targets.
    #[must_use]
    pub fn exclude(self, modules: Modules) -> Self {
        Self { exclude: Some(modules), ..self }
    }

    /// Another rank for layers whose path, or its end, matches a regular expression (`rank_pattern`). The first one that
    /// matches counts.
    #[must_use]
    pub fn rank_of(mut self, pattern: impl Into<String>, rank: usize) -> Self {
        self.ranks.push((pattern.into(), rank));
        self
    }

    /// Another alpha, as [`rank_of`](Self::rank_of) (`alpha_pattern`).
    #[must_use]
    pub fn alpha_of(mut self, pattern: impl Into<String>, alpha: f64) -> Self {
        self.alphas.push((pattern.into(), alpha));
        self
    }

    /// Adapts these blocks only (`layers_to_transform`): the number behind the name of the list in a path, `model.layers.7.`.
    /// For targets by name.
    #[must_use]
    pub fn layers(self, indices: impl IntoIterator<Item = usize>) -> Self {
        Self { layers: Some(indices.into_iter().collect()), ..self }
    }

    /// The names of the lists that [`layers`](Self::layers) counts in (`layers_pattern`), such as `layers`; else any.
    #[must_use]
    pub fn layers_pattern<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        Self { layers_pattern: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// Trains modules in full, and saves them with the adapter: each whose path ends with one of these.
    #[must_use]
    pub fn modules_to_save<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        Self { modules_to_save: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// Trains biases of the base.
    #[must_use]
    pub fn bias(self, bias: Bias) -> Self {
        Self { bias, ..self }
    }

    /// Multiplies the branches by `alpha / sqrt(rank)` (Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning
    /// with LoRA", 2023).
    #[must_use]
    pub fn rslora(self) -> Self {
        Self { rslora: true, ..self }
    }

    /// Trains magnitudes too (Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024).
    #[must_use]
    pub fn dora(self) -> Self {
        Self { dora: true, ..self }
    }

    /// Sets the first values.
    #[must_use]
    pub fn initial(self, initial: InitialValues) -> Self {
        Self { initial, ..self }
    }

    /// The task that PEFT opens the adapter for: `CAUSAL_LM`, `SEQ_CLS`, `TOKEN_CLS`, `FEATURE_EXTRACTION`. A classifier's head is
    /// trained in full and saved.
    #[must_use]
    pub fn task_type(self, task: impl Into<String>) -> Self {
        Self { task_type: Some(task.into()), ..self }
    }

    /// Records that the base stores the weights of its layers transposed, as GPT-2's `Conv1D`, for `fan_in_fan_out`: PEFT warns of
    /// an adapter of such layers without it. It changes nothing that is computed here.
    #[must_use]
    pub fn fan_in_fan_out(mut self, on: bool) -> Self {
        self.rest.insert("fan_in_fan_out".to_owned(), on.into());
        self
    }

    /// The folder or the hub's name of the base, for `base_model_name_or_path`. The revision of `org/name@revision` has a key of its
    /// own, `revision`, as in PEFT.
    #[must_use]
    pub fn base_model(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        let name = name.strip_prefix("hf://").map(str::to_owned).unwrap_or(name);
        let (id, revision) = match name.split_once('@').filter(|_| !Path::new(&name).exists()) {
            Some((id, revision)) => (id.to_owned(), Value::from(revision)),
            None => (name, Value::Null),
        };
        self.rest.insert(REVISION.to_owned(), revision);
        Self { base_model: Some(id), ..self }
    }

    /// Returns the base's folder or its name on a hub, `org/name@revision` where a revision is named.
    #[must_use]
    pub fn base_model_name(&self) -> Option<String> {
        let name = self.base_model.as_deref().filter(|name| !name.is_empty())?;
        let revision = self.rest.get(REVISION).and_then(Value::as_str);
        Some(match revision.filter(|revision| !revision.is_empty() && !Path::new(name).exists()) {
            Some(revision) => format!("{name}@{revision}"),
            None => name.to_owned(),
        })
    }
}

pub(super) fn invalid(reason: String) -> Error {
    Error::InvalidConfig { reason }
}
