//! The context of a forward pass: whether it trains, and its random numbers.

use std::cell::RefCell;

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use super::recompute::{self, Segment};
use cog_train_nn::rng::{Rng, Stream};

/// One forward pass over one micro-batch: whether it trains, and its random numbers.
///
/// ```
/// use cog_train::candle_core::{DType, Device};
/// use cog_train::engine::StepContext;
///
/// let context = StepContext::training(42, 7, 0); // `fit` makes them
/// let mask = |context: &StepContext| context.stream("dropout", 2).uniform_tensor(4, 0.0, 1.0, DType::F32, &Device::Cpu);
/// let again = StepContext::training(42, 7, 0);
/// assert_eq!(mask(&context)?.to_vec1::<f32>()?, mask(&again)?.to_vec1::<f32>()?);
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
    /// A pass that trains over micro-batch `part` of step `step`, both counted from 0.
    #[must_use]
    pub fn training(seed: u64, step: u64, part: u64) -> Self {
        Self { training: true, seed, step, part, segments: RefCell::default() }
    }

    /// A pass that evaluates: dropout is off and nothing is computed twice.
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

    /// Random numbers for a purpose such as `"dropout"` and an index such as the layer's number: a function of the run's
    /// seed, the purpose, the step, the micro-batch and the index, so that a resumed run draws the same.
    #[must_use]
    pub fn stream(&self, purpose: &str, index: u64) -> Stream {
        // 2^32 steps, 2^14 micro-batches and 2^18 indices have streams of their own.
        let index = self.step << 32 | (self.part & 0x3fff) << 18 | (index & 0x3_ffff);
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
    /// let context = StepContext::training(42, 0, 0);
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
