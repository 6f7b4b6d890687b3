//! The moving average of the weights.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};
use serde_json::json;

use super::limits::{Limits, Range};
use super::state::{self, Slot};
use crate::error::Error;
use crate::params::{Param, Params, RowRange};
use cog_train_nn::__private::fused;

/// An exponential moving average of the weights that are trained, often better than the last ones (Polyak and Juditsky,
/// "Acceleration of Stochastic Approximation by Averaging", 1992).
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::engine::Params;
/// use cog_train::optim::Ema;
///
/// let params = Params::new([("x", Tensor::new(&[1f32], &Device::Cpu)?)])?;
/// let mut ema = Ema::new(0.9);
/// ema.prepare(&params)?; // the average begins as the weights
/// let x = params.get("x").unwrap();
/// x.set(&Tensor::new(&[2f32], &Device::Cpu)?)?;
/// ema.update(&params, 1)?;
/// ema.swap(&params)?; // evaluates the average ...
/// assert!((x.master().to_vec1::<f32>()?[0] - 1.1).abs() < 1e-6);
/// ema.swap(&params)?; // ... and back to the weights
/// assert_eq!(x.master().to_vec1::<f32>()?, [2.0]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    warmup: bool,
    averages: BTreeMap<String, Average>,
    swapped: bool,
}

/// The average of one parameter.
#[derive(Debug)]
struct Average {
    dims: Vec<usize>,
    /// The rows that are here; other ranks have the others.
    rows: RowRange,
    /// `None` without rows.
    var: Option<Var>,
}

impl Ema {
    /// Keeps the share `decay`, such as 0.999, of the average at every update.
    #[must_use]
    pub fn new(decay: f64) -> Self {
        Self { decay, warmup: false, averages: BTreeMap::new(), swapped: false }
    }

    /// Keeps at most `(1 + t) / (10 + t)` at update `t`, so that the first weights are forgotten soon (`TensorFlow`'s
    /// `ExponentialMovingAverage` with `num_updates`).
    #[must_use]
    pub fn warmup(mut self) -> Self {
        self.warmup = true;
        self
    }

    /// The share that update `step`, counted from 1, keeps.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^53")]
    pub fn decay(&self, step: u64) -> f64 {
        let step = step as f64;
        if self.warmup { self.decay.min((1.0 + step) / (10.0 + step)) } else { self.decay }
    }

    /// Begins with the weights as they are, in copies.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for a decay that is not from 0 to below 1; [`Error::Tensor`] when the device has no room.
    pub fn prepare(&mut self, params: &Params) -> Result<(), Error> {
        self.prepare_rows(params, |_, param| param.all_rows())
    }

    /// [Prepares](Self::prepare) the averages of the rows that `rows` returns for a name; other ranks have the others.
    pub(crate) fn prepare_rows(
        &mut self,
        params: &Params,
        rows: impl Fn(&str, &Param) -> RowRange,
    ) -> Result<(), Error> {
        let mut limits = Limits::default();
        limits.number("ema", self.decay, Range::Decay);
        limits.finish()?;
        let mut averages = BTreeMap::new();
        for (name, param) in params.trainable() {
            let rows = rows(name, param);
            let is_here = !rows.is_empty() || rows == param.all_rows();
            let var = if is_here { Some(Var::from_tensor(&param.rows(&rows)?)?) } else { None };
            averages.insert(name.to_owned(), Average { dims: param.dims().to_vec(), rows, var });
        }
        (self.averages, self.swapped) = (averages, false);
        Ok(())
    }

    /// Moves the average towards the weights: `average += (1 - decay) * (weight - average)`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when the average and the weights are swapped, or a parameter is new; [`Error::Tensor`] when the
    /// device fails.
    pub fn update(&mut self, params: &Params, step: u64) -> Result<(), Error> {
        if self.swapped {
            return Err(invalid("the weights hold their average: swap them back first"));
        }
        let share = 1.0 - self.decay(step);
        for (name, param) in params.trainable() {
            if let Average { rows, var: Some(average), .. } = self.average(name)? {
                move_towards(average, &param.rows(rows)?, share)?;
            }
        }
        Ok(())
    }

    /// Exchanges the average and the weights; twice is as if never, bit for bit.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when a parameter is new; [`Error::Tensor`] when the device fails.
    pub fn swap(&mut self, params: &Params) -> Result<(), Error> {
        for (name, _) in params.trainable() {
            self.average(name)?;
        }
        for (name, param) in params.trainable() {
            let Average { rows, var: Some(average), .. } = self.average(name)? else { continue };
            let weight = param.rows(rows)?.force_contiguous()?;
            param.set_rows(rows, average)?;
            average.set(&weight)?;
        }
        self.swapped = !self.swapped;
        Ok(())
    }

    /// Whether the weights hold the average.
    #[must_use]
    pub fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// The averages by the parameters' names, or the weights while they are [swapped](Self::swap). They share storage with
    /// this.
    #[must_use]
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let averages = self.slots().into_iter();
        averages.filter_map(|slot| Some((slot.name, slot.var?.as_detached_tensor()))).collect()
    }

    /// Returns all averages, those of other ranks included.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let slot = |(name, Average { dims, rows, var }): (&String, &Average)| Slot {
            name: name.clone(),
            param: name.clone(),
            dims: dims.clone(),
            dtype: DType::F32,
            rows: rows.clone(),
            var: var.clone(),
        };
        self.averages.iter().map(slot).collect()
    }

    /// Restores averages, after [`prepare`](Self::prepare). If one tensor does not fit, none is taken.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when tensors are missing, not expected or of another shape.
    pub fn restore(&mut self, state: BTreeMap<String, Tensor>) -> Result<(), Error> {
        state::restore("moving average", self.slots(), state)
    }

    /// The settings.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        json!({ "decay": self.decay, "warmup": self.warmup })
    }

    /// Returns the average of a parameter.
    fn average(&self, name: &str) -> Result<&Average, Error> {
        let average = self.averages.get(name);
        average.ok_or_else(|| invalid(&format!("the moving average was not prepared for `{name}`")))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
fn move_towards(average: &Var, weight: &Tensor, share: f64) -> Result<(), Error> {
    if fused::fits(average, weight, &[]) {
        let share = share as f32;
        return Ok(fused::each([average], weight, |[average], weight| {
            [average + (weight - average) * share]
        })?);
    }
    let moved = ((weight - average.as_tensor())? * share)?;
    Ok(average.set(&(average.as_tensor() + moved)?)?)
}

fn invalid(reason: &str) -> Error {
    Error::InvalidConfig { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Precision;
    use candle_core::Device;

    fn params() -> Params {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let tensors =
            [("a", tensor(&[0.1, -2.0, 3.3])), ("b", tensor(&[7.7])), ("c", tensor(&[1.0]))];
        Params::new(tensors).unwrap().freeze("c").unwrap().precision(Precision::Bf16).unwrap()
    }

    fn add(params: &Params, number: f64) {
        for (_, param) in params.trainable() {
            param.set(&(param.master() + number).unwrap()).unwrap();
        }
        params.refresh().unwrap();
    }

    fn bits(tensors: &BTreeMap<String, Tensor>) -> Vec<u32> {
        let values = tensors
            .values()
            .flat_map(|tensor| tensor.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap());
        values.map(f32::to_bits).collect()
    }

    #[test]
    fn swapping_twice_restores_every_bit() {
        let params = params();
        let mut ema = Ema::new(0.7);
        ema.prepare(&params).unwrap();
        add(&params, 0.1);
        ema.update(&params, 1).unwrap();
        let (weights, averages) = (bits(&params.masters()), bits(&ema.state()));
        assert_ne!(weights[..4], averages);
        let computes = || {
            let compute = params.get("b").unwrap().compute().to_dtype(DType::F32);
            compute.unwrap().to_vec1::<f32>().unwrap()[0]
        };
        let before = computes();
        ema.swap(&params).unwrap();
        assert_eq!(bits(&params.masters())[..4], averages);
        assert!(computes() < before, "what the model computes with is the average too");
        assert!(ema.update(&params, 2).is_err());
        ema.swap(&params).unwrap();
        assert_eq!((bits(&params.masters()), bits(&ema.state())), (weights, averages));
    }

    /// A run that is cut in two has the average of the whole one.
    #[test]
    fn a_restored_average_continues_bit_for_bit() {
        let run = |cut: bool| {
            let params = params();
            let mut ema = Ema::new(0.9).warmup();
            ema.prepare(&params).unwrap();
            for step in 1..=20 {
                if cut && step == 11 {
                    let state = ema.state();
                    let state = state.into_iter().map(|(name, t)| (name, t.copy().unwrap()));
                    let state: BTreeMap<_, _> = state.collect();
                    ema = Ema::new(0.9).warmup();
                    ema.prepare(&params).unwrap();
                    ema.restore(state).unwrap();
                }
                add(&params, 0.03);
                ema.update(&params, step).unwrap();
            }
            bits(&ema.state())
        };
        assert_eq!(run(false), run(true));
    }

    #[test]
    fn warmup_gives_way_to_the_decay() {
        let ema = Ema::new(0.99).warmup();
        assert!((ema.decay(1) - 2.0 / 11.0).abs() < 1e-12);
        assert!((ema.decay(10_000) - 0.99).abs() < 1e-12);
        assert!((Ema::new(0.99).decay(1) - 0.99).abs() < 1e-12);
    }
}
