//! What a training makes smaller: the author's loss over a batch.

use std::cell::RefCell;

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use super::loss::Loss;
use super::recompute::Segment;
use crate::error::Error;
use crate::rng::{Rng, Stream};

/// The loss of a model over batches of type `B`. A closure `|batch: &B, pass: &Pass| -> Result<Loss>` is one.
pub trait Objective<B> {
    /// The loss of a batch, over plain candle tensors that depend on [`Params::tensors`](super::Params::tensors).
    ///
    /// # Errors
    ///
    /// What the author's code fails with: it ends the training.
    fn loss(&self, batch: &B, pass: &Pass) -> anyhow::Result<Loss>;

    /// The loss of a batch of held-out rows, and other numbers over it. By default the loss alone.
    ///
    /// # Errors
    ///
    /// What the author's code fails with: it ends the training.
    fn evaluate(&self, batch: &B, pass: &Pass) -> anyhow::Result<Scores> {
        Ok(Scores::new(&self.loss(batch, pass)?)?)
    }
}

impl<B, F: Fn(&B, &Pass) -> anyhow::Result<Loss>> Objective<B> for F {
    fn loss(&self, batch: &B, pass: &Pass) -> anyhow::Result<Loss> {
        self(batch, pass)
    }
}

/// Numbers over held-out rows: each a sum and a weight, `loss` first.
#[derive(Debug, Clone, Default)]
pub struct Scores(Vec<(&'static str, f64, f64)>);

impl Scores {
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
#[derive(Debug)]
pub struct Pass {
    training: bool,
    seed: u64,
    step: u64,
    part: u64,
    segments: RefCell<Vec<Segment>>,
}

impl Pass {
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
    /// `block` must give the same each time: what is random in it comes from [`Pass::stream`]. It may use parameters
    /// and anything else it holds; candle's tensors and layers are cheap to clone into it. In evaluation it is just
    /// called.
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor, Var};
    /// use cog_train::engine::Pass;
    ///
    /// let weight = Var::ones((4, 4), DType::F32, &Device::Cpu)?;
    /// let pass = Pass::training(42, 0, 0);
    /// let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu)?;
    /// let w = weight.as_tensor().clone();
    /// let y = pass.recompute(&x, move |x| Ok(x.matmul(&w)?.relu()?))?;
    /// let gradients = pass.backward(&y.sum_all()?)?;
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

    /// The backward pass from `loss`, through what [`Pass::recompute`] left out.
    ///
    /// # Errors
    ///
    /// What the blocks or the device fail with.
    pub fn backward(&self, loss: &Tensor) -> anyhow::Result<GradStore> {
        let mut gradients = loss.backward()?;
        for segment in self.segments.take().into_iter().rev() {
            segment.backward(&mut gradients)?;
        }
        Ok(gradients)
    }
}
