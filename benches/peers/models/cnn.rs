//! J3: three convolutions, two of them pooled, and two linear layers.

use cog_train::anyhow::Result;
use cog_train::candle_core::DType;
use cog_train::engine::Loss;
use cog_train::nn::{self, Conv2d, Linear, max_pool2d, relu};

use super::{Model, Tensors, linear, tensor};
use crate::data::Batch;

pub struct Cnn {
    /// Of the weights: images are read in 32 bits.
    dtype: DType,
    convs: Vec<Conv2d>,
    f1: Linear,
    f2: Linear,
}

impl Cnn {
    pub fn new(tensors: &Tensors) -> Result<Self> {
        let conv = |at| -> Result<Conv2d> {
            let weight = tensor(tensors, &format!("convs.{at}.weight"))?;
            let bias = tensor(tensors, &format!("convs.{at}.bias"))?;
            Ok(Conv2d::from_tensors(weight, Some(bias)).padding(1))
        };
        Ok(Self {
            dtype: tensor(tensors, "convs.0.weight")?.dtype(),
            convs: (0..3).map(conv).collect::<Result<_>>()?,
            f1: linear(tensors, "f1")?,
            f2: linear(tensors, "f2")?,
        })
    }
}

impl Model for Cnn {
    fn loss(&self, batch: &Batch) -> Result<Loss> {
        let (images, labels) = (&batch["images"], &batch["labels"]);
        let sum = nn::trace([&images.to_dtype(self.dtype)?], |[images]| {
            let mut x = max_pool2d(&self.convs[0].forward_relu(&images)?, 2, 2, 0)?;
            x = max_pool2d(&self.convs[1].forward_relu(&x)?, 2, 2, 0)?;
            x = self.convs[2].forward_relu(&x)?;
            let rows = x.dims()[0];
            let x = relu(&self.f1.forward(&nn::reshape(&x, (rows, ()))?)?)?;
            nn::cross_entropy(&self.f2.forward(&x)?, labels)
        })?;
        Ok(Loss::sum(sum, labels.elem_count())?)
    }
}
