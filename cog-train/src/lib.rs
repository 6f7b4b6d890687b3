#![doc = include_str!("../README.md")]

// Code that the macros emit names the crate `::cog_train`; here that is this crate.
extern crate self as cog_train;

pub mod archive;
#[cfg(doctest)]
mod book;
mod cancellable;
pub mod checkpoint;
mod cli;
pub mod config;
pub mod data;
pub mod device;
mod disk;
mod durable;
pub mod engine;
pub mod error;
pub mod fetch;
pub mod gguf;
pub mod hub;
pub mod input;
pub mod lora;
pub mod metrics;
pub mod models;
pub mod optim;
pub mod output;
pub mod parallel;
pub mod prelude;
pub mod progress;
mod run;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "text")]
pub mod text;
#[cfg(feature = "cli")]
mod tool;
pub mod weights;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod job;
mod json;
mod message;
mod params;
mod partial;
mod predictor;
mod read;
mod report;
mod table;
mod tokenizer_files;
mod trainer;

pub use anyhow;
pub use candle_core;
pub use candle_nn;
pub use cog_train_nn as nn;
pub use cog_train_nn::rng;
pub use serde_json;

pub use config::Config;
pub use error::Error;
pub use input::{Choice, Path, Secret};
pub use job::{Job, Marks, Setup};
pub use output::{PredictOutput, TrainOutput};
pub use predictor::{PredictInputs, Predictor};
pub use progress::{CancelToken, Record};
pub use run::Runner;
pub use trainer::{TrainInputs, Trainer};
pub use weights::Weights;

pub use cog_train_derive::{
    Choice, PredictInputs, PredictOutput, TrainInputs, TrainOutput, run, train,
};
