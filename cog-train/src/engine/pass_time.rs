//! The time of the passes of a step.

use std::time::Duration;

/// The time in the author's loss, and in the backward pass from it. Work on a GPU is asynchronous: the backward pass waits for that of
/// the forward pass too.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PassTime {
    pub(super) forward: Duration,
    pub(super) backward: Duration,
}
