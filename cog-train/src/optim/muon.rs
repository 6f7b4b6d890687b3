//! Muon: momentum whose singular values are all made about 1.

use candle_core::{Tensor, Var};
use serde::Serialize;

use super::limits::{Limits, Range};
use super::rule::{Rule, Update, exactly, settings};
use crate::error::Error;

/// The factor of the learning rate for a matrix of `rows` by `columns`.
///
/// The example of [`Muon`] chooses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjust {
    /// Times `sqrt(max(1, rows / columns))`, as in Jordan's own form. Learning rates are much larger than AdamW's.
    #[default]
    Original,
    /// Times `0.2 * sqrt(max(rows, columns))`, so that a step is as large as one of AdamW's, and one learning rate serves
    /// both (Liu et al., "Muon is Scalable for LLM Training", 2025).
    MatchRmsAdamw,
}

/// Momentum made orthogonal, for matrices inside a network: `torch.optim.Muon` (Jordan et al., "Muon: An optimizer for
/// hidden layers in neural networks", 2024).
///
/// It takes parameters of two dimensions or more; of those with more, the first is the rows and the others together the
/// columns. Embeddings, heads, norms and biases belong to another rule: [`Optimizer::muon`](super::Optimizer::muon).
/// The iteration is in 32 bits, where PyTorch's is in bfloat16.
///
/// ```
/// use cog_train::optim::{Adjust, AdamW, Muon, Optimizer};
///
/// let muon = Muon { adjust: Adjust::MatchRmsAdamw, ..Muon::default() };
/// let optimizer = Optimizer::muon(muon, AdamW::default()); // AdamW for embeddings, norms, biases and the head
/// assert_eq!(optimizer.describe()["other"]["name"], "adamw");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Muon {
    /// The decay of the momentum.
    pub momentum: f64,
    /// Looks ahead along the momentum.
    pub nesterov: bool,
    /// Each step takes this share, times the learning rate before [`adjust`](Self::adjust), of the weight.
    pub weight_decay: f64,
    /// The three coefficients of the iteration `x <- a x + (b g + c g g) x` with `g = x x^T`.
    pub coefficients: [f64; 3],
    /// The number of iterations.
    pub iterations: usize,
    /// The smallest norm that a matrix is divided by.
    pub epsilon: f64,
    /// The factor of the learning rate by shape.
    pub adjust: Adjust,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            momentum: 0.95,
            nesterov: true,
            weight_decay: 0.1,
            coefficients: [3.4445, -4.775, 2.0315],
            iterations: 5,
            epsilon: 1e-7,
            adjust: Adjust::Original,
        }
    }
}

impl Muon {
    /// A matrix with about the same singular vectors, and singular values between 0.5 and 1.5 (Newton and Schulz).
    fn orthogonal(&self, matrix: &Tensor) -> Result<Tensor, Error> {
        let [a, b, c] = self.coefficients;
        let (rows, columns) = matrix.dims2()?;
        // The products are between rows, so the short side is laid there.
        let tall = rows > columns;
        let mut x = if tall { matrix.t()?.contiguous()? } else { matrix.clone() };
        let norm = x.sqr()?.sum_all()?.sqrt()?.maximum(self.epsilon)?;
        x = x.broadcast_div(&norm)?;
        for _ in 0..self.iterations {
            let gram = x.matmul(&x.t()?)?;
            let polynomial = ((&gram * b)? + (gram.matmul(&gram)? * c)?)?;
            x = ((&x * a)? + polynomial.matmul(&x)?)?;
        }
        Ok(if tall { x.t()?.contiguous()? } else { x })
    }

    #[expect(clippy::cast_precision_loss, reason = "dimensions are far below 2^53")]
    fn factor(&self, rows: usize, columns: usize) -> f64 {
        let (rows, columns) = (rows as f64, columns as f64);
        match self.adjust {
            Adjust::Original => (rows / columns).max(1.0).sqrt(),
            Adjust::MatchRmsAdamw => 0.2 * rows.max(columns).sqrt(),
        }
    }
}

impl Rule for Muon {
    fn name(&self) -> &'static str {
        "muon"
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn supports(&self, dims: &[usize]) -> bool {
        dims.len() >= 2
    }

    fn slots(&self, dims: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
        vec![("momentum_buffer", dims.to_vec())]
    }

    fn update(
        &self,
        weight: &Var,
        gradient: &Tensor,
        slots: &[Var],
        at: &Update,
    ) -> Result<(), Error> {
        let [buffer] = exactly(slots)?;
        let gradient = (gradient * at.gradient_scale)?;
        let moved = ((&gradient - buffer.as_tensor())? * (1.0 - self.momentum))?;
        buffer.set(&(buffer.as_tensor() + moved)?)?;
        let direction = if self.nesterov {
            // `gradient.lerp(buffer, momentum)`, from the end that is nearer.
            (buffer.as_tensor() - ((buffer.as_tensor() - &gradient)? * (1.0 - self.momentum))?)?
        } else {
            buffer.as_detached_tensor()
        };
        let matrix = direction.flatten_from(1)?;
        let (rows, columns) = matrix.dims2()?;
        let rate = at.learning_rate * self.factor(rows, columns);
        let change = (self.orthogonal(&matrix)?.reshape(weight.dims())? * rate)?;
        let kept = (weight.as_tensor() * (1.0 - at.learning_rate * at.weight_decay))?;
        weight.set(&(kept - change)?)?;
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        let mut limits = Limits::default();
        limits.number("muon.momentum", self.momentum, Range::Decay);
        limits.number("muon.weight_decay", self.weight_decay, Range::NotNegative);
        for coefficient in self.coefficients {
            limits.number("muon.coefficients", coefficient, Range::Finite);
        }
        limits.at_least("muon.iterations", self.iterations as u64, 1);
        limits.number("muon.epsilon", self.epsilon, Range::Positive);
        limits.finish()
    }

    fn describe(&self) -> serde_json::Value {
        settings(self.name(), self)
    }
}
