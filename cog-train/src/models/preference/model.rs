//! The preference losses of a language model.

use cog_train_nn as nn;
use cog_train_nn::__private::tape::without_gradients;

use super::{AnswerLogProbs, PreferenceBatch, PreferenceLoss, check_beta, dpo_loss, orpo_loss};
use crate::error::Error;
use crate::models::causal_lm::CausalLm;

impl CausalLm {
    /// Computes the log-probabilities of the answers, each added up over its tokens.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::log_probs`].
    pub fn answer_log_probs(&self, batch: &PreferenceBatch) -> Result<AnswerLogProbs, Error> {
        AnswerLogProbs::split(&self.log_probs(batch.tokens(), batch.targets())?)
    }

    /// Computes the same as an evaluation: without dropout and without a gradient.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::log_probs`].
    pub fn reference_log_probs(&self, batch: &PreferenceBatch) -> Result<AnswerLogProbs, Error> {
        nn::evaluation(|| without_gradients(|| self.answer_log_probs(batch)))
    }

    /// Computes the loss of direct preference optimization, [`dpo_loss`](super::dpo_loss()).
    ///
    /// The reference is the one of the batch. Without one it is this model with its adapter switched off: the base before the
    /// training, of which there is no second copy. TRL's `DPOTrainer` does the same with a new adapter; for one that was trained before, it
    /// compares with that adapter, as [`PreferenceBatch::with_reference`] can. A margin is the difference of the answers' rewards.
    ///
    /// ```no_run
    /// use cog_train::engine::{EvalScores, Loss, Objective, StepContext};
    /// use cog_train::models::{CausalLm, PreferenceBatch};
    /// use cog_train::prelude::*;
    ///
    /// struct Dpo(CausalLm);
    ///
    /// impl Objective<PreferenceBatch> for Dpo {
    ///     fn loss(&self, batch: &PreferenceBatch, _context: &StepContext) -> Result<Loss> {
    ///         Ok(Loss::sum(self.0.dpo_loss(batch, 0.1)?.sum, batch.pairs())?)
    ///     }
    ///
    ///     fn evaluate(&self, batch: &PreferenceBatch, _context: &StepContext) -> Result<EvalScores> {
    ///         let (loss, pairs) = (self.0.dpo_loss(batch, 0.1)?, batch.pairs() as f64);
    ///         Ok(EvalScores::new(&Loss::sum(loss.sum.clone(), batch.pairs())?)?
    ///             .with("reward_accuracy", loss.agreements()? as f64, pairs)
    ///             .with("reward_margin", loss.margin_sum()?, pairs))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when `beta` is not above zero, and when the batch has no reference and the model with its adapter
    /// switched off is not one: there is no adapter, or other tensors are trained beside it. Those of [`CausalLm::log_probs`].
    pub fn dpo_loss(&self, batch: &PreferenceBatch, beta: f64) -> Result<PreferenceLoss, Error> {
        check_beta(beta)?;
        let reference = if let Some(reference) = batch.reference() {
            reference.clone()
        } else {
            self.adapter_base().check()?;
            nn::without_low_rank(|| self.reference_log_probs(batch))?
        };
        dpo_loss(&self.answer_log_probs(batch)?, &reference, beta)
    }

    /// Computes the loss of ORPO (Hong et al., "ORPO: Monolithic Preference Optimization without Reference Model", 2024): for each
    /// pair, the mean cross-entropy of the chosen answer's tokens, plus [`orpo_loss`](super::orpo_loss()) times `beta`, the
    /// paper's lambda. A margin is the difference of the answers' log-odds.
    ///
    /// TRL's `ORPOTrainer` has the prompt's tokens in the cross-entropy too, and its mean over all tokens of a batch.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when `beta` is not above zero; those of [`CausalLm::log_probs`].
    pub fn orpo_loss(&self, batch: &PreferenceBatch, beta: f64) -> Result<PreferenceLoss, Error> {
        check_beta(beta)?;
        let sums = self.log_probs(batch.tokens(), batch.targets())?;
        let means = AnswerLogProbs::split(&(sums / batch.lengths())?)?;
        let mut loss = orpo_loss(&means, beta)?;
        loss.sum = (loss.sum - means.chosen.sum_all()?)?;
        Ok(loss)
    }
}
