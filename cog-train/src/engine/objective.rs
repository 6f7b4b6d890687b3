//! What a training makes smaller: the author's loss over a batch.

use std::cell::RefCell;

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use super::loss::Loss;
use super::recompute::{self, Segment};
use crate::error::Error;
use cog_train_nn::rng::{Rng, Stream};

/// The loss of a model over batches of type `B`. A closure `|batch: &B, context: &StepContext| -> Result<Loss>` is one.
///
/// A type of one's own can tell more of the held-out rows than their loss:
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
/// let fitted = fit(training, &side, &mut job)?;
/// assert!(fitted.after["accuracy"] > 0.9); // also `eval_accuracy` in metrics.jsonl
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub trait Objective<B> {
    /// The loss of a batch, over plain candle tensors that depend on [`Params::tensors`](super::Params::tensors).
    ///
    /// # Errors
    ///
    /// What the author's code fails with: it ends the training.
    fn loss(&self, batch: &B, context: &StepContext) -> anyhow::Result<Loss>;

    /// The loss of a batch of held-out rows, and other numbers over it. By default the loss alone.
    ///
    /// # Errors
    ///
    /// What the author's code fails with: it ends the training.
    fn evaluate(&self, batch: &B, context: &StepContext) -> anyhow::Result<EvalScores> {
        Ok(EvalScores::new(&self.loss(batch, context)?)?)
    }
}

impl<B, F: Fn(&B, &StepContext) -> anyhow::Result<Loss>> Objective<B> for F {
    fn loss(&self, batch: &B, context: &StepContext) -> anyhow::Result<Loss> {
        self(batch, context)
    }
}

/// Numbers over held-out rows: each a sum and a weight, `loss` first.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::engine::{Loss, EvalScores};
///
/// let loss = Loss::sum(Tensor::new(12f32, &Device::Cpu)?, 4)?;
/// let scores = EvalScores::new(&loss)?.with("accuracy", 3.0, 4.0); // 3 of 4; batches add up before the quotient
/// # let _ = scores;
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// The example of [`Objective`] returns one.
#[derive(Debug, Clone, Default)]
pub struct EvalScores(Vec<(&'static str, f64, f64)>);

impl EvalScores {
    /// The loss.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn new(loss: &Loss) -> Result<Self, Error> {
        Ok(Self(vec![("loss", loss.value()?, loss.weight())]))
    }

    /// Adds a number: a sum over `weight` rows or tokens, such as how many of them were answered rightly.
    #[must_use]
    pub fn with(mut self, name: &'static str, sum: f64, weight: f64) -> Self {
        self.0.push((name, sum, weight));
        self
    }

    /// Adds those of another batch.
    pub(super) fn add(&mut self, other: Self) {
        for (name, sum, weight) in other.0 {
            match self.0.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, sums, weights)) => {
                    *sums += sum;
                    *weights += weight;
                }
                None => self.0.push((name, sum, weight)),
            }
        }
    }

    /// The means.
    pub(super) fn means(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().map(|(name, sum, weight)| (*name, sum / weight))
    }
}

/// One forward pass over one micro-batch: whether it trains, and where its randomness comes from.
///
/// ```
/// use cog_train::candle_core::{DType, Device};
/// use cog_train::engine::StepContext;
///
/// let pass = StepContext::training(42, 7, 0); // `fit` makes them
/// let mask = |context: &StepContext| context.stream("dropout", 2).uniform_tensor(4, 0.0, 1.0, DType::F32, &Device::Cpu);
/// let again = StepContext::training(42, 7, 0);
/// assert_eq!(mask(&pass)?.to_vec1::<f32>()?, mask(&again)?.to_vec1::<f32>()?);
/// assert!(context.is_training() && !StepContext::evaluation(42).is_training());
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct StepContext {
    training: bool,
    seed: u64,
    step: u64,
    part: u64,
    segments: RefCell<Vec<Segment>>,
}

impl StepContext {
    /// The pass over micro-batch `part` of step `step`, both counted from 0.
    #[must_use]
    pub fn training(seed: u64, step: u64, part: u64) -> Self {
        Self { training: true, seed, step, part, segments: RefCell::default() }
    }

    /// A pass that learns nothing: dropout is off and nothing is computed twice.
    #[must_use]
    pub fn evaluation(seed: u64) -> Self {
        Self { training: false, seed, step: 0, part: 0, segments: RefCell::default() }
    }

    /// Whether this pass trains: dropout and noise are for training alone.
    #[must_use]
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// The number of the step, counted from 0.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Random numbers for a purpose such as `"dropout"` and a place such as the layer's number: a function of the run's
    /// seed, the purpose, the step, the micro-batch and the place, so that a resumed run draws the same.
    #[must_use]
    pub fn stream(&self, purpose: &str, place: u64) -> Stream {
        // 2^32 steps, 2^14 micro-batches and 2^18 places have streams of their own.
        let index = self.step << 32 | (self.part & 0x3fff) << 18 | (place & 0x3_ffff);
        Rng::new(self.seed, purpose).at(index)
    }

    /// Computes `block` on `x` without keeping what is inside it: its backward pass computes it again (activation
    /// checkpointing; Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). The gradients are the same.
    ///
    /// `block` must give the same each time: what is random in it comes from [`StepContext::stream`]. It may use parameters
    /// and anything else it holds; candle's tensors and layers are cheap to clone into it. In evaluation it is just
    /// called.
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor, Var};
    /// use cog_train::engine::StepContext;
    ///
    /// let weight = Var::ones((4, 4), DType::F32, &Device::Cpu)?;
    /// let pass = StepContext::training(42, 0, 0);
    /// let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu)?;
    /// let w = weight.as_tensor().clone();
    /// let y = context.recompute(&x, move |x| Ok(x.matmul(&w)?.relu()?))?;
    /// let gradients = context.backward(&y.sum_all()?)?;
    /// assert_eq!(gradients.get(&weight).unwrap().to_vec2::<f32>()?, [[2.0; 4]; 4]);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `block` fails with.
    pub fn recompute(
        &self,
        x: &Tensor,
        block: impl Fn(&Tensor) -> anyhow::Result<Tensor> + 'static,
    ) -> anyhow::Result<Tensor> {
        if !self.training {
            return block(x);
        }
        let (segment, output) = Segment::new(x, Box::new(block))?;
        self.segments.borrow_mut().push(segment);
        Ok(output)
    }

    /// The backward pass from `loss`, through what [`StepContext::recompute`] left out.
    ///
    /// # Errors
    ///
    /// What the blocks or the device fail with.
    pub fn backward(&self, loss: &Tensor) -> anyhow::Result<GradStore> {
        let mut gradients = recompute::backward(loss)?;
        for segment in self.segments.take().into_iter().rev() {
            segment.backward(&mut gradients)?;
        }
        Ok(gradients)
    }
}
