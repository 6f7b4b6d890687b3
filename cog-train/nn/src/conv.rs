//! Convolution.

use candle_core::{Error, Tensor};

use super::Operand;
use crate::kernels::conv2d::{self, Settings};

/// Convolution of planes, as PyTorch's `Conv2d` (a cross-correlation).
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use cog_train_nn::Conv2d;
///
/// let weight = Var::ones((8, 3, 3, 3), DType::F32, &Device::Cpu)?;
/// let conv = Conv2d::new(weight.as_tensor().clone(), None).stride(2).padding(1);
/// let y = conv.forward(&Tensor::ones((1, 3, 6, 6), DType::F32, &Device::Cpu)?)?;
/// assert_eq!(y.dims(), [1, 8, 3, 3]);
/// assert_eq!(y.max_all()?.to_scalar::<f32>()?, 27.0);
/// assert!(y.sum_all()?.backward()?.get(&weight).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    settings: Settings,
}

impl Conv2d {
    /// From a weight `[O, C / groups, kh, kw]` and a bias `[O]`, with stride 1, no padding, no dilation and one group.
    #[must_use]
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        let settings = Settings { stride: 1, padding: 0, dilation: 1, groups: 1, relu: false };
        Self { weight, bias, settings }
    }

    /// How far the window moves, down and to the right.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.settings.stride = stride;
        self
    }

    /// Zeros on each side of the plane.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.settings.padding = padding;
        self
    }

    /// How far apart the numbers under the window are (Yu and Koltun, "Multi-Scale Context Aggregation by Dilated
    /// Convolutions", 2016).
    #[must_use]
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.settings.dilation = dilation;
        self
    }

    /// Parts that the channels are cut into: each part of the results sees one of them.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.settings.groups = groups;
        self
    }

    /// `x` is `[N, C, H, W]`, the result `[N, O, H', W']` with
    /// `H' = (H + 2 padding - dilation (kh - 1) - 1) / stride + 1`.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        self.convolve(x, false)
    }

    /// [`relu`](super::relu) of [`forward`](Self::forward), in one pass.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use cog_train_nn::Conv2d;
    ///
    /// let weight = Tensor::new(&[[[[2f32]]]], &Device::Cpu)?;
    /// let y = Conv2d::new(weight, None).forward_relu(&Tensor::new(&[[[[-1f32, 1.0]]]], &Device::Cpu)?)?;
    /// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit or the device fails.
    pub fn forward_relu<T: Operand>(&self, x: &T) -> Result<T, Error> {
        self.convolve(x, true)
    }

    fn convolve<T: Operand>(&self, x: &T, relu: bool) -> Result<T, Error> {
        let settings = Settings { relu, ..self.settings };
        T::on_nodes([x], |[x]| conv2d::forward(&x, &self.weight, self.bias.as_ref(), settings))
    }
}
