//! The objective of a classifier.

use candle_core::Tensor;
use cog_train_nn::CrossEntropy;

use super::context::StepContext;
use super::evaluation::EvalScores;
use super::loss::Loss;
use super::objective::Objective;
use crate::error::Error;
use crate::metrics::ConfusionMatrix;

/// The objective of a classifier: a cross-entropy to train by, and a confusion matrix to evaluate by.
///
/// ```
/// use cog_train::candle_core::Tensor;
/// use cog_train::engine::{Classification, Objective, StepContext};
/// use cog_train::nn::CrossEntropy;
/// # use cog_train::candle_core::{Device, Result};
///
/// # let model = |x: &Tensor| -> Result<Tensor> { Ok(x.clone()) };
/// /// Rows and their classes.
/// type Batch = (Tensor, Tensor);
/// let objective = Classification::new(|(rows, labels): &Batch, _| Ok((model(rows)?, labels.clone())))
///     .cross_entropy(CrossEntropy::new().label_smoothing(0.1))
///     .labels(["cat", "dog"]);
/// # let batch = (Tensor::new(&[[2f32, 0.0]], &Device::Cpu)?, Tensor::new(&[0u32], &Device::Cpu)?);
/// # assert!(objective.loss(&batch, &StepContext::training(1, 0, 0))?.value()? > 0.0);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Classification<F> {
    classify: F,
    loss: CrossEntropy,
    labels: Vec<String>,
}

impl<F> Classification<F> {
    /// Takes the model as a closure from a batch to scores `[B, classes]` and the class of each row, `[B]` of integers.
    pub fn new<B>(classify: F) -> Self
    where
        F: Fn(&B, &StepContext) -> anyhow::Result<(Tensor, Tensor)>,
    {
        Self { classify, loss: CrossEntropy::new(), labels: Vec::new() }
    }

    /// Sets class weights and label smoothing. Rows count by the weights of their classes.
    #[must_use]
    pub fn cross_entropy(mut self, loss: CrossEntropy) -> Self {
        self.loss = loss;
        self
    }

    /// Names the classes, for the confusion matrix.
    #[must_use]
    pub fn labels<N: ToString>(mut self, labels: impl IntoIterator<Item = N>) -> Self {
        self.labels = labels.into_iter().map(|label| label.to_string()).collect();
        self
    }

    fn loss_of(&self, logits: &Tensor, labels: &Tensor) -> Result<Loss, Error> {
        Loss::weighted(&self.loss.forward(logits, labels)?, self.loss.weight_of(labels)?)
    }
}

impl<B, F> Objective<B> for Classification<F>
where
    F: Fn(&B, &StepContext) -> anyhow::Result<(Tensor, Tensor)>,
{
    fn loss(&self, batch: &B, context: &StepContext) -> anyhow::Result<Loss> {
        let (logits, labels) = (self.classify)(batch, context)?;
        Ok(self.loss_of(&logits, &labels)?)
    }

    fn evaluate(&self, batch: &B, context: &StepContext) -> anyhow::Result<EvalScores> {
        let (logits, labels) = (self.classify)(batch, context)?;
        let matrix = ConfusionMatrix::of(&logits, &labels)?.with_labels(&self.labels);
        Ok(EvalScores::new(&self.loss_of(&logits, &labels)?)?.with_metric(matrix))
    }
}
