//! The jobs: a pretrained model with what is trained of it.

use std::path::Path;

use cog_train::anyhow::{Result, bail};
use cog_train::candle_core::Device;
use cog_train::engine::{Loss, Params, Precision};
use cog_train::lora::LoraConfig;
use cog_train::models::{CausalLm, Pretrained, SequenceClassifier};
use cog_train::nn::{BlockLayout, Init};

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

/// The type or block layout of the frozen weights of an adapter's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    F32,
    /// All is computed in bfloat16.
    Bf16,
    Nf4,
    Q8,
}

impl Base {
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::Nf4, Self::Q8];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|base| base.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Nf4 => "nf4",
            Self::Q8 => "q8_0",
        }
    }

    fn layout(self) -> Option<BlockLayout> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::Nf4 => Some(BlockLayout::Nf4),
            Self::Q8 => Some(BlockLayout::Q8_0),
        }
    }

    fn precision(self) -> Precision {
        if self == Self::Bf16 { Precision::Bf16 } else { Precision::F32 }
    }
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
    pub fn load(
        self,
        folder: &Path,
        held: Base,
        checkpointed: bool,
    ) -> Result<(Params, Box<dyn Model>)> {
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
        let mut base = Pretrained::open(folder.join("language"))?;
        if let Some(layout) = held.layout() {
            base = base.quantize(layout)?;
        }
        let build = |init: &Init| CausalLm::new(init, base.config());
        let (params, model) = if self == Self::Full {
            let params = Params::new(base.tensors(device)?)?.precision(held.precision())?;
            let model = Init::from_tensors(params.tensors()).build(build)?;
            (params, model)
        } else {
            let adapter = LoraConfig::open(folder.join("adapter"))?.on(build)?;
            let adapter = adapter.quantized(base.quantized(device)?)?;
            let trained = adapter.load(folder.join("adapter"))?;
            let params = adapter.params(base.tensors(device)?, trained, held.precision())?;
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
