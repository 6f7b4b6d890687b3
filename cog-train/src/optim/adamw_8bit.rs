//! AdamW with a state of 8 bits.

use candle_core::{DType, Tensor, Var};
use serde::Serialize;

use super::adamw::AdamW;
use super::rule::{Rule, Update, exactly, settings};
use crate::error::Error;
use cog_train_nn::__private::adamw_8bit;

/// Elements from which on a tensor's state has 8 bits. Less are not worth the loss, as in bitsandbytes.
const SMALLEST: usize = 4096;

/// AdamW whose state takes 2 bytes of memory a parameter instead of 8: `bitsandbytes.optim.AdamW8bit` (Dettmers et al.,
/// "8-bit Optimizers via Block-wise Quantization", 2022).
///
/// Both moments are codes of 8 bits, with a scale in 32 bits for each block of 256 elements; updates are computed in 32 bits.
/// Tensors of fewer than 4,096 elements, such as norms and biases, have the state of [`AdamW`]. The smallest second
/// moments are rounded up, where bitsandbytes rounds them to zero: an update divides by their root.
///
/// A rank keeps the state of whole tensors: rows are not divided.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::engine::Params;
/// use cog_train::optim::{AdamW, AdamW8bit, Optimizer};
///
/// let mut optimizer = Optimizer::new(AdamW8bit(AdamW { weight_decay: 0.1, ..AdamW::default() }));
/// let weight = Tensor::zeros((64, 64), DType::F32, &Device::Cpu)?;
/// let params = Params::new([("weight", weight)])?;
/// optimizer.prepare(&params)?;
/// let bytes: usize =
///     optimizer.state().values().map(|it| it.elem_count() * it.dtype().size_in_bytes()).sum();
/// assert_eq!(bytes, 2 * 4096 + 2 * 4 * 16);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct AdamW8bit(
    /// The hyperparameters.
    pub AdamW,
);

impl Rule for AdamW8bit {
    fn name(&self) -> &'static str {
        "adamw_8bit"
    }

    fn weight_decay(&self) -> f64 {
        self.0.weight_decay
    }

    fn slots(&self, dims: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        let count: usize = dims.iter().product();
        if count < SMALLEST {
            return self.0.slots(dims);
        }
        let blocks = vec![count.div_ceil(adamw_8bit::BLOCK)];
        vec![
            ("exp_avg_codes", dims.to_vec()),
            ("exp_avg_scales", blocks.clone()),
            ("exp_avg_sq_codes", dims.to_vec()),
            ("exp_avg_sq_scales", blocks),
        ]
    }

    fn slot_dtype(&self, slot: &str) -> DType {
        if slot.ends_with("_codes") { DType::U8 } else { DType::F32 }
    }

    fn update(
        &self,
        weight: &Var,
        gradient: &Tensor,
        slots: &[Var],
        at: &Update,
    ) -> Result<(), Error> {
        if weight.elem_count() < SMALLEST {
            return self.0.update(weight, gradient, slots, at);
        }
        let [first, first_scales, second, second_scales] = exactly(slots)?;
        let moments = adamw_8bit::Moments { first, first_scales, second, second_scales };
        Ok(adamw_8bit::update(weight, gradient, moments, &self.0.hyperparameters(at))?)
    }

    fn check(&self) -> Result<(), Error> {
        self.0.check()
    }

    fn describe(&self) -> serde_json::Value {
        settings(self.name(), &self.0)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::{Optimizer, Rule};
    use super::*;
    use crate::params::{Gradients, Params};
    use cog_train_nn::rng::Rng;

    const DIMS: [(&str, &[usize]); 2] = [("matrix", &[70, 64]), ("bias", &[64])];

    /// Least squares: the weights approach targets of very different sizes.
    fn train(rule: impl Rule + 'static, cut: bool) -> (Vec<f32>, Vec<f32>) {
        let draw = |at: u64, dims: &[usize]| {
            let mut stream = Rng::new(5, "test").at(at);
            stream.normal_tensor(dims, 0.0, 1.0, DType::F32, &Device::Cpu).unwrap()
        };
        let tensors = DIMS.into_iter().zip(0..);
        let params = Params::new(tensors.map(|((name, dims), at)| (name, draw(at, dims)))).unwrap();
        let target = |dims: &[usize]| draw(9, dims).powf(3.0).unwrap();
        let mut optimizer = Optimizer::new(rule);
        optimizer.prepare(&params).unwrap();
        let mut losses = Vec::new();
        for step in 1..=60 {
            if cut && step == 30 {
                let copies = optimizer.state().into_iter();
                let copies = copies.map(|(name, tensor)| (name, tensor.copy().unwrap())).collect();
                optimizer.prepare(&params).unwrap();
                optimizer.restore(copies).unwrap();
            }
            let mut loss = 0.0;
            let gradients: Gradients = DIMS
                .into_iter()
                .map(|(name, dims)| {
                    let weight = params.get(name).unwrap().compute();
                    let noise = (draw(100 + step, dims) * 0.1).unwrap();
                    let error = ((weight - target(dims)).unwrap() + noise).unwrap();
                    loss += error.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap();
                    (name.to_owned(), error)
                })
                .collect();
            losses.push(loss);
            optimizer.step(&params, &gradients, step, 0.05, 1.0).unwrap();
        }
        let weights = &params.masters()["matrix"];
        (losses, weights.flatten_all().unwrap().to_vec1().unwrap())
    }

    #[test]
    fn the_loss_falls_as_with_a_state_of_32_bits() {
        let (wide, narrow) =
            (train(AdamW::default(), false).0, train(AdamW8bit::default(), false).0);
        for (at, (wide, narrow)) in wide.iter().zip(&narrow).enumerate() {
            assert!((wide - narrow).abs() < 0.01 * wide, "step {at}: {wide} {narrow}");
        }
        assert!(narrow[59] < 0.5 * narrow[0] && wide != narrow, "{narrow:?}");
    }

    #[test]
    fn a_restored_state_continues_bit_for_bit() {
        let (straight, cut) =
            (train(AdamW8bit::default(), false), train(AdamW8bit::default(), true));
        assert_eq!(straight, cut);
    }

    #[test]
    fn small_tensors_have_the_state_of_adamw() {
        assert_eq!(AdamW8bit::default().slots(&[64, 63]), AdamW::default().slots(&[64, 63]));
        assert_eq!(AdamW8bit::default().slots(&[64, 64])[1], ("exp_avg_scales", vec![16]));
        assert_eq!(AdamW8bit::default().slots(&[4097])[3], ("exp_avg_sq_scales", vec![17]));
    }
}
