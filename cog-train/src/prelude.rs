//! The imports of a trainer's file: `use cog_train::prelude::*;`.

pub use anyhow::{Context, Result, bail, ensure};

pub use crate::input::{Path, Secret};
pub use crate::job::{Job, Setup};
pub use crate::predictor::Predictor;
pub use crate::trainer::Trainer;
pub use crate::weights::Weights;
// Each of these names is a trait and its derive.
pub use crate::{Choice, PredictInputs, PredictOutput, TrainInputs, TrainOutput};
