//! The pass that runs on this thread: whether layers with dropout of their own apply it, and whether low-rank branches count.

use std::cell::Cell;

use crate::rng::{Rng, Stream};

/// The context that a layer's `forward` has beside its input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    /// The seed and the index of the random streams; `None` in evaluation.
    training: Option<(u64, u64)>,
    low_rank: bool,
}

thread_local! {
    static PASS: Cell<Pass> = const { Cell::new(Pass { training: None, low_rank: true }) };
}

/// Runs `work`, the forward and backward pass of a training step, in which layers with dropout of their own apply it:
/// [`Dropout`](crate::Dropout), [`Attention`](crate::Attention) and the branches of a [`LowRank`](crate::LowRank). Elsewhere
/// they leave it out.
///
/// The dropped elements are a function of `seed`, `index` and the layer's path: give each micro-batch of each step an index
/// of its own. `cog_train::engine::fit` calls this for each of them, so that a resumed run drops the same elements.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{self as nn, Init, Initializer, Linear, LowRank, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu).low_rank("fc", LowRank::new(2, 1.0).dropout(0.5));
/// let init = init.with("fc.lora_B.weight", Initializer::ONES);
/// let layer = Linear::new(&init.at("fc"), 64, 4)?;
/// let x = Tensor::ones((1, 64), DType::F32, &Device::Cpu)?;
/// let y = || layer.forward(&x)?.to_vec2::<f32>();
/// assert_eq!(y()?, y()?); // evaluation
/// assert_eq!(nn::training(42, 1, y)?, nn::training(42, 1, y)?);
/// assert_ne!(nn::training(42, 1, y)?, nn::training(42, 2, y)?);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn training<R>(seed: u64, index: u64, work: impl FnOnce() -> R) -> R {
    Pass { training: Some((seed, index)), ..Pass::current() }.run(work)
}

/// Runs `work` as an evaluation within a training step: without dropout, such as the reference of a preference loss.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{self as nn, Dropout, Init, Rng};
///
/// let dropout = Dropout::new(&Init::random(Rng::new(42, "init"), &Device::Cpu).at("drop"), 0.5)?;
/// let x = Tensor::ones(64, DType::F32, &Device::Cpu)?;
/// let y = || dropout.forward(&x)?.to_vec1::<f32>();
/// assert_eq!(nn::training(42, 1, || nn::evaluation(y))?, [1.0; 64]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn evaluation<R>(work: impl FnOnce() -> R) -> R {
    Pass { training: None, ..Pass::current() }.run(work)
}

/// Runs `work` with all low-rank branches switched off: a model with an adapter computes what its base computes, such as the
/// reference of a preference loss.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{self as nn, Init, Initializer, Linear, LowRank, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu).low_rank("fc", LowRank::new(2, 1.0));
/// let init = init.with("fc.*", Initializer::ONES);
/// let layer = Linear::without_bias(&init.at("fc"), 3, 1)?;
/// let x = Tensor::ones((1, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&x)?.to_vec2::<f32>()?, [[9.0]]); // 3, and 2 * 3
/// assert_eq!(nn::without_low_rank(|| layer.forward(&x))?.to_vec2::<f32>()?, [[3.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn without_low_rank<R>(work: impl FnOnce() -> R) -> R {
    Pass { low_rank: false, ..Pass::current() }.run(work)
}

impl Pass {
    /// Returns the pass of this thread.
    pub(crate) fn current() -> Self {
        PASS.get()
    }

    /// Runs `work` in this pass. A block that is recomputed in the backward pass runs in the pass of its first run.
    pub(crate) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        struct Restore(Pass);
        impl Drop for Restore {
            fn drop(&mut self) {
                PASS.set(self.0);
            }
        }
        let _restore = Restore(PASS.replace(self));
        work()
    }

    pub(crate) fn has_low_rank(self) -> bool {
        self.low_rank
    }

    /// Returns the random numbers of a layer; `None` in evaluation.
    pub(crate) fn stream(self, purpose: &str) -> Option<Stream> {
        self.training.map(|(seed, index)| Rng::new(seed, purpose).at(index))
    }
}
