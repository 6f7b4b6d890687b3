//! Training: one readable loop, [`fit`], and the modules that it calls.
//!
//! The author provides a loss over plain candle tensors, [`Params`], data and a [`TrainingConfig`]; the engine knows no YAML, no HTTP
//! and no arguments. Everything periodic or countable is a pure function; what changes is in one state that a
//! checkpoint holds whole, so that a resumed run is the same run, bit for bit.

mod best_by;
mod bucket;
mod check_gradients;
mod classification;
mod context;
mod evaluate;
mod evaluation;
mod exchange;
mod find_learning_rate;
mod fit;
mod frozen;
mod held;
mod learner;
mod loss;
mod memory;
mod objective;
mod overlap;
mod owners;
mod pass_time;
mod prepare;
mod probe;
mod ranks;
mod records;
mod reduce;
mod report;
mod resume;
mod retry;
mod save;
mod scale;
mod state;
mod step;
mod stream;
mod sums;
mod training;
mod training_config;
mod tree;
mod usage;

pub use best_by::BestBy;
pub use classification::Classification;
pub use context::StepContext;
pub use evaluation::{EvalScores, Evaluation};
pub use find_learning_rate::{LearningRateSweep, SweepPoint, find_learning_rate};
pub use fit::fit;
pub use loss::Loss;
pub use objective::{LossFn, Objective, StepReport, loss_fn};
pub use state::StopReason;
pub use training::{Training, TrainingSummary};
pub use training_config::{Every, TrainingConfig};

pub use crate::optim::schedule::{Schedule, Warmup};
pub use crate::parallel::Reduce;
pub use crate::params::{Gradients, Param, Params, Pattern, Precision};
