//! Pooling of planes (PyTorch's `max_pool2d` and `avg_pool2d`): `x` `[N, C, H, W]`, `y` `[N, C, H', W']`, any float type,
//! `H' = (H + 2 padding - kernel) / stride + 1`.
//!
//! - Maximum: the padding is minus infinity. The gradient goes to the first maximum; a NaN under the window is its result,
//!   and the last NaN gets the gradient. The index of each maximum is saved.
//! - Mean: the padding is zeros, which count. Nothing is saved.

mod average;
mod max;
mod reference;

use super::reference::dispatch;
use super::tape::Node;
use super::window::Window;
use candle_core::Error;

/// The reduction of the elements under the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    Max,
    Average,
}

/// Height and width of the input planes and of the output planes, and the window.
#[derive(Debug, Clone, Copy)]
struct Planes {
    from: [usize; 2],
    to: [usize; 2],
    window: Window,
}

/// Pools.
///
/// # Errors
///
/// candle's error when the window does not fit or the device fails.
pub(crate) fn forward(x: &Node, pool: Pool, window: Window) -> Result<Node, Error> {
    let Window { kernel, stride, padding, .. } = window;
    let fail = |reason: String| Err(candle_core::Error::msg(reason));
    let &[_, _, height, width] = x.dims() else {
        return fail(format!("pooling: an input {:?}, not 4 sizes", x.dims()));
    };
    let from = [height, width];
    let Some(to) = window.positions(from).filter(|_| !from.contains(&0)) else {
        return fail(format!(
            "pooling: a kernel {kernel:?} with stride {stride} and padding {padding} does not fit on {from:?}"
        ));
    };
    if kernel.iter().any(|kernel| 2 * padding > *kernel) {
        return fail(format!("pooling: a padding {padding} is over half of the kernel {kernel:?}"));
    }
    let planes = Planes { from, to, window };
    dispatch(
        [x],
        |[x]| match pool {
            Pool::Max => max::forward(&x, planes),
            Pool::Average => average::forward(&x, planes),
        },
        move |[x]| reference::forward(x, pool, &planes),
    )
}

impl Planes {
    /// Returns the elements of an input plane, and of an output plane.
    fn sizes(&self) -> [usize; 2] {
        [self.from, self.to].map(|[height, width]| height * width)
    }

    /// Returns the planes of one task.
    fn together(&self) -> usize {
        (16 * 1024 / self.sizes()[0]).max(1)
    }
}

#[cfg(test)]
mod tests;
