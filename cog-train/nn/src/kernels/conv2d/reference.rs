//! The reference implementation, in candle operations.

use candle_core::{Error, Tensor};

use super::geometry::Geometry;
use crate::kernels::activation::{self, Activation};

pub(super) fn forward(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: &Geometry,
) -> Result<Tensor, Error> {
    let window = geometry.window;
    let mut x = x.clone();
    // candle's backward pass needs a window that ends at the edge of the plane, so the plane is cut first.
    for (dim, (positions, kernel)) in (2..).zip(geometry.positions.into_iter().zip(window.kernel)) {
        x = x.pad_with_zeros(dim, window.padding, window.padding)?;
        x =
            x.narrow(dim, 0, (positions - 1) * window.stride + (kernel - 1) * window.dilation + 1)?;
    }
    let x = x.contiguous()?;
    let y = x.conv2d(weight, 0, window.stride, window.dilation, geometry.groups)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?,
        None => y,
    };
    if geometry.relu { activation::reference::forward(&y, Activation::Relu) } else { Ok(y) }
}
