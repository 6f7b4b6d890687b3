//! Losses of preferences: of two answers to one prompt, one is chosen and the other rejected.
//!
//! They are functions of the log-probabilities that a model gives the answers, which [`CausalLm::log_probs`] computes.
//!
//! [`CausalLm::log_probs`]: super::CausalLm::log_probs

mod batch;
mod model;

use candle_core::{DType, Device, Error as TensorError, Tensor};

use crate::error::Error;

pub use batch::PreferenceBatch;

/// The log-probabilities of the answers of a batch, `[B]` of floats each.
#[derive(Debug, Clone)]
pub struct AnswerLogProbs {
    /// Of the answers that are chosen.
    pub chosen: Tensor,
    /// Of the answers that are rejected.
    pub rejected: Tensor,
}

impl AnswerLogProbs {
    /// Makes them of numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn new(chosen: &[f32], rejected: &[f32], device: &Device) -> Result<Self, Error> {
        Ok(Self { chosen: Tensor::new(chosen, device)?, rejected: Tensor::new(rejected, device)? })
    }

    /// Splits the log-probabilities of a batch `[2 B]` that holds the chosen answers, then the rejected ones, in the same
    /// order.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the number of rows is odd.
    pub fn split(log_probs: &Tensor) -> Result<Self, Error> {
        let rows = log_probs.dim(0)?;
        if rows % 2 != 0 {
            let reason = format!("{rows} answers cannot be split into pairs");
            return Err(TensorError::Msg(reason).into());
        }
        let part = |from| log_probs.narrow(0, from, rows / 2);
        Ok(Self { chosen: part(0)?, rejected: part(rows / 2)? })
    }

    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor, TensorError>) -> Result<Self, TensorError> {
        Ok(Self { chosen: f(&self.chosen)?, rejected: f(&self.rejected)? })
    }

    /// The difference of the chosen answers and the rejected ones.
    fn margins(&self) -> Result<Tensor, TensorError> {
        &self.chosen - &self.rejected
    }
}

/// A loss of preferences, and what it was computed from.
#[derive(Debug, Clone)]
pub struct PreferenceLoss {
    /// The loss, added up over the pairs, of 32 bits.
    pub sum: Tensor,
    /// The preference of each chosen answer to the rejected one, as the loss measures it: above zero where the model agrees.
    /// `[B]`, of 64 bits, without a gradient.
    pub margins: Tensor,
}

impl PreferenceLoss {
    /// Counts the pairs of which the model prefers the chosen answer.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn agreements(&self) -> Result<usize, Error> {
        Ok(self.margins.to_vec1::<f64>()?.iter().filter(|margin| **margin > 0.0).count())
    }

    /// Adds the margins up over the pairs.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn margin_sum(&self) -> Result<f64, Error> {
        Ok(self.margins.to_vec1::<f64>()?.iter().sum())
    }
}

/// Computes the loss of direct preference optimization (Rafailov et al., "Direct Preference Optimization", 2023; TRL's
/// `loss_type="sigmoid"`): `-log sigmoid(beta (policy margin - reference margin))`.
///
/// The log-probabilities are sums over the tokens of an answer. The reference is the model before the training. No gradient flows
/// into it. [`CausalLm::dpo_loss`](super::CausalLm::dpo_loss) computes both.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::models::{AnswerLogProbs, dpo_loss};
///
/// let answers = |chosen: f32, rejected: f32| -> Result<_, cog_train::Error> {
///     AnswerLogProbs::split(&Tensor::new(&[chosen, rejected], &Device::Cpu)?)
/// };
/// let (policy, reference) = (answers(-4.0, -9.0)?, answers(-5.0, -6.0)?);
/// let loss = dpo_loss(&policy, &reference, 0.5)?;
/// let expected = (1.0 + (-0.5f32 * (5.0 - 1.0)).exp()).ln();
/// assert!((loss.sum.to_scalar::<f32>()? - expected).abs() < 1e-6);
/// assert_eq!(loss.agreements()?, 1);
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidConfig`] when `beta` is not above zero; [`Error::Tensor`] when the shapes do not fit or the device
/// fails.
pub fn dpo_loss(
    policy: &AnswerLogProbs,
    reference: &AnswerLogProbs,
    beta: f64,
) -> Result<PreferenceLoss, Error> {
    check_beta(beta)?;
    let (policy, reference) = (policy.map(wide)?, reference.map(|x| Ok(wide(x)?.detach()))?);
    let margins = ((policy.margins()? - reference.margins()?)? * beta)?;
    finish(&log_sigmoid(&margins)?.neg()?, &margins)
}

/// Computes the part of ORPO's loss that compares the answers (Hong et al., "ORPO", 2024; TRL's `odds_ratio_loss`):
/// `-beta log sigmoid(log odds(chosen) - log odds(rejected))`. The training's loss is the cross-entropy of the chosen answers
/// plus this: [`CausalLm::orpo_loss`](super::CausalLm::orpo_loss).
///
/// The log-probabilities are means over the tokens of an answer. There is no reference model.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::models::{AnswerLogProbs, orpo_loss};
///
/// let answers = AnswerLogProbs::split(&Tensor::new(&[0.5f32.ln(), 0.2f32.ln()], &Device::Cpu)?)?;
/// let loss = orpo_loss(&answers, 1.0)?; // odds of 1 and of 1/4
/// assert!((loss.sum.to_scalar::<f32>()? - (1.25f32).ln()).abs() < 1e-6);
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`dpo_loss`].
pub fn orpo_loss(policy: &AnswerLogProbs, beta: f64) -> Result<PreferenceLoss, Error> {
    check_beta(beta)?;
    let policy = policy.map(wide)?;
    let margins = policy.map(log_odds)?.margins()?;
    finish(&(log_sigmoid(&margins)? * -beta)?, &margins)
}

fn check_beta(beta: f64) -> Result<(), Error> {
    if beta > 0.0 && beta.is_finite() {
        return Ok(());
    }
    Err(Error::InvalidConfig { reason: format!("`beta` is {beta}, which must be above 0") })
}

/// The differences of sums over long answers lose the digits of 32 bits.
fn wide(x: &Tensor) -> Result<Tensor, TensorError> {
    x.to_dtype(DType::F64)
}

fn finish(losses: &Tensor, margins: &Tensor) -> Result<PreferenceLoss, Error> {
    let sum = losses.sum_all()?.to_dtype(DType::F32)?;
    Ok(PreferenceLoss { sum, margins: margins.detach() })
}

/// `-log(1 + e^-x)`, with `e^m` taken out of the sum so that no exponential overflows. `m` is a constant: a slope of the
/// function at 0, where a training begins, must not be that of a maximum.
fn log_sigmoid(x: &Tensor) -> Result<Tensor, TensorError> {
    let m = x.neg()?.relu()?.detach();
    let sum = (m.neg()?.exp()? + (x.neg()? - &m)?.exp()?)?;
    (sum.log()? + m)?.neg()
}

/// The logarithm of the odds, `log p - log(1 - p)`. A probability of one, which 32 bits round to, counts as one just below.
fn log_odds(log_p: &Tensor) -> Result<Tensor, TensorError> {
    /// Half of the distance of one and the number of 32 bits before it.
    const LARGEST: f64 = -2.98e-8;
    let log_p = log_p.minimum(LARGEST)?;
    let rest = (1.0 - log_p.exp()?)?.log()?;
    log_p - rest
}

#[cfg(test)]
mod tests;
