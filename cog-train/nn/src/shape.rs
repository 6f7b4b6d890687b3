//! The same values in another shape or order.
#![expect(clippy::needless_pass_by_value, reason = "a dimension is given as to candle's functions")]

use candle_core::shape::{Dim, ShapeWithOneHole};
use candle_core::{Error, Tensor};

use super::Operand;
use crate::kernels::layout;

/// Returns the same values in another shape, as [`Tensor::reshape`]. One dimension may be `()`: it takes what is left. Within a
/// [`trace`](super::trace) nothing is copied if `x` is contiguous.
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
    T::on_nodes([x], |[x]| x.map(|x: &Tensor| x.reshape(shape)))
}

/// Returns `length` indices from `start` on along a dimension, as [`Tensor::narrow`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[1f32, 2.0, 3.0]], &Device::Cpu)?;
/// assert_eq!(nn::narrow(&x, 1, 1, 2)?.to_vec2::<f32>()?, [[2.0, 3.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when these indices are not within the dimension.
pub fn narrow<T: Operand>(x: &T, dim: impl Dim, start: usize, length: usize) -> Result<T, Error> {
    T::on_nodes([x], |[x]| {
        layout::narrow(&x, dim.to_index(x.tensor().shape(), "narrow")?, start, length)
    })
}

/// Concatenates tensors along a dimension, as [`Tensor::cat`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let (x, y) = (Tensor::new(&[[1f32]], &Device::Cpu)?, Tensor::new(&[[2f32, 3.0]], &Device::Cpu)?);
/// assert_eq!(nn::cat([&x, &y], 1)?.to_vec2::<f32>()?, [[1.0, 2.0, 3.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the other dimensions differ or the device fails.
pub fn cat<T: Operand, const N: usize>(parts: [&T; N], dim: impl Dim) -> Result<T, Error> {
    let Some(first) = parts.first() else {
        return Err(Error::Msg("`cat` of no tensors".to_owned()));
    };
    let dim = dim.to_index(first.as_tensor().shape(), "cat")?;
    T::on_nodes(parts, |parts| layout::cat(&parts, dim))
}

/// Exchanges two dimensions, as [`Tensor::transpose`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[1f32, 2.0, 3.0]], &Device::Cpu)?;
/// assert_eq!(nn::transpose(&x, 0, 1)?.dims(), [3, 1]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when there is no such dimension.
pub fn transpose<T: Operand>(x: &T, one: impl Dim, other: impl Dim) -> Result<T, Error> {
    T::on_nodes([x], |[x]| {
        let shape = x.tensor().shape();
        let mut order: Vec<usize> = (0..shape.rank()).collect();
        order.swap(one.to_index(shape, "transpose")?, other.to_index(shape, "transpose")?);
        layout::permute(&x, &order)
    })
}

/// Reorders the dimensions, as [`Tensor::permute`]: dimension `i` of the result is dimension `order[i]` of `x`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::ones((2, 3, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(nn::permute(&x, &[2, 0, 1])?.dims(), [4, 2, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when `order` does not name each dimension once.
pub fn permute<T: Operand>(x: &T, order: &[usize]) -> Result<T, Error> {
    T::on_nodes([x], |[x]| layout::permute(&x, order))
}

/// Gathers the slices at `indices` along a dimension, as [`Tensor::index_select`]: of `[n, d]` along dimension 0, `[indices, d]`.
/// `indices` is `[..]` of u32, u8 or i64; the gradient of a slice that is taken twice is the sum of both.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn as nn;
///
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let y = nn::index_select(&x, 0, &Tensor::new(&[1u32, 1], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[3.0, 4.0], [3.0, 4.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when an index is not within the dimension or the device fails.
pub fn index_select<T: Operand>(x: &T, dim: impl Dim, indices: &Tensor) -> Result<T, Error> {
    T::on_nodes([x], |[x]| {
        layout::index_select(&x, dim.to_index(x.tensor().shape(), "index_select")?, indices)
    })
}
