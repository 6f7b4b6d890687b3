//! Adafactor: Adam's second moment from its rows' and columns' means.

use candle_core::{D, Tensor, Var};
use serde::Serialize;

use super::limits::{Limits, Range};
use super::rule::{Rule, Update, exactly, settings};
use crate::error::Error;

/// Adam's divisor from means over rows and columns, so that the state of a matrix is a row and a column:
/// `torch.optim.Adafactor` (Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018).
///
/// The step is relative to the size of the weights, and its learning rate never above `1 / sqrt(step)`. Parameters of
/// more than two dimensions are factored along the last two.
///
/// ```
/// use cog_train::optim::{Adafactor, Optimizer};
///
/// let optimizer = Optimizer::new(Adafactor { weight_decay: 0.01, ..Adafactor::default() });
/// assert_eq!(optimizer.describe()["rule"]["clip"], 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Adafactor {
    /// The means of step `t` move by the share `t ^ beta2_decay`.
    pub beta2_decay: f64,
    /// The smallest divisor.
    pub epsilon1: f64,
    /// The smallest size that a parameter counts as having.
    pub epsilon2: f64,
    /// The root mean square that an update may have before the learning rate is multiplied in (PyTorch's `d`).
    pub clip: f64,
    /// Each step takes this share, times the learning rate, of the weight.
    pub weight_decay: f64,
}

impl Default for Adafactor {
    fn default() -> Self {
        Self {
            beta2_decay: -0.8,
            epsilon1: f64::from(f32::EPSILON),
            epsilon2: 1e-3,
            clip: 1.0,
            weight_decay: 0.0,
        }
    }
}

impl Adafactor {
    /// The mean of the squares of the gradient, as far as it is kept.
    #[expect(clippy::cast_precision_loss, reason = "dimensions are far below 2^53")]
    fn variance(&self, gradient: &Tensor, slots: &[Var], share: f64) -> Result<Tensor, Error> {
        let squares = gradient.sqr()?;
        if gradient.rank() < 2 {
            let [variance] = exactly(slots)?;
            move_towards(variance, &squares, share)?;
            return Ok(variance.as_detached_tensor());
        }
        let [rows, columns] = exactly(slots)?;
        move_towards(
            rows,
            &(squares.sum_keepdim(D::Minus1)? / gradient.dim(D::Minus1)? as f64)?,
            share,
        )?;
        move_towards(
            columns,
            &(squares.sum_keepdim(D::Minus2)? / gradient.dim(D::Minus2)? as f64)?,
            share,
        )?;
        let mean = rows.mean_keepdim(D::Minus2)?.maximum(self.epsilon1)?;
        Ok(rows.matmul(columns)?.broadcast_div(&mean)?)
    }
}

impl Rule for Adafactor {
    fn name(&self) -> &'static str {
        "adafactor"
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn slots(&self, dims: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        let Some(last) = dims.len().checked_sub(2) else {
            return vec![("variance", dims.to_vec())];
        };
        let (mut rows, mut columns) = (dims.to_vec(), dims.to_vec());
        rows[last + 1] = 1;
        columns[last] = 1;
        vec![("row_var", rows), ("col_var", columns)]
    }

    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^53")]
    fn update(
        &self,
        weight: &Var,
        gradient: &Tensor,
        slots: &[Var],
        at: &Update,
    ) -> Result<(), Error> {
        let step = at.step as f64;
        let gradient = (gradient * at.gradient_scale)?;
        // The sizes stay tensors without dimensions: nothing waits for the device.
        let size = root_mean_square(weight)?.maximum(self.epsilon2)?;
        let rate = (size * at.learning_rate.min(1.0 / step.sqrt()))?;
        let variance = self.variance(&gradient, slots, step.powf(self.beta2_decay))?;
        let change = (gradient / variance.maximum(self.epsilon1 * self.epsilon1)?.sqrt()?)?;
        let excess = (root_mean_square(&change)? / self.clip)?.maximum(1.0)?;
        let kept = (weight.as_tensor() * (1.0 - at.learning_rate * at.weight_decay))?;
        weight.set(&(kept - change.broadcast_mul(&(rate / excess)?)?)?)?;
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        let mut limits = Limits::default();
        limits.number("adafactor.beta2_decay", self.beta2_decay, Range::NotPositive);
        limits.number("adafactor.epsilon1", self.epsilon1, Range::Positive);
        limits.number("adafactor.epsilon2", self.epsilon2, Range::NotNegative);
        limits.number("adafactor.clip", self.clip, Range::Positive);
        limits.number("adafactor.weight_decay", self.weight_decay, Range::NotNegative);
        limits.finish()
    }

    fn describe(&self) -> serde_json::Value {
        settings(self.name(), self)
    }
}

fn move_towards(mean: &Var, value: &Tensor, share: f64) -> Result<(), Error> {
    // At the first step the share is 1, and the mean becomes the value exactly, as in PyTorch.
    let moved = if share >= 1.0 {
        value.clone()
    } else {
        (mean.as_tensor() + ((value - mean.as_tensor())? * share)?)?
    };
    Ok(mean.set(&moved)?)
}

fn root_mean_square(tensor: &Tensor) -> Result<Tensor, Error> {
    Ok(tensor.sqr()?.mean_all()?.sqrt()?)
}
