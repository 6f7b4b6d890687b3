//! The learning rate over a run.

/// The learning rate of every step, as a share of the peak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// The same at every step.
    Constant,
}
