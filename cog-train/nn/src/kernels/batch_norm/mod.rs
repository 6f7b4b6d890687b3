//! Normalization of channels over a batch (Ioffe and Szegedy, "Batch Normalization", 2015; PyTorch's `batch_norm`):
//!
//! ```text
//! y[n, c, i] = (x[n, c, i] - mean[c]) / sqrt(variance[c] + epsilon) * weight[c] + bias[c]
//! ```
//!
//! `x` and `y` `[N, C, ..]`, `weight` and `bias` `[C]`, all of one float type; `mean` and `variance` `[C]` are those of the
//! batch, over `N` and the dimensions behind `C`, or given. Backward, with `h` the normalized `x` and `g = dy * weight`:
//! `dx = (g - mean(g) - h * mean(g * h)) / sqrt(..)` for the batch's own statistics and `g / sqrt(..)` for given ones,
//! `dweight = sum(dy * h)`, `dbias = sum(dy)`.

mod cpu;
mod reference;

use candle_core::{DType, Error, Tensor};

use super::host;
use super::reference::{dispatch, fits};
use super::tape::Node;

/// The mean and the variance of each channel, both `[C]`: floats of 32 bits, of 64 for a batch of 64.
#[derive(Debug, Clone)]
pub(crate) struct Statistics {
    pub(crate) mean: Tensor,
    /// The mean square of the distance to the mean.
    pub(crate) variance: Tensor,
}

/// The sizes of a batch: `x` is `[rows, channels, length]`.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    rows: usize,
    channels: usize,
    length: usize,
}

/// The statistics of a batch.
///
/// # Errors
///
/// candle's error when `x` has no channels or the device fails.
pub(crate) fn statistics(x: &Tensor) -> Result<Statistics, Error> {
    let sizes = Sizes::of(x)?;
    if fits(x) {
        cpu::statistics(&host::contiguous(x)?, sizes)
    } else {
        reference::statistics(x, sizes)
    }
}

/// Normalizes by the statistics of the batch itself, which `statistics` must be.
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub(crate) fn of_batch(
    x: &Node,
    weight: &Tensor,
    bias: &Tensor,
    statistics: &Statistics,
    epsilon: f64,
) -> Result<Node, Error> {
    let sizes = checked(x, [weight, bias, &statistics.mean, &statistics.variance])?;
    dispatch(
        [x, &x.leaf(weight), &x.leaf(bias)],
        |operands| cpu::forward(operands, statistics, epsilon, sizes, true),
        move |operands| {
            let statistics = reference::statistics(operands[0], sizes)?;
            reference::forward(operands, &statistics, epsilon, sizes)
        },
    )
}

/// Normalizes by given statistics.
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub(crate) fn by_given(
    x: &Node,
    weight: &Tensor,
    bias: &Tensor,
    statistics: &Statistics,
    epsilon: f64,
) -> Result<Node, Error> {
    let sizes = checked(x, [weight, bias, &statistics.mean, &statistics.variance])?;
    let again = statistics.clone();
    dispatch(
        [x, &x.leaf(weight), &x.leaf(bias)],
        |operands| cpu::forward(operands, statistics, epsilon, sizes, false),
        move |operands| reference::forward(operands, &again, epsilon, sizes),
    )
}

impl Sizes {
    fn of(x: &Tensor) -> Result<Self, Error> {
        let &[rows, channels, ref rest @ ..] = x.dims() else {
            return Err(Error::Msg(format!("batch_norm: an input {:?}, not [N, C, ..]", x.dims())));
        };
        Ok(Self { rows, channels, length: rest.iter().product() })
    }

    /// Values of each channel.
    #[expect(clippy::cast_precision_loss, reason = "sizes of tensors are far below 2^53")]
    fn count(&self) -> f64 {
        (self.rows * self.length) as f64
    }
}

fn checked(x: &Node, of_channels: [&Tensor; 4]) -> Result<Sizes, Error> {
    let sizes = Sizes::of(x.tensor())?;
    match of_channels.iter().find(|tensor| tensor.dims() != [sizes.channels]) {
        None => Ok(sizes),
        Some(tensor) => Err(Error::Msg(format!(
            "batch_norm: an input {:?}, whose channels are {}, and a tensor of shape {:?}",
            x.dims(),
            sizes.channels,
            tensor.dims()
        ))),
    }
}

/// The type that statistics are computed in.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

#[cfg(test)]
mod tests;
