//! The loss of the next tokens.

use cog_train::engine::{EvalScores, Loss, Objective, StepContext};
use cog_train::models::CausalLm;
use cog_train::nn::CrossEntropy;
use cog_train::prelude::*;
use cog_train::text::CausalBatch;

/// The cross-entropy of the next tokens, smoothed in training. Held-out rows are measured without smoothing, so that the exponential of
/// their loss is the perplexity.
pub struct NextToken<'a> {
    pub model: &'a CausalLm,
    pub label_smoothing: f64,
}

impl NextToken<'_> {
    fn sum(&self, batch: &CausalBatch, label_smoothing: f64) -> Result<Loss> {
        let loss = CrossEntropy::new().label_smoothing(label_smoothing);
        let sum = self.model.loss_by(&loss, &batch.tokens, &batch.targets)?;
        Ok(Loss::sum(sum, batch.targets.count())?)
    }
}

impl Objective<CausalBatch> for NextToken<'_> {
    fn loss(&self, batch: &CausalBatch, _context: &StepContext) -> Result<Loss> {
        self.sum(batch, self.label_smoothing)
    }

    fn evaluate(&self, batch: &CausalBatch, _context: &StepContext) -> Result<EvalScores> {
        Ok(EvalScores::new(&self.sum(batch, 0.0)?)?.with_perplexity())
    }
}
