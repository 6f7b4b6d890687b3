//! The uses of a parameter in a backward pass: after as many gradients its sum is complete.

use candle_core::{Tensor, TensorId};

/// A gradient that is complete before its backward pass has ended.
#[derive(Debug)]
pub struct Complete {
    /// Its parameter.
    pub parameter: TensorId,
    /// The sum over all uses of the parameter.
    pub gradient: Tensor,
}

/// The arrivals of gradients of a parameter, one for each of its uses.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// In the backward pass before.
    pub(super) before: u32,
    /// In the present one.
    pub(super) now: u32,
    /// The number of arrivals of all parameters up to the last one of this.
    pub(super) last: u64,
    /// Whether its gradient is kept until the end of a pass.
    pub(super) irregular: bool,
    /// Whether its gradient was sent in the present pass.
    pub(super) sent: bool,
}
