//! Fixtures and comparisons.

use std::path::{Path, PathBuf};

use cog_train::anyhow;
use cog_train::candle_core::{Device, Tensor};
use cog_train::data::{Batching, Collate, Loader, Rows};
use cog_train::engine::{Gradients, Loss, Params, StepContext, Training, TrainingConfig, fit};
use cog_train::models::{CausalLm, Pretrained, Targets, Tokens};
use cog_train::nn::Init;
use cog_train::optim::{AdamW, Group, Optimizer};
use cog_train::{Error, Job};
use serde::Deserialize;

/// Logits are this close to those of transformers.
pub(crate) const LOGITS: f32 = 1e-4;
/// And losses of a training, as a share.
pub(crate) const LOSSES: f64 = 1e-3;

/// The folder of a fixture.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

/// Results of transformers for a language model.
#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) ids: Vec<Vec<u32>>,
    pub(crate) lengths: Vec<usize>,
    labels: Vec<Vec<i64>>,
    /// Of each row, as far as it is not padded.
    pub(crate) logits: Vec<Vec<Vec<f32>>>,
    losses: Vec<f64>,
    pub(crate) gradients: Vec<String>,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Self {
        Self::of_file(&folder(name).join("golden.json"))
    }

    pub(crate) fn of_file(path: &Path) -> Self {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    pub(crate) fn losses(&self) -> &[f64] {
        &self.losses
    }

    pub(crate) fn tokens(&self) -> Tokens {
        Tokens::padded(&self.texts(), 0, &Device::Cpu).unwrap()
    }

    /// The rows without their padding.
    pub(crate) fn texts(&self) -> Vec<Vec<u32>> {
        let rows = self.ids.iter().zip(&self.lengths);
        rows.map(|(ids, length)| ids[..*length].to_vec()).collect()
    }

    pub(crate) fn targets(&self) -> Targets {
        let label = |label: &i64| u32::try_from(*label).unwrap_or(Targets::IGNORED);
        let labels = self.labels.iter().map(|row| row.iter().map(label).collect());
        Targets::of_labels(&labels.collect::<Vec<_>>(), &Device::Cpu).unwrap()
    }

    /// Each token but the first, as the target of the one before.
    pub(crate) fn next_tokens(&self) -> Targets {
        Targets::of_labels(&self.texts(), &Device::Cpu).unwrap()
    }

    /// The greatest distance of logits `[B, T, V]` from those of transformers.
    pub(crate) fn distance(&self, logits: &Tensor) -> f32 {
        let found: Vec<Vec<Vec<f32>>> = logits.to_vec3().unwrap();
        let rows = self.logits.iter().zip(&found).flat_map(|(row, found)| row.iter().zip(found));
        let pairs = rows.flat_map(|(row, found)| row.iter().zip(found));
        pairs.fold(0.0, |most, (expected, found)| most.max((expected - found).abs()))
    }
}

/// The bits of 32-bit floats.
pub(crate) fn bits(tensor: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Builds the model of a folder from its own tensors.
pub(crate) fn load(folder: &Path) -> Result<CausalLm, Error> {
    let base = Pretrained::open(folder)?;
    let tensors = base.tensors(&Device::Cpu)?;
    let init = Init::from_tensors(tensors).quantized(base.quantized(&Device::Cpu)?);
    init.build(|init| CausalLm::new(init, base.config()))
}

/// Compares logits, the losses of 20 steps and the parameters with a gradient.
pub(crate) fn check_causal_lm(name: &str) {
    let golden = Golden::read(name);
    let base = Pretrained::open(folder(name)).unwrap();
    let params = Params::new(base.tensors(&Device::Cpu).unwrap()).unwrap();
    let build = |init: &Init| CausalLm::new(init, base.config());
    let model = Init::from_tensors(params.tensors()).build(build).unwrap();
    let (tokens, targets) = (golden.tokens(), golden.targets());
    let distance = golden.distance(&model.logits(&tokens).unwrap());
    assert!(distance < LOGITS, "{name}: logits are {distance} apart");

    // Computed again or kept, activations give the same bits.
    let checkpointed = model.clone().checkpoint_layers(true);
    let gradients = |model: &CausalLm| {
        let mut store = model.loss(&tokens, &targets).unwrap().backward().unwrap();
        Gradients::take(&params, &mut store).unwrap()
    };
    let (kept, again) = (gradients(&model), gradients(&checkpointed));
    for ((name, kept), (_, again)) in kept.iter().zip(again.iter()) {
        assert_eq!(bits(kept), bits(again), "{name}");
    }
    let nonzero = |gradient: &Tensor| {
        gradient.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.0
    };
    let names: Vec<&str> =
        kept.iter().filter(|(_, gradient)| nonzero(gradient)).map(|(name, _)| name).collect();
    assert_eq!(names, golden.gradients, "{name}: parameters with a gradient");

    // PyTorch's AdamW with its defaults.
    let mut optimizer =
        Optimizer::new(AdamW::default()).group("*", Group::new().weight_decay(0.01));
    optimizer.prepare(&params).unwrap();
    let scale = 1.0 / f64::from(u32::try_from(targets.count()).unwrap());
    for (step, expected) in (1..).zip(&golden.losses) {
        let sum = model.loss(&tokens, &targets).unwrap();
        let loss = f64::from(sum.to_scalar::<f32>().unwrap()) * scale;
        let apart = (loss - expected).abs() / expected;
        assert!(apart < LOSSES, "{name}: step {step}: {loss}, and PyTorch's {expected}");
        let gradients = Gradients::take(&params, &mut sum.backward().unwrap()).unwrap();
        optimizer.step(&params, &gradients, step, 1e-3, scale).unwrap();
    }
}

/// Trains a model by `fit` on rows of 6 tokens, 4 in a batch, from the start or from a checkpoint. It is cancelled in step
/// `stop`.
pub(crate) fn fit_on_rows(
    model: &CausalLm,
    params: &Params,
    rows: u32,
    config: TrainingConfig,
    job: &mut Job,
    stop: Option<u64>,
) -> anyhow::Result<()> {
    let row = |at: u32| (0..6).map(|index| (at * 7 + index * index) % 48).collect::<Vec<u32>>();
    let rows = Rows::new((0..rows).map(row).collect());
    let collate = |rows: Vec<Vec<u32>>, batch: &Collate<'_>| {
        let tokens = Tokens::padded(&rows, 0, batch.device())?;
        Ok((tokens, Targets::of_labels(&rows, batch.device())?))
    };
    let token = job.cancel_token();
    let loss = |(tokens, targets): &(Tokens, Targets), context: &StepContext| {
        if stop == Some(context.step()) {
            token.cancel();
        }
        Ok(Loss::sum(model.loss(tokens, targets)?, targets.count())?)
    };
    let training = Training {
        config,
        params,
        optimizer: Optimizer::new(AdamW::default()),
        train: Loader::new(rows, collate).batch(Batching::Rows(4)),
        eval: None,
    };
    fit(training, &loss, job)?;
    Ok(())
}
