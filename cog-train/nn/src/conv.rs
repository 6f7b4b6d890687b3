//! Convolution.

use candle_core::{Error, Tensor};

use super::{Init, Initializer, Operand};
use crate::kernels::conv2d::{self, Settings};

/// Convolution of planes, as PyTorch's `Conv2d` (a cross-correlation).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{Conv2d, Init, Initializer, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu).with("*", Initializer::ONES);
/// let conv = Conv2d::without_bias(&init.at("conv1"), 3, 8, 3)?.stride(2).padding(1);
/// let y = conv.forward(&Tensor::ones((1, 3, 6, 6), DType::F32, &Device::Cpu)?)?;
/// assert_eq!(y.dims(), [1, 8, 3, 3]);
/// assert_eq!(y.max_all()?.to_scalar::<f32>()?, 27.0);
/// assert!(y.sum_all()?.backward()?.get(conv.weight()).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    settings: Settings,
}

impl Conv2d {
    /// Creates a layer with the parameters `weight` `[outputs, inputs, kernel, kernel]` and `bias` `[outputs]`, both uniform within
    /// `1 / sqrt(inputs * kernel^2)` (PyTorch's `Conv2d.reset_parameters`), with stride 1, no padding, no dilation and one
    /// group. With [`groups`](Self::groups), `inputs` are the channels of one group.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn new(init: &Init, inputs: usize, outputs: usize, kernel: usize) -> Result<Self, Error> {
        let of_fan_in = Initializer::of_fan_in(inputs * kernel * kernel);
        let bias = Some(init.tensor("bias", outputs, of_fan_in)?);
        Ok(Self { bias, ..Self::without_bias(init, inputs, outputs, kernel)? })
    }

    /// Creates a layer without a bias, else as [`new`](Self::new), as before a batch norm.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn without_bias(
        init: &Init,
        inputs: usize,
        outputs: usize,
        kernel: usize,
    ) -> Result<Self, Error> {
        let of_fan_in = Initializer::of_fan_in(inputs * kernel * kernel);
        let weight = init.tensor("weight", (outputs, inputs, kernel, kernel), of_fan_in)?;
        Ok(Self::from_tensors(weight, None))
    }

    /// Creates a layer from a weight `[O, C / groups, kh, kw]` and a bias `[O]`.
    #[must_use]
    pub fn from_tensors(weight: Tensor, bias: Option<Tensor>) -> Self {
        let settings = Settings { stride: 1, padding: 0, dilation: 1, groups: 1, relu: false };
        Self { weight, bias, settings }
    }

    /// The weight, `[O, C / groups, kh, kw]`.
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[O]`.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Moves the window by `stride`, down and to the right.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.settings.stride = stride;
        self
    }

    /// Adds zeros on each side of the plane.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.settings.padding = padding;
        self
    }

    /// Puts the values under the window `dilation` apart (Yu and Koltun, "Multi-Scale Context Aggregation by Dilated
    /// Convolutions", 2016).
    #[must_use]
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.settings.dilation = dilation;
        self
    }

    /// Cuts the channels into groups: each group of the results sees one of them.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.settings.groups = groups;
        self
    }

    /// Convolves. `x` is `[N, C, H, W]`, the result `[N, O, H', W']` with
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
    /// let y = Conv2d::from_tensors(weight, None).forward_relu(&Tensor::new(&[[[[-1f32, 1.0]]]], &Device::Cpu)?)?;
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
