//! The jobs: a pretrained model with what is trained of it.

use std::path::Path;

use cog_train::anyhow::{Result, bail};
use cog_train::candle_core::Device;
use cog_train::engine::{Loss, Params, Precision};
use cog_train::lora::LoraConfig;
use cog_train::models::{CausalLm, Pretrained, SequenceClassifier};
use cog_train::nn::Init;

use crate::data::{Batch, Labels};

/// The sum of the losses of a batch, and how many targets there are.
pub trait Model {
    fn loss(&self, batch: &Batch) -> Result<Loss>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Lora,
    Full,
    Classify,
    Packed,
}

impl Job {
    pub const ALL: [Self; 4] = [Self::Lora, Self::Full, Self::Classify, Self::Packed];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|job| job.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Full => "full",
            Self::Classify => "classify",
            Self::Packed => "packed",
        }
    }

    /// The file of its batches.
    pub fn data(self) -> &'static str {
        if self == Self::Full { "lora" } else { self.name() }
    }

    /// As `shapes.py` has it.
    pub fn learning_rate(self) -> f64 {
        match self {
            Self::Lora | Self::Packed => 2e-4,
            Self::Full => 2e-5,
            Self::Classify => 5e-5,
        }
    }

    /// Loads the model from the folder that `make.py` wrote. `checkpointed` sets activation checkpointing.
    pub fn load(self, folder: &Path, checkpointed: bool) -> Result<(Params, Box<dyn Model>)> {
        let device = &Device::Cpu;
        if self == Self::Classify {
            let base = Pretrained::open(folder.join("classifier"))?;
            let params = Params::new(
                base.tensors_of(device, |init| SequenceClassifier::new(init, base.config()))?,
            )?;
            let model = Init::from_tensors(params.tensors())
                .build(|init| SequenceClassifier::new(init, base.config()))?;
            return Ok((params, Box::new(model.checkpoint_layers(checkpointed))));
        }
        let base = Pretrained::open(folder.join("language"))?;
        let build = |init: &Init| CausalLm::new(init, base.config());
        let (params, model) = if self == Self::Full {
            let params = Params::new(base.tensors(device)?)?;
            let model = Init::from_tensors(params.tensors()).build(build)?;
            (params, model)
        } else {
            let adapter = LoraConfig::open(folder.join("adapter"))?.on(build)?;
            let trained = adapter.load(folder.join("adapter"))?;
            let params = adapter.params(base.tensors(device)?, trained, Precision::F32)?;
            let model = adapter.init(params.tensors()).build(build)?;
            (params, model)
        };
        Ok((params, Box::new(model.checkpoint_layers(checkpointed))))
    }
}

impl Model for CausalLm {
    fn loss(&self, batch: &Batch) -> Result<Loss> {
        let Labels::Next(targets) = &batch.labels else { bail!("labels of texts") };
        Ok(Loss::sum(self.loss(&batch.tokens, targets)?, targets.count())?)
    }
}

impl Model for SequenceClassifier {
    fn loss(&self, batch: &Batch) -> Result<Loss> {
        let Labels::Classes(labels) = &batch.labels else { bail!("labels of tokens") };
        Ok(Loss::sum(self.loss(&batch.tokens, labels)?, labels.elem_count())?)
    }
}
