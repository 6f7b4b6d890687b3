//! Two hidden layers with tanh, from features to a height.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use cog_train::candle_core;
use cog_train::prelude::*;
use cog_train::rng::Rng;

use crate::tides::FEATURES;

/// Variables under names that are sorted: every sum over them is the same sum in each run.
pub struct Network(BTreeMap<&'static str, Var>);

impl Network {
    /// Weights of a spread that keeps the size of what flows through; biases of zero.
    pub fn new(hidden: usize, init: Rng, device: &Device) -> Result<Self> {
        let shapes =
            [("first", FEATURES, hidden), ("second", hidden, hidden), ("third", hidden, 1)];
        let mut variables = BTreeMap::new();
        for ((layer, inputs, outputs), index) in shapes.into_iter().zip(0..) {
            #[expect(clippy::cast_precision_loss, reason = "a layer is far below 2^53 wide")]
            let spread = 1.0 / (inputs as f64).sqrt();
            let (weight, bias) = match layer {
                "first" => ("first.weight", "first.bias"),
                "second" => ("second.weight", "second.bias"),
                _ => ("third.weight", "third.bias"),
            };
            let numbers =
                init.at(index).normal_tensor((inputs, outputs), 0.0, spread, DType::F32, device)?;
            variables.insert(weight, Var::from_tensor(&numbers)?);
            variables.insert(bias, Var::zeros(outputs, DType::F32, device)?);
        }
        Ok(Self(variables))
    }

    pub fn variables(&self) -> &BTreeMap<&'static str, Var> {
        &self.0
    }

    /// Features [rows, `FEATURES`] to heights [rows, 1].
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        let layer = |x: &Tensor, weight, bias| -> Result<Tensor> {
            Ok(x.matmul(&self.0[weight])?.broadcast_add(&self.0[bias])?)
        };
        let x = layer(features, "first.weight", "first.bias")?.tanh()?;
        let x = layer(&x, "second.weight", "second.bias")?.tanh()?;
        layer(&x, "third.weight", "third.bias")
    }
}
