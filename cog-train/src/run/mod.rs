//! The lifecycle of one run: inputs, folder, lock, setup, training, output and record.
//!
//! [`execute`](execute::execute) takes a [`Request`] and gives an [`Outcome`]. The command line and [`Runner`] call it
//! alike. It knows inputs, files and processes; it knows neither a terminal nor arguments nor tensors.

mod active;
mod changes;
mod check;
mod clock;
mod dry_run;
mod embed;
mod error_text;
mod execute;
mod fetch_inputs;
mod folder;
mod given;
mod lifecycle;
mod lock;
mod next_command;
mod observer;
mod outputs;
mod panics;
mod previous;
mod publisher;
mod recorded;
mod request;
mod role;
mod saved_output;
mod staging;
mod status;
mod trace;
mod worker;

pub use embed::Runner;
pub use given::Given;

#[cfg(feature = "serve")]
pub(crate) use changes::changes_now;
pub(crate) use dry_run::DryRun;
#[cfg(feature = "serve")]
pub(crate) use error_text::error_text;
pub(crate) use execute::{Outcome, execute};
pub(crate) use folder::shown;
#[cfg(feature = "serve")]
pub(crate) use folder::{RUNS, RunRecord, is_run, run_dir_of};
#[cfg(feature = "serve")]
pub(crate) use lock::{Lock, is_locked};
pub(crate) use observer::Observer;
pub(crate) use outputs::{Destination, Published, answer, holds_file, refuse_special};
pub(crate) use previous::inputs_of_run;
pub(crate) use request::{Control, FileRules, Request, Resume};
pub(crate) use role::{Kind, Role};
#[cfg(feature = "cli")]
pub(crate) use staging::{StagedFolder, staging_dir};
pub(crate) use status::Status;
pub(crate) use worker::{RoleWorker, Worker};
#[cfg(feature = "serve")]
pub(crate) use {publisher::Publisher, worker::Prepared};
