//! Products with weights.

use candle_core::{Error, Tensor};

use super::{CrossEntropy, reshape};
use super::{Init, Initializer, LayerKind, Node, Operand, Weight};
use crate::kernels::linear::{self, Operands};
use crate::low_rank::{Beside, LinearBranch};

/// `y = x W^T + b`, as PyTorch's `Linear`. A weight without a graph is frozen: no gradient is computed for it. So is a
/// [`Quantized`](super::Quantized) one, which is multiplied without being dequantized as a whole.
///
/// A layer whose [`Init`] has a [`LowRank`](super::LowRank) branch for its path adds that branch.
///
/// On the CPU, products of bfloat16 and IEEE halves are summed in 32 bits and rounded once.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{Init, Initializer, Linear, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu).with("*", Initializer::ONES);
/// let linear = Linear::new(&init.at("fc1"), 2, 3)?;
/// let y = linear.forward(&Tensor::new(&[[1f32, 0.5]], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[2.5, 2.5, 2.5]]);
/// let gradients = y.sum_all()?.backward()?;
/// assert_eq!(gradients.get(linear.weight().tensor()?).unwrap().to_vec2::<f32>()?, [[1.0, 0.5]; 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
    low_rank: Option<LinearBranch>,
}

impl Linear {
    /// Creates a layer with the parameters `weight` `[outputs, inputs]` and `bias` `[outputs]`, both uniform within
    /// `1 / sqrt(inputs)` (PyTorch's `Linear.reset_parameters`).
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn new(init: &Init, inputs: usize, outputs: usize) -> Result<Self, Error> {
        let bias = init.tensor("bias", outputs, Initializer::of_fan_in(inputs))?;
        Ok(Self { bias: Some(bias), ..Self::without_bias(init, inputs, outputs)? })
    }

    /// Creates a layer without a bias, else as [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn without_bias(init: &Init, inputs: usize, outputs: usize) -> Result<Self, Error> {
        let of_fan_in = Initializer::of_fan_in(inputs);
        let weight = init.weight("weight", (outputs, inputs), of_fan_in)?;
        Ok(Self { weight, bias: None, low_rank: Self::branch(init, false, inputs, outputs)? })
    }

    /// A layer without a bias whose weight `[outputs, inputs]` belongs to another one: an output layer that is tied to an
    /// embedding. `init` is its path, which a low-rank branch of its own may have.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`]; candle's error when the weight is no matrix.
    pub fn tied(init: &Init, weight: &Weight) -> Result<Self, Error> {
        let (outputs, inputs) = weight.dims2()?;
        let low_rank = Self::branch(init, true, inputs, outputs)?;
        Ok(Self { weight: weight.clone(), bias: None, low_rank })
    }

    fn branch(
        init: &Init,
        tied: bool,
        inputs: usize,
        outputs: usize,
    ) -> Result<Option<LinearBranch>, Error> {
        let low_rank = init.layer(LayerKind::Linear { tied }, inputs, outputs);
        low_rank.map(|low_rank| LinearBranch::new(init, low_rank, inputs, outputs)).transpose()
    }

    /// Creates a layer from a weight `[outputs, inputs]` and a bias `[outputs]`.
    #[must_use]
    pub fn from_tensors(weight: impl Into<Weight>, bias: Option<Tensor>) -> Self {
        Self { weight: weight.into(), bias, low_rank: None }
    }

    /// The weight, `[outputs, inputs]`.
    #[must_use]
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// The bias, `[outputs]`.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Computes `x W^T + b`. `x` is `[.., in]`, the result `[.., out]`.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        T::on_nodes([x], |[x]| self.on(&x, None, 1.0))
    }

    /// Computes `to + scale * x W^T + b` in one operation: a residual path, or LoRA's part of a layer (Hu et al., "LoRA", 2021). `x` is
    /// `[.., in]`, `to` and the result `[.., out]`.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn add_to<T: Operand>(&self, to: &T, x: &T, scale: f32) -> Result<T, Error> {
        T::on_nodes([x, to], |[x, to]| self.on(&x, Some(&to), scale))
    }

    /// The cross-entropy of the layer's scores, added up over the targets, as [`linear_cross_entropy`](super::linear_cross_entropy): the last layer of a
    /// language model and its loss. `x` is `[.., in]`, and `targets` has one integer for each of its rows. The scores are
    /// stored only where the layer has a bias or a low-rank branch.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cog_train_nn::{Init, Initializer, Linear, Rng};
    ///
    /// let init = Init::random(Rng::new(42, "init"), &Device::Cpu).with("*", Initializer::ZEROS);
    /// let head = Linear::without_bias(&init.at("lm_head"), 4, 32)?;
    /// let x = Tensor::ones((1, 2, 4), DType::F32, &Device::Cpu)?;
    /// let loss = head.cross_entropy(&x, &Tensor::new(&[[3u32, 5]], &Device::Cpu)?)?;
    /// assert!((loss.to_scalar::<f32>()? - 2.0 * 32f32.ln()).abs() < 1e-5);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`linear_cross_entropy`](super::linear_cross_entropy).
    pub fn cross_entropy<T: Operand>(&self, x: &T, targets: &Tensor) -> Result<T, Error> {
        self.loss(x, targets, &CrossEntropy::new())
    }

    /// Computes a loss of the layer's scores, added up over the targets: [`cross_entropy`](Self::cross_entropy) with label smoothing.
    ///
    /// # Errors
    ///
    /// As [`CrossEntropy::forward_linear`].
    pub fn loss<T: Operand>(
        &self,
        x: &T,
        targets: &Tensor,
        loss: &CrossEntropy,
    ) -> Result<T, Error> {
        if self.is_product() {
            return loss.forward_linear(x, &self.weight, targets);
        }
        T::on_nodes([x], |[x]| {
            let (outputs, _) = self.weight.dims2()?;
            let scores = reshape(&self.on(&x, None, 1.0)?, ((), outputs))?;
            loss.forward(&scores, &targets.flatten_all()?)
        })
    }

    /// Returns whether the layer is a product with its weight alone, without a bias or a low-rank branch.
    #[must_use]
    pub fn is_product(&self) -> bool {
        self.bias.is_none() && self.low_rank.is_none()
    }

    fn on(&self, x: &Node, to: Option<&Node>, scale: f32) -> Result<Node, Error> {
        if let Some(branch) = &self.low_rank {
            let (weight, bias) = (&self.weight, self.bias.as_ref());
            return branch.forward(x, &Beside { weight, bias, to, scale });
        }
        let bias = self.bias.as_ref();
        linear::forward(x, &Operands { weight: &self.weight, bias, to, scale })
    }
}
