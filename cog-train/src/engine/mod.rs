//! Training: parts around one readable loop, [`fit`].
//!
//! The author brings a loss over plain candle tensors, [`Params`], data and a [`TrainingConfig`]; the engine knows no YAML, no HTTP
//! and no arguments. Everything periodic or countable is a pure function; what changes is in one state that a
//! checkpoint holds whole, so that a resumed run is the same run, bit for bit.

mod check_gradients;
mod evaluate;
mod fit;
mod loss;
mod memory;
mod objective;
mod probe;
mod recompute;
mod records;
mod report;
mod resume;
mod scale;
mod state;
mod step;
mod training_config;

pub use fit::{Training, TrainingSummary, fit};
pub use loss::Loss;
pub use objective::{EvalScores, Objective, StepContext};
pub use state::Best;
pub use training_config::{Every, TrainingConfig};

pub use crate::optim::schedule::{Schedule, Warmup};
pub use crate::params::{Gradients, Param, Params, Pattern, Precision};
