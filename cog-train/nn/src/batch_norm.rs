//! Normalization of channels.

use candle_core::{Error, Tensor};

use super::{Init, Initializer, Node, Operand};
use crate::kernels::batch_norm::{self as kernel, Statistics};
use crate::kernels::{elementwise, layer_norm};
use elementwise::Binary;

/// Batch normalization of channels (Ioffe and Szegedy, "Batch Normalization", 2015), as PyTorch's `BatchNorm2d` and
/// `BatchNorm1d`.
///
/// In training it normalizes by the mean and the variance of the batch, and moves `running_mean` and `running_var` towards
/// them; in evaluation it normalizes by these two. Each call states whether it trains, in a loss of
/// `cog_train::engine` by `context.is_training()`.
///
/// **The running statistics are state, and no parameters.** They are updated in place during the backward pass: a forward
/// pass without one changes nothing, and a block that is computed again by [`recompute`](super::recompute()) counts once. Tensors
/// that share their storage, such as those that [`from_tensors`](Self::from_tensors) was given, change with them. In a training by `cog_train::engine`,
/// `Params::buffers("*.running_*")` keeps them out of the optimizer, in 32 bits, and in every checkpoint; a resumed training
/// has the same statistics, bit for bit. They are saved with the weights, under PyTorch's names.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{BatchNorm2d, Init, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
/// let norm = BatchNorm2d::new(&init.at("bn1"), 1)?;
/// let x = Tensor::new(&[[[[1f32, 3.0]]]], &Device::Cpu)?;
/// let y = norm.forward(&x, true)?;
/// assert!((y.flatten_all()?.to_vec1::<f32>()?[1] - 1.0).abs() < 1e-4); // one deviation above the mean
/// y.sum_all()?.backward()?;
/// assert_eq!(init.tensors()["bn1.running_mean"].to_vec1::<f32>()?, [0.2]); // 0.9 * 0 + 0.1 * 2
/// assert_eq!(init.tensors()["bn1.running_var"].to_vec1::<f32>()?, [1.1]); // 0.9 * 1 + 0.1 * 2
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    weight: Tensor,
    bias: Tensor,
    running: Statistics,
    momentum: f64,
    epsilon: f64,
}

/// The tensors of a [`BatchNorm2d`], each `[channels]`.
///
/// The example of [`BatchNorm2d::from_tensors`] has them.
#[derive(Debug, Clone)]
pub struct BatchNormTensors {
    /// The factor of each normalized channel.
    pub weight: Tensor,
    /// The term added to each normalized channel.
    pub bias: Tensor,
    /// The mean of each channel, over the batches seen.
    pub running_mean: Tensor,
    /// The variance of each channel, over the batches seen.
    pub running_var: Tensor,
}

impl BatchNorm2d {
    /// Creates a layer over `channels` channels with the parameters `weight` of ones and `bias` of zeros and the state
    /// `running_mean` of zeros and `running_var` of ones, all `[channels]`; a momentum of 0.1 and an epsilon of 1e-5, as in
    /// PyTorch. Its `num_batches_tracked` is not needed, and may be among the tensors that are loaded.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn new(init: &Init, channels: usize) -> Result<Self, Error> {
        let init = init.clone().ignore("num_batches_tracked");
        Ok(Self::from_tensors(BatchNormTensors {
            weight: init.tensor("weight", channels, Initializer::ONES)?,
            bias: init.tensor("bias", channels, Initializer::ZEROS)?,
            running_mean: init.tensor("running_mean", channels, Initializer::ZEROS)?,
            running_var: init.tensor("running_var", channels, Initializer::ONES)?,
        }))
    }

    /// Creates a layer from tensors.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cog_train_nn::{BatchNorm2d, BatchNormTensors};
    ///
    /// let full = |value: f32| Tensor::full(value, 2, &Device::Cpu);
    /// let tensors =
    ///     BatchNormTensors { weight: full(3.0)?, bias: full(1.0)?, running_mean: full(2.0)?, running_var: full(1.0)? };
    /// let norm = BatchNorm2d::from_tensors(tensors);
    /// let y = norm.forward(&Tensor::full(3f32, (1, 2, 1, 1), &Device::Cpu)?, false)?;
    /// assert!((y.flatten_all()?.to_vec1::<f32>()?[0] - 4.0).abs() < 1e-4); // 3 * (3 - 2) / 1 + 1
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    #[must_use]
    pub fn from_tensors(tensors: BatchNormTensors) -> Self {
        let BatchNormTensors { weight, bias, running_mean, running_var } = tensors;
        let running = Statistics { mean: running_mean, variance: running_var };
        Self { weight, bias, running, momentum: 0.1, epsilon: 1e-5 }
    }

    /// Moves the running statistics by `momentum` of the way to those of each batch.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Adds `epsilon` to the variance.
    #[must_use]
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Normalizes `x`, `[N, C, H, W]` or `[N, C, ..]` with any dimensions behind the channels: by the statistics of the batch in
    /// `training`, else by the running ones.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit, a training batch has one value for each channel, or the device fails.
    pub fn forward<T: Operand>(&self, x: &T, training: bool) -> Result<T, Error> {
        T::on_nodes([x], |[x]| {
            let Self { weight, bias, running, epsilon, .. } = self;
            if !training {
                return kernel::by_given(&x, weight, bias, running, *epsilon);
            }
            let values = x.tensor().elem_count() / weight.elem_count().max(1);
            if values < 2 {
                return Err(Error::Msg(format!(
                    "batch_norm: an input {:?} has {values} value for each channel, and a variance needs two or more",
                    x.dims()
                )));
            }
            let batch = kernel::statistics(x.tensor())?;
            let y = kernel::of_batch(&x, weight, bias, &batch, *epsilon)?;
            let (running, momentum) = (running.clone(), self.momentum);
            let to = y.handle();
            Ok(x.tape().result(y.tensor().clone(), [to], move |gradient, adjoints| {
                update(&running, &batch, momentum, values)?;
                adjoints.share(to, &gradient)
            }))
        })
    }
}

/// `running = (1 - momentum) * running + momentum * batch`, in place; the variance is that of a sample, as in PyTorch.
#[expect(clippy::cast_precision_loss, reason = "sizes of tensors are far below 2^53")]
fn update(
    running: &Statistics,
    batch: &Statistics,
    momentum: f64,
    values: usize,
) -> Result<(), Error> {
    let sample = values as f64 / (values - 1) as f64;
    for (running, batch, factor) in
        [(&running.mean, &batch.mean, 1.0), (&running.variance, &batch.variance, sample)]
    {
        let batch = batch.to_dtype(running.dtype())?.affine(momentum * factor, 0.0)?;
        let moved = (running.detach().affine(1.0 - momentum, 0.0)? + batch)?;
        running.slice_set(&moved, 0, 0)?;
    }
    Ok(())
}

/// Normalization of groups of channels (Wu and He, "Group Normalization", 2018), as PyTorch's `GroupNorm`. It is the same
/// in training and evaluation.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{GroupNorm, Init, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
/// let norm = GroupNorm::new(&init.at("norm"), 2, 4, 1e-5)?;
/// let x = Tensor::new(&[[1f32, 3.0, 10.0, 30.0]], &Device::Cpu)?; // one row, two groups of two channels
/// let y = norm.forward(&x)?.to_vec2::<f32>()?;
/// assert!((y[0][0] + 1.0).abs() < 1e-4 && (y[0][3] - 1.0).abs() < 1e-4);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// Creates a layer over `channels` channels in `groups` groups with the parameters `weight` of ones and `bias` of zeros, both
    /// `[channels]`; `epsilon` is added to the variance.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn new(init: &Init, groups: usize, channels: usize, epsilon: f64) -> Result<Self, Error> {
        let weight = init.tensor("weight", channels, Initializer::ONES)?;
        let bias = init.tensor("bias", channels, Initializer::ZEROS)?;
        Ok(Self::from_tensors(weight, bias, groups, epsilon))
    }

    /// Creates a layer from a weight and a bias, both `[channels]`.
    #[must_use]
    pub fn from_tensors(weight: Tensor, bias: Tensor, groups: usize, epsilon: f64) -> Self {
        Self { weight, bias, groups, epsilon }
    }

    /// Normalizes each group of the channels of `x`, `[N, C, ..]`.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes or the groups do not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        T::on_nodes([x], |[x]| self.on(&x))
    }

    /// Applies a layer norm to the rows of groups, then the channels' own weights and biases.
    fn on(&self, x: &Node) -> Result<Node, Error> {
        let &Self { groups, epsilon, .. } = self;
        let fits = |channels: usize| groups > 0 && channels.is_multiple_of(groups);
        let (rows, channels) = match *x.dims() {
            [rows, channels, ..] if fits(channels) => (rows, channels),
            _ => {
                let x = x.dims();
                return Err(Error::Msg(format!("group_norm: {groups} groups of an input {x:?}")));
            }
        };
        let shape = x.tensor().shape().clone();
        let length = shape.elem_count() / (rows * groups).max(1);
        let grouped = x.map(|x| x.reshape((rows * groups, length)))?;
        let ones = Tensor::ones(length, x.tensor().dtype(), x.tensor().device())?;
        let normal = layer_norm::forward(&grouped, &ones, &ones.zeros_like()?, epsilon)?;
        let normal = normal.map(|normal| normal.reshape((rows, channels, ())))?;
        let column =
            |tensor: &Tensor| x.leaf(tensor).map(|tensor| tensor.reshape((tensor.elem_count(), 1)));
        let scaled = elementwise::binary(Binary::Mul, &normal, &column(&self.weight)?)?;
        let y = elementwise::binary(Binary::Add, &scaled, &column(&self.bias)?)?;
        y.map(|y| y.reshape(shape))
    }
}

#[cfg(test)]
mod tests;
