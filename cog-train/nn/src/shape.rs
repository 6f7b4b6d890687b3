//! Other shapes of the same numbers.

use candle_core::shape::ShapeWithOneHole;
use candle_core::{Error, Tensor};

use super::Operand;

/// The same numbers in another shape, as [`Tensor::reshape`], for tensors and for nodes. One dimension may be `()`: it is
/// what is left. Within a [`trace`](super::trace), and without gaps, nothing is copied.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::ones((2, 5, 12), DType::F32, &Device::Cpu)?;
/// assert_eq!(nn::reshape(&x, (2, 5, 3, ()))?.dims(), [2, 5, 3, 4]); // three heads
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the shape has another number of elements.
pub fn reshape<T: Operand>(x: &T, shape: impl ShapeWithOneHole) -> Result<T, Error> {
    // A gradient takes the shape of the node that it arrives at.
    T::on_nodes([x], |[x]| x.map(|x: &Tensor| Ok(x.reshape(shape)?)))
}
