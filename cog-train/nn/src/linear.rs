//! Products with weights, and sums.

use candle_core::{Error, Tensor};

use super::{Node, Operand};
use crate::kernels::linear::{self, Operands};
use crate::kernels::sum;

/// `y = x W^T + b`, as PyTorch's `Linear`. A weight without a graph is frozen: no gradient is computed for it.
///
/// On the CPU, products of bfloat16 and IEEE halves are summed in 32 bits and rounded once.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use cog_train_nn::Linear;
///
/// let weight = Var::ones((3, 2), DType::F32, &Device::Cpu)?; // 3 numbers from 2
/// let linear = Linear::new(weight.as_tensor().clone(), None);
/// let y = linear.forward(&Tensor::new(&[[1f32, 0.5]], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[1.5, 1.5, 1.5]]);
/// assert_eq!(y.sum_all()?.backward()?.get(&weight).unwrap().to_vec2::<f32>()?, [[1.0, 0.5]; 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// From a weight `[out, in]` and a bias `[out]`.
    #[must_use]
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `x` is `[.., in]`, the result `[.., out]`.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        T::on_nodes([x], |[x]| self.on(&x, None, 1.0))
    }

    /// `to + scale * x W^T + b`, in one go: a residual path, or LoRA's part of a layer (Hu et al., "LoRA", 2021). `x` is
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

/// The sum of two tensors of one shape.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// assert_eq!(nn::add(&x, &x)?.to_vec1::<f32>()?, [2.0, 4.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the shapes differ or the device fails.
pub fn add<T: Operand>(one: &T, other: &T) -> Result<T, Error> {
    T::on_nodes([one, other], |[one, other]| sum::forward(&one, &other))
}
