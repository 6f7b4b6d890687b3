//! The jobs' models on this crate's blocks, with the names and the numbers of `models.py`.

pub mod bert;
pub mod cnn;
pub mod gpt;
pub mod llama;

use std::collections::BTreeMap;

use cog_train::anyhow::{Context, Result};
use cog_train::candle_core::Tensor;
use cog_train::engine::{Loss, Params};
use cog_train::nn::{LayerNorm, Linear, RmsNorm};

use crate::data::Batch;
use bert::Bert;
use cnn::Cnn;
use gpt::Gpt;
use llama::Llama;

/// The sum of the losses of a batch, and how many targets there are.
pub trait Model {
    fn loss(&self, batch: &Batch) -> Result<Loss>;
}

#[derive(Debug, Clone, Copy)]
pub enum Job {
    J1,
    J2,
    J3,
    J4,
    J5,
}

impl Job {
    pub const ALL: [Self; 5] = [Self::J1, Self::J2, Self::J3, Self::J4, Self::J5];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|job| job.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::J1 => "j1",
            Self::J2 => "j2",
            Self::J3 => "j3",
            Self::J4 => "j4",
            Self::J5 => "j5",
        }
    }

    pub fn learning_rate(self) -> f64 {
        match self {
            Self::J1 | Self::J5 => 3e-4,
            Self::J2 | Self::J3 => 1e-3,
            Self::J4 => 2e-4,
        }
    }

    /// Freezes what the job does not train.
    pub fn freeze(self, params: Params) -> Result<Params> {
        Ok(match self {
            Self::J2 => params.freeze("*.weight")?,
            _ => params,
        })
    }

    pub fn model(self, tensors: &Tensors) -> Result<Box<dyn Model>> {
        Ok(match self {
            Self::J1 => Box::new(Gpt::new(gpt::J1, tensors)?),
            Self::J2 => Box::new(Llama::new(llama::J2, tensors)?),
            Self::J3 => Box::new(Cnn::new(tensors)?),
            Self::J4 => Box::new(Bert::new(tensors)?),
            Self::J5 => Box::new(Llama::new(llama::J5, tensors)?),
        })
    }
}

/// The tensors of a model by name.
pub type Tensors = BTreeMap<String, Tensor>;

fn tensor(tensors: &Tensors, name: &str) -> Result<Tensor> {
    tensors.get(name).cloned().with_context(|| format!("there is no tensor `{name}`"))
}

/// With a bias.
fn linear(tensors: &Tensors, name: &str) -> Result<Linear> {
    let bias = tensor(tensors, &format!("{name}.bias"))?;
    Ok(Linear::from_tensors(tensor(tensors, &format!("{name}.weight"))?, Some(bias)))
}

/// Without a bias.
fn plain(tensors: &Tensors, name: &str) -> Result<Linear> {
    Ok(Linear::from_tensors(tensor(tensors, &format!("{name}.weight"))?, None))
}

fn layer_norm(tensors: &Tensors, name: &str, epsilon: f64) -> Result<LayerNorm> {
    let weight = tensor(tensors, &format!("{name}.weight"))?;
    Ok(LayerNorm::from_tensors(weight, tensor(tensors, &format!("{name}.bias"))?, epsilon))
}

fn rms_norm(tensors: &Tensors, name: &str) -> Result<RmsNorm> {
    Ok(RmsNorm::from_tensors(tensor(tensors, &format!("{name}.weight"))?, 1e-5))
}

/// The positions 0, 1, ... of each row of tokens.
fn positions(ids: &Tensor) -> Result<Tensor> {
    let (_, length) = ids.dims2()?;
    let one_row = Tensor::arange(0, u32::try_from(length)?, ids.device())?;
    Ok(one_row.broadcast_as(ids.shape())?.contiguous()?)
}
