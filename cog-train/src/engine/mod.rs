//! Training: parts around one readable loop, [`fit`].
//!
//! The author brings a loss over plain candle tensors, [`Params`], data and a [`Plan`]; the engine knows no YAML, no HTTP
//! and no arguments. Everything periodic or countable is a pure function; what changes is in one state that a
//! checkpoint holds whole, so that a resumed run is the same run, bit for bit.

mod aside;
mod audit;
pub mod checkpoint;
pub mod data;
mod evaluate;
mod fit;
mod gradients;
mod loss;
mod memory;
mod objective;
pub mod optim;
mod params;
mod pattern;
mod plan;
mod probe;
mod recompute;
mod records;
mod report;
mod resume;
mod scale;
mod schedule;
mod state;
mod step;

pub use fit::{Fitted, Training, fit};
pub use gradients::Gradients;
pub use loss::Loss;
pub use objective::{Objective, Pass, Scores};
pub use params::{Param, Params, Precision};
pub use pattern::Pattern;
pub use plan::{Every, Plan};
pub use schedule::{Decay, Part, Schedule, Warmup};
pub use state::Best;
