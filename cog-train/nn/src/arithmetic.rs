//! Arithmetic, element by element.

use candle_core::{Error, Tensor};

use super::Operand;
use crate::kernels::elementwise::{self, Binary};
use crate::kernels::sum;

/// Adds two tensors. Their shapes are broadcast as `NumPy`'s: aligned at the last dimension, where sizes differ one of
/// them is 1 or missing.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let row = Tensor::new(&[10f32, 20.0], &Device::Cpu)?;
/// assert_eq!(nn::add(&x, &row)?.to_vec2::<f32>()?, [[11.0, 22.0], [13.0, 24.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the shapes or types do not fit or the device fails.
pub fn add<T: Operand>(one: &T, other: &T) -> Result<T, Error> {
    T::on_nodes([one, other], |[one, other]| {
        if one.dims() == other.dims() {
            sum::forward(&one, &other)
        } else {
            elementwise::binary(Binary::Add, &one, &other)
        }
    })
}

/// Subtracts: `one - other`, broadcast as [`add`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[3f32, 5.0], &Device::Cpu)?;
/// let mean = Tensor::new(&[4f32], &Device::Cpu)?;
/// assert_eq!(nn::sub(&x, &mean)?.to_vec1::<f32>()?, [-1.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`add`].
pub fn sub<T: Operand>(one: &T, other: &T) -> Result<T, Error> {
    T::on_nodes([one, other], |[one, other]| elementwise::binary(Binary::Sub, &one, &other))
}

/// Multiplies element by element, broadcast as [`add`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let column = Tensor::new(&[[0f32], [2.0]], &Device::Cpu)?;
/// assert_eq!(nn::mul(&x, &column)?.to_vec2::<f32>()?, [[0.0, 0.0], [6.0, 8.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`add`].
pub fn mul<T: Operand>(one: &T, other: &T) -> Result<T, Error> {
    T::on_nodes([one, other], |[one, other]| elementwise::binary(Binary::Mul, &one, &other))
}

/// Multiplies by a number: `factor * x`. The result has the shape and type of `x`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// assert_eq!(nn::scale(&x, -0.5)?.to_vec1::<f32>()?, [-0.5, -1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the device fails.
pub fn scale<T: Operand>(x: &T, factor: f64) -> Result<T, Error> {
    T::on_nodes([x], |[x]| elementwise::affine(&x, factor, 0.0))
}

/// Adds a number: `x + number`. The result has the shape and type of `x`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// assert_eq!(nn::add_scalar(&x, 1.0)?.to_vec1::<f32>()?, [2.0, 3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the device fails.
pub fn add_scalar<T: Operand>(x: &T, number: f64) -> Result<T, Error> {
    T::on_nodes([x], |[x]| elementwise::affine(&x, 1.0, number))
}

/// Makes a tensor from outside an operand beside `x`: a parameter that is in no layer, or a constant. Within a
/// [`trace`](super::trace) it is a leaf of the same trace.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use cog_train_nn as nn;
///
/// let temperature = Var::new(&[2f32], &Device::Cpu)?;
/// let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let y = nn::trace([&x], |[x]| nn::mul(&x, &nn::parameter(&x, &temperature)?))?;
/// assert_eq!(y.sum_all()?.backward()?.get(&temperature).unwrap().to_vec1::<f32>()?, [3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the device fails.
pub fn parameter<T: Operand>(x: &T, tensor: &Tensor) -> Result<T, Error> {
    T::on_nodes([x], |[x]| Ok(x.leaf(tensor)))
}
