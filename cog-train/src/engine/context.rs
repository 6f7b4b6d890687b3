//! The context of a forward pass: whether it trains, and its random numbers.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Tensor;

use cog_train_nn::__private::tape::recompute_tensor;
use cog_train_nn::rng::{Rng, Stream};
use cog_train_nn::training;

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
#[derive(Debug, Clone, Copy)]
pub struct StepContext {
    training: bool,
    seed: u64,
    step: u64,
    part: u64,
}

impl StepContext {
    /// A pass that trains over micro-batch `part` of step `step`, both counted from 0.
    #[must_use]
    pub fn training(seed: u64, step: u64, part: u64) -> Self {
        Self { training: true, seed, step, part }
    }

    /// A pass that evaluates: dropout is off and nothing is computed twice.
    #[must_use]
    pub fn evaluation(seed: u64) -> Self {
        Self { training: false, seed, step: 0, part: 0 }
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
        Rng::new(self.seed, purpose).at(self.index() | (index & 0x3_ffff))
    }

    /// 2^32 steps, 2^14 micro-batches and 2^18 indices have streams of their own.
    fn index(&self) -> u64 {
        self.step << 32 | (self.part & 0x3fff) << 18
    }

    /// Runs a forward and backward pass. Layers with dropout of their own, the low-rank branches of an adapter, apply it if
    /// this pass trains; a resumed run drops the same elements. [`fit`](crate::engine::fit()) calls this for each micro-batch.
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor};
    /// use cog_train::engine::StepContext;
    /// use cog_train::nn::{Init, Initializer, Linear, LowRank, Rng};
    ///
    /// let init = Init::random(Rng::new(42, "init"), &Device::Cpu).low_rank("fc", LowRank::new(2, 1.0).dropout(0.5));
    /// let layer = Linear::new(&init.with("*", Initializer::ONES).at("fc"), 64, 4)?;
    /// let x = Tensor::ones((1, 64), DType::F32, &Device::Cpu)?;
    /// let y = |context: StepContext| context.run(|| layer.forward(&x)?.to_vec2::<f32>());
    /// assert_eq!(y(StepContext::training(42, 7, 0))?, y(StepContext::training(42, 7, 0))?);
    /// assert_ne!(y(StepContext::training(42, 7, 0))?, y(StepContext::training(42, 7, 1))?);
    /// assert_eq!(y(StepContext::evaluation(42))?, [[65.0 + 2.0 * 64.0; 4]]);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        if self.training { training(self.seed, self.index(), work) } else { work() }
    }

    /// Computes `block` on `x` without keeping its activations: the backward pass computes them again (activation
    /// checkpointing; Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). The gradients are the same bits as
    /// without it, except for a parameter or an `x` that is also used elsewhere: the parts of its gradient are added in
    /// another order.
    ///
    /// `block` must return the same each time: randomness in it comes from [`StepContext::stream`]. Beside `x` it may use
    /// parameters and constants, which are cheap to clone into it; a tensor that was computed from parameters is handed in as
    /// `x`. In evaluation it is just called.
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
    /// let gradients = y.sum_all()?.backward()?;
    /// assert_eq!(gradients.get(&weight).unwrap().to_vec2::<f32>()?, [[2.0; 4]; 4]);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error of `block`. In the backward pass it is candle's, with the text of the block's.
    pub fn recompute(
        &self,
        x: &Tensor,
        block: impl Fn(&Tensor) -> anyhow::Result<Tensor> + Send + 'static,
    ) -> anyhow::Result<Tensor> {
        if !self.training {
            return block(x);
        }
        // candle's errors cannot hold the author's.
        let failed = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&failed);
        let block = move |x: &Tensor| {
            block(x).map_err(|error| {
                let text = candle_core::Error::msg(format!("{error:#}"));
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                text
            })
        };
        recompute_tensor(x, block).map_err(|error| {
            let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
            failed.unwrap_or_else(|| error.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{D, DType, Device, Var};

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    /// Blocks with a norm, a residual path and dropout, over an embedding that is trained too.
    /// `kept` computes the plain way.
    fn gradients(blocks: usize, kept: bool) -> (Vec<Vec<u8>>, f32) {
        let device = Device::Cpu;
        let draw = |at, shape: &[usize]| {
            let tensor =
                Rng::new(1, "test").at(at).normal_tensor(shape, 0.0, 0.3, DType::F32, &device);
            Var::from_tensor(&tensor.unwrap()).unwrap()
        };
        let (embedding, head) = (draw(0, &[11, 16]), draw(99, &[16, 11]));
        let weights: Vec<(Var, Var)> = (0..blocks as u64)
            .map(|at| (draw(2 * at + 1, &[16, 32]), draw(2 * at + 2, &[32, 16])))
            .collect();
        let tokens = Tensor::new(&[3u32, 1, 4, 1, 5, 9, 2, 6], &device).unwrap();
        let context = StepContext::training(7, 3, 0);
        let mut x = embedding.index_select(&tokens, 0).unwrap();
        for (at, (up, down)) in weights.iter().enumerate() {
            let (up, down) = (up.as_tensor().clone(), down.as_tensor().clone());
            let mask = context
                .stream("dropout", at as u64)
                .uniform_tensor((8, 32), 0.0, 1.0, DType::F32, &device)
                .unwrap()
                .ge(0.25)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap();
            let block = move |x: &Tensor| -> anyhow::Result<Tensor> {
                let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
                let inner = (x.broadcast_div(&scale)?.matmul(&up)?.silu()? * &mask)?;
                Ok((x + inner.matmul(&down)?)?)
            };
            x = if kept { block(&x).unwrap() } else { context.recompute(&x, block).unwrap() };
        }
        let logits = x.matmul(&head).unwrap();
        let loss = logits.sqr().unwrap().sum_all().unwrap();
        let store = loss.backward().unwrap();
        let vars = weights.iter().flat_map(|(up, down)| [up, down]).chain([&embedding, &head]);
        let bytes = vars.map(|var| {
            let gradient = store.get(var).unwrap();
            let values = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        });
        (bytes.collect(), loss.to_scalar().unwrap())
    }

    #[test]
    fn recomputed_gradients_are_the_plain_ones_bit_for_bit() {
        for blocks in [1, 2, 5] {
            let (plain, again) = (gradients(blocks, true), gradients(blocks, false));
            assert_eq!(plain.1.to_bits(), again.1.to_bits());
            assert!(plain.0 == again.0, "{blocks} blocks");
            assert!(plain.0.iter().all(|bytes| bytes.iter().any(|byte| *byte != 0)));
        }
    }

    #[test]
    fn gradients_around_a_block_and_of_shared_parameters_add_up() {
        let device = Device::Cpu;
        let w = Var::new(&[2f32, -3.0], &device).unwrap();
        let context = StepContext::training(0, 0, 0);
        let tensor = w.as_tensor().clone();
        let x = (w.as_tensor() * 3.0).unwrap();
        let square = |w: Tensor| move |x: &Tensor| Ok((x.sqr()? * &w)?);
        let one = context.recompute(&x, square(tensor.clone())).unwrap();
        let two = context.recompute(&one, square(tensor.clone())).unwrap();
        let loss = ((two + one).unwrap() + x).unwrap().sum_all().unwrap();
        let gradient = loss.backward().unwrap().get(&w).unwrap().to_vec1::<f32>().unwrap();
        // 81 w^7 + 9 w^3 + 3 w
        let expected = [2f32, -3.0].map(|w| 567.0 * w.powi(6) + 27.0 * w.powi(2) + 3.0);
        assert_eq!(gradient, expected);
    }

    #[test]
    fn an_error_of_the_block_comes_back_as_it_is() {
        let context = StepContext::training(0, 0, 0);
        let x = Var::new(&[1f32], &Device::Cpu).unwrap();
        let failed = context.recompute(&x, |_| Err(Error::Cancelled.into())).unwrap_err();
        assert!(matches!(failed.downcast_ref(), Some(Error::Cancelled)), "{failed:?}");
        // In the backward pass, its text does.
        let calls = AtomicUsize::new(0);
        let block = move |x: &Tensor| {
            anyhow::ensure!(calls.fetch_add(1, Ordering::Relaxed) == 0, "out of memory");
            Ok(x.sqr()?)
        };
        let y = context.recompute(&x, block).unwrap();
        let failed = y.sum_all().unwrap().backward().unwrap_err();
        assert!(failed.to_string().contains("out of memory"), "{failed}");
    }
}
