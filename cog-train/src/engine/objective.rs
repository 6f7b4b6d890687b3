//! The objective of a training: the author's loss over a batch.

use std::ops::ControlFlow;

use super::context::StepContext;
use super::evaluation::EvalScores;
use super::loss::Loss;

/// The loss of a model over batches of type `B`. A closure `|batch: &B, context: &StepContext| -> Result<Loss>` is one; so
/// is what [`loss_fn`] makes of a closure.
///
/// A custom type can measure more than the loss on held-out rows:
///
/// ```
/// use cog_train::candle_core::{DType, Tensor};
/// use cog_train::engine::{Loss, Objective, StepContext, EvalScores};
/// use cog_train::prelude::*;
/// # use cog_train::data::{Batching, Loader, Rows};
/// # use cog_train::optim::{AdamW, Optimizer};
/// # use cog_train::engine::{Params, TrainingConfig, Training, fit};
///
/// /// On which side of a line a point lies: 1 or -1.
/// struct Side {
///     weight: Tensor,
/// }
///
/// /// Points, `f32` of the shape (rows, 2), and their sides, `f32` of the shape (rows,).
/// type Batch = (Tensor, Tensor);
///
/// impl Objective<Batch> for Side {
///     fn loss(&self, (points, sides): &Batch, _context: &StepContext) -> Result<Loss> {
///         let errors = (points.matmul(&self.weight)?.squeeze(1)? - sides)?;
///         Ok(Loss::sum(errors.sqr()?.sum_all()?, sides.dim(0)?)?)
///     }
///
///     fn evaluate(&self, batch: &Batch, context: &StepContext) -> Result<EvalScores> {
///         let (points, sides) = batch;
///         let right = (points.matmul(&self.weight)?.squeeze(1)? * sides)?.gt(0.0)?;
///         let right = right.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
///         Ok(EvalScores::new(&self.loss(batch, context)?)?.with("accuracy", right, sides.dim(0)? as f64))
///     }
/// }
/// # let dir = tempfile::tempdir()?;
/// # let mut job = Job::for_test(dir.path());
/// # let params = Params::new([("weight", Tensor::new(&[[0.1f32], [0.3]], job.device())?)])?;
/// # let batches = || {
/// #     let rows = (0..40u8).map(|i| (f32::from(i % 7) - 3.0, f32::from(i % 5) - 2.5)).collect();
/// #     Loader::new(Rows::new(rows), |rows: Vec<(f32, f32)>, batch| {
/// #         let sides: Vec<f32> = rows.iter().map(|(x, y)| (x + y).signum()).collect();
/// #         let points: Vec<Vec<f32>> = rows.iter().map(|(x, y)| vec![*x, *y]).collect();
/// #         Ok((Tensor::new(points, batch.device())?, Tensor::new(sides, batch.device())?))
/// #     })
/// #     .batch(Batching::Rows(8))
/// # };
/// # let training = Training {
/// #     config: TrainingConfig { epochs: 20, learning_rate: 0.02, ..TrainingConfig::default() },
/// #     params: &params,
/// #     optimizer: Optimizer::new(AdamW::default()),
/// #     train: batches(),
/// #     eval: Some(batches()),
/// # };
///
/// let side = Side { weight: params.tensors()["weight"].clone() };
/// let summary = fit(training, &side, &mut job)?;
/// let eval = summary.final_eval.expect("there are held-out rows");
/// assert!(eval.metrics["accuracy"] > 0.9); // also `eval_accuracy` in metrics.jsonl
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub trait Objective<B> {
    /// Returns the loss of a batch, over plain candle tensors that depend on [`Params::tensors`](super::Params::tensors).
    ///
    /// # Errors
    ///
    /// The author's error, which ends the training.
    fn loss(&self, batch: &B, context: &StepContext) -> anyhow::Result<Loss>;

    /// Returns the scores of a batch of held-out rows. By default the loss alone.
    ///
    /// # Errors
    ///
    /// The author's error, which ends the training.
    fn evaluate(&self, batch: &B, context: &StepContext) -> anyhow::Result<EvalScores> {
        Ok(EvalScores::new(&self.loss(batch, context)?)?)
    }

    /// Called after each step. `Break` ends the training as if this step were its last: the held-out rows are evaluated,
    /// the state is saved, and [`fit`](super::fit()) returns with [`StopReason::Hook`](super::StopReason::Hook).
    ///
    /// A resumed run calls it from the first step after its checkpoint on. It is the same run if the answer follows from
    /// the report alone. It is not called in a dry run.
    fn on_step(&self, report: &StepReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }
}

/// The metrics of a step, for [`Objective::on_step`].
///
/// The example of [`loss_fn`] looks at one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// The number of the step, counted from 1.
    pub step: u64,
    /// The steps of the training.
    pub steps: u64,
    /// The number of the epoch, counted from 1.
    pub epoch: u64,
    /// The mean loss over the batch; NaN if it has no targets.
    pub loss: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The norm of the gradient of the mean loss, before clipping.
    pub grad_norm: f64,
    /// Whether the weights were left as they are, for a reason that `log.txt` gives.
    pub skipped: bool,
}

/// Makes an [`Objective`] of a closure, whose parameters need no types but the batch's.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::data::{Batching, Loader, Rows};
/// use cog_train::engine::{Loss, Params, StopReason, Training, TrainingConfig, fit, loss_fn};
/// use cog_train::optim::{Optimizer, Sgd};
/// use cog_train::prelude::*;
///
/// # let dir = tempfile::tempdir()?;
/// # let mut job = Job::for_test(dir.path());
/// let params = Params::new([("guess", Tensor::zeros((), DType::F32, job.device())?)])?;
/// let guess = params.tensors()["guess"].clone();
/// let loss = loss_fn(|rows: &Tensor, _| Ok(Loss::sum(rows.broadcast_sub(&guess)?.sqr()?.sum_all()?, rows.dim(0)?)?))
///     .on_step(|report| if report.loss < 0.5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
///
/// let train = Loader::new(Rows::new(vec![3f32; 8]), |rows: Vec<f32>, batch| Ok(Tensor::new(rows, batch.device())?))
///     .batch(Batching::Rows(8));
/// let training = Training {
///     config: TrainingConfig { epochs: 1000, learning_rate: 0.1, ..TrainingConfig::default() },
///     params: &params,
///     optimizer: Optimizer::new(Sgd::default()),
///     train,
///     eval: None,
/// };
/// let summary = fit(training, &loss, &mut job)?;
/// assert_eq!((summary.stop_reason, summary.steps), (StopReason::Hook, 8)); // the loss is 9 at first, and 0.64 times as much after each step
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub fn loss_fn<B, F>(loss: F) -> LossFn<F>
where
    F: Fn(&B, &StepContext) -> anyhow::Result<Loss>,
{
    LossFn { loss, on_step: |_| ControlFlow::Continue(()) }
}

/// A closure as an [`Objective`]: see [`loss_fn`].
#[derive(Debug, Clone, Copy)]
pub struct LossFn<F, H = fn(&StepReport) -> ControlFlow<()>> {
    loss: F,
    on_step: H,
}

impl<F, H> LossFn<F, H> {
    /// Calls `hook` after each step: see [`Objective::on_step`].
    pub fn on_step<G: Fn(&StepReport) -> ControlFlow<()>>(self, hook: G) -> LossFn<F, G> {
        LossFn { loss: self.loss, on_step: hook }
    }
}

impl<B, F, H> Objective<B> for LossFn<F, H>
where
    F: Fn(&B, &StepContext) -> anyhow::Result<Loss>,
    H: Fn(&StepReport) -> ControlFlow<()>,
{
    fn loss(&self, batch: &B, context: &StepContext) -> anyhow::Result<Loss> {
        (self.loss)(batch, context)
    }

    fn on_step(&self, report: &StepReport) -> ControlFlow<()> {
        (self.on_step)(report)
    }
}

impl<B, F: Fn(&B, &StepContext) -> anyhow::Result<Loss>> Objective<B> for F {
    fn loss(&self, batch: &B, context: &StepContext) -> anyhow::Result<Loss> {
        self(batch, context)
    }
}
