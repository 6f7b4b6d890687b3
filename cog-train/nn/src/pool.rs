//! Pooling.

use super::Operand;
use crate::kernels::pool2d::{self, Pool};
use crate::kernels::window::Window;
use candle_core::Error;

/// Returns the greatest element under a window of `kernel` by `kernel` that moves by `stride`, with `padding` of minus infinity on
/// each side. `x` is `[N, C, H, W]`, the result `[N, C, H', W']` with `H' = (H + 2 padding - kernel) / stride + 1`.
///
/// The gradient goes to the first of the greatest elements, and a NaN is greater than any number, as in PyTorch.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[[[1f32, 2.0], [4.0, 3.0]]]], &Device::Cpu)?;
/// assert_eq!(nn::max_pool2d(&x, 2, 2, 0)?.flatten_all()?.to_vec1::<f32>()?, [4.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the window does not fit, the padding is over half of the kernel, or the device fails.
pub fn max_pool2d<T: Operand>(
    x: &T,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<T, Error> {
    pool(x, Pool::Max, kernel, stride, padding)
}

/// Returns the mean of the elements under a window; the padding is zeros, which count. Shapes as
/// [`max_pool2d`]'s.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[[[1f32, 2.0], [4.0, 3.0]]]], &Device::Cpu)?;
/// assert_eq!(nn::avg_pool2d(&x, 2, 2, 0)?.flatten_all()?.to_vec1::<f32>()?, [2.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the window does not fit, the padding is over half of the kernel, or the device fails.
pub fn avg_pool2d<T: Operand>(
    x: &T,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<T, Error> {
    pool(x, Pool::Average, kernel, stride, padding)
}

fn pool<T: Operand>(
    x: &T,
    pool: Pool,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<T, Error> {
    let window = Window { kernel: [kernel, kernel], stride, padding, dilation: 1 };
    T::on_nodes([x], |[x]| pool2d::forward(&x, pool, window))
}
