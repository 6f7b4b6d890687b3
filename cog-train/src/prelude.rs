//! What a trainer's file needs: `use cog_train::prelude::*;`.

pub use anyhow::{Context, Result, bail, ensure};

pub use crate::input::{Choice, Path, Secret};
pub use crate::job::{Job, Setup};
pub use crate::output::{PredictOutput, TrainOutput};
pub use crate::predictor::{PredictInputs, Predictor};
pub use crate::trainer::{TrainInputs, Trainer};
pub use crate::weights::Weights;
