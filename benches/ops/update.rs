//! The work after the backward pass: the norm of the gradients, and `AdamW`.

use std::time::Instant;

use cog_train::anyhow::{Result, ensure};
use cog_train::candle_core::{Device, Shape, Tensor};
use cog_train::engine::{Gradients, Params};
use cog_train::optim::{AdamW, Group, Optimizer, norm};

/// Of every trained tensor, as in `benches/peers`.
const WEIGHT_DECAY: f64 = 0.01;

pub struct Update {
    params: Params,
    gradients: Gradients,
    optimizer: Optimizer,
    step: u64,
}

impl Update {
    pub fn new(weights: &[Shape]) -> Result<Self> {
        let named = |value: f32| {
            weights.iter().enumerate().map(move |(at, shape)| {
                let tensor = Tensor::full(value, shape, &Device::Cpu)?;
                Ok((format!("weight{at:03}"), tensor))
            })
        };
        let params = Params::new(named(0.02).collect::<Result<Vec<_>>>()?)?;
        let gradients = named(0.001).collect::<Result<_>>()?;
        let rule = AdamW { weight_decay: WEIGHT_DECAY, ..AdamW::default() };
        let all = Group::new().weight_decay(WEIGHT_DECAY);
        let mut optimizer = Optimizer::new(rule).group("*", all);
        optimizer.prepare(&params)?;
        Ok(Self { params, gradients, optimizer, step: 0 })
    }

    /// The parameters that are trained.
    pub fn count(&self) -> usize {
        self.params.trainable_count()
    }

    /// The seconds of each.
    pub fn run(&mut self) -> Result<[f64; 2]> {
        self.step += 1;
        let begin = Instant::now();
        let norm = norm(&self.gradients)?;
        let between = Instant::now();
        self.optimizer.step(&self.params, &self.gradients, self.step, 1e-4, 1.0)?;
        let end = Instant::now();
        ensure!(norm.is_finite(), "a norm of {norm}");
        Ok([between - begin, end - between].map(|time| time.as_secs_f64()))
    }
}
