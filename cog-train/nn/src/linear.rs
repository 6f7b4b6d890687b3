//! Products with weights.

use candle_core::{Error, Tensor};

use super::{Init, Initializer, Node, Operand};
use crate::kernels::linear::{self, Operands};

/// `y = x W^T + b`, as PyTorch's `Linear`. A weight without a graph is frozen: no gradient is computed for it.
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
/// assert_eq!(gradients.get(linear.weight()).unwrap().to_vec2::<f32>()?, [[1.0, 0.5]; 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
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
        Ok(Self { weight: init.tensor("weight", (outputs, inputs), of_fan_in)?, bias: None })
    }

    /// Creates a layer from a weight `[outputs, inputs]` and a bias `[outputs]`.
    #[must_use]
    pub fn from_tensors(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// The weight, `[outputs, inputs]`.
    #[must_use]
    pub fn weight(&self) -> &Tensor {
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

    fn on(&self, x: &Node, to: Option<&Node>, scale: f32) -> Result<Node, Error> {
        let operands = Operands { weight: &self.weight, bias: self.bias.as_ref(), to, scale };
        linear::forward(x, &operands)
    }
}
