//! The inputs of a training, and what they mean for its parts.

use cog_train::data::Batching;
use cog_train::engine::{Every, Precision, Schedule, TrainingConfig, Warmup};
use cog_train::lora::{LoraConfig, Modules};
use cog_train::nn::BlockLayout;
use cog_train::optim::{Adam, AdamW, AdamW8bit, Optimizer, Sgd};
use cog_train::prelude::*;
use cog_train::text::{ExampleBuilder, Turns};

use super::base::Base;

/// The most tokens of an example, unless `max_length` says otherwise.
const LENGTH: usize = 1024;
/// The name of all linear layers as targets of an adapter.
const ALL_LINEAR: &str = "all-linear";

/// Fine-tunes a language model on texts of your own
#[derive(Debug, Clone, TrainInputs)]
pub struct Inputs {
    /// Model to start from: a folder, a `.gguf` file, or `org/name` or `org/name@revision` on the hub; without it, a small
    /// one that is built in
    pub base_model: Option<String>,
    /// Rows with `text`, `prompt` and `completion`, `messages`, `conversations`, or `instruction` and `output`, or a plain
    /// text file; without it, the model learns to talk like a pirate
    pub train_data: Option<Path>,
    /// Rows to measure on; without it, a tenth of the training data, at most 200 rows
    pub eval_data: Option<Path>,
    /// Tokens that are trained: completions and all of the assistant's turns, the last turn alone, or all tokens
    #[input(default = Trained::Completions)]
    pub train_on: Trained,
    /// Most tokens of an example: 1024, or as many as the model sees if that is fewer
    #[input(ge = 2)]
    pub max_length: Option<usize>,
    /// Fit several short examples into one row
    #[input(default = false)]
    pub packing: bool,
    /// Rank of a LoRA adapter; 0 trains the whole model
    #[input(default = 0, le = 4096)]
    pub lora_rank: usize,
    /// Scale of the adapter, times its rank: twice the rank unless given
    #[input(ge = 0.0)]
    pub lora_alpha: Option<f64>,
    /// Probability to drop an element of an adapter's input
    #[input(default = 0.0, ge = 0.0, le = 0.99)]
    pub lora_dropout: f64,
    /// Adapted layers: `all-linear`, or names such as `q_proj`
    #[input(default = ["all-linear"])]
    pub lora_targets: Vec<String>,
    /// Merge the adapter into its base, for a whole model as the result
    #[input(default = false)]
    pub merge: bool,
    /// Keep the base's weights in 4 bits beside an adapter (QLoRA); those of a GGUF file stay in their blocks anyway
    #[input(default = Quantization::None)]
    pub quantize: Quantization,
    /// Write the result as a GGUF file too, for llama.cpp and Ollama: unless given, if the base is one
    pub gguf: Option<bool>,
    /// Peak learning rate: 2e-5 for a whole model and 2e-4 for an adapter unless given, of the built-in model 5e-3 for both
    #[input(ge = 0.0, le = 1.0)]
    pub learning_rate: Option<f64>,
    /// Passes over the data
    #[input(default = 3, ge = 1, le = 100)]
    pub epochs: u32,
    /// Share of each trained token's target that goes to all tokens alike: `label_smoothing_factor` of transformers
    #[input(default = 0.0, ge = 0.0, le = 1.0)]
    pub label_smoothing: f64,
    /// Examples in each step, or packs of them
    #[input(default = 8, ge = 1, le = 256)]
    pub batch_size: usize,
    /// Most of them that are computed at once; fewer take less memory
    #[input(ge = 1)]
    pub micro_batch: Option<usize>,
    /// Stop after this many steps
    #[input(ge = 1)]
    pub max_steps: Option<u64>,
    /// Type to compute in; trained values are kept in 32 bits
    #[input(default = Precision::F32)]
    pub precision: Precision,
    /// Compute the activations of each layer twice instead of keeping them: less memory, more time
    #[input(default = false)]
    pub checkpoint_layers: bool,
    /// Optimizer
    #[input(default = Method::AdamW)]
    pub optimizer: Method,
    /// Seed of the order of the examples: the same inputs and seed give the same weights
    #[input(default = 42)]
    pub seed: i64,
}

/// The tokens that are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Trained {
    Completions,
    LastTurn,
    All,
}

/// A layout of the base's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Quantization {
    None,
    /// 4 bits, with scales that are quantized too, as bitsandbytes makes them.
    Nf4,
}

impl Quantization {
    pub fn layout(self) -> Option<BlockLayout> {
        match self {
            Self::None => None,
            Self::Nf4 => Some(BlockLayout::Nf4),
        }
    }
}

/// An optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum Method {
    Adam,
    Sgd,
    /// Adam with decoupled weight decay: 0.01 times the learning rate at each step.
    #[choice(rename = "adamw")]
    AdamW,
    /// AdamW whose state has 8 bits: a quarter of its memory.
    #[choice(rename = "adamw_8bit")]
    AdamW8bit,
}

impl Inputs {
    /// A new adapter's settings; `None` when none is wanted.
    pub fn lora(&self) -> Result<Option<LoraConfig>> {
        let rank = self.lora_rank;
        if rank == 0 {
            return Ok(None);
        }
        let targets = match self.lora_targets.as_slice() {
            [] => bail!("`lora_targets` is empty\nhint: name layers, or `{ALL_LINEAR}`"),
            [all] if all == ALL_LINEAR => Modules::AllLinear,
            names => Modules::named(names),
        };
        #[expect(clippy::cast_precision_loss, reason = "a rank is small")]
        let alpha = self.lora_alpha.unwrap_or(2.0 * rank as f64);
        let lora = LoraConfig::new(rank)
            .alpha(alpha)
            .dropout(self.lora_dropout)
            .targets(targets)
            .task_type("CAUSAL_LM");
        Ok(Some(match &self.base_model {
            Some(name) => lora.base_model(name),
            None => lora,
        }))
    }

    /// The most tokens of an example, for a model that sees at most `context`.
    pub fn length(&self, context: usize) -> Result<usize> {
        let length = self.max_length.unwrap_or(LENGTH.min(context));
        ensure!(
            length <= context,
            "`max_length` is {length}, and the model sees at most {context} tokens"
        );
        Ok(length)
    }

    /// Makes examples of rows.
    pub fn builder<'a>(&self, base: &'a Base, length: usize) -> ExampleBuilder<'a> {
        let builder = base.lm.examples(length);
        match self.train_on {
            Trained::Completions => builder,
            Trained::LastTurn => builder.turns(Turns::Last),
            Trained::All => builder.train_all(true),
        }
    }

    /// The settings of the training of an adapter or of a whole model.
    pub fn config(&self, base: &Base, is_adapter: bool) -> TrainingConfig {
        let default = match (&base.name, is_adapter) {
            (None, _) => 5e-3,
            (Some(_), true) => 2e-4,
            (Some(_), false) => 2e-5,
        };
        TrainingConfig {
            epochs: self.epochs.into(),
            max_steps: self.max_steps,
            learning_rate: self.learning_rate.unwrap_or(default),
            schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
            micro_batch: self.micro_batch,
            eval_every: Every::Epoch,
            ..TrainingConfig::default()
        }
    }

    pub fn batching(&self) -> Batching {
        Batching::Rows(self.batch_size)
    }

    pub fn optimizer(&self) -> Optimizer {
        match self.optimizer {
            Method::Adam => Optimizer::new(Adam::default()),
            Method::Sgd => Optimizer::new(Sgd::default()),
            Method::AdamW => Optimizer::new(AdamW::default()),
            Method::AdamW8bit => Optimizer::new(AdamW8bit::default()),
        }
    }
}
