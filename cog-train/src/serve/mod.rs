//! Cog's HTTP API: the second face of [`run`](crate::run), on `coglet`, the crate of Cog's own server.
//!
//! The process that listens ([`Server`](server)) knows no tensor. It starts this same executable once more as its worker
//! ([`work`]), which calls the author's `setup` once and then runs trainings as the command line does. When a worker
//! dies, its training fails with a cause, and another worker takes its place.

mod answer;
mod auth;
mod body;
mod error;
mod history;
mod id;
mod listen;
mod listing;
mod local;
mod logs;
mod mirror;
#[cfg(any(test, fuzzing))]
mod offline;
mod options;
mod origin;
mod output;
mod request;
mod routes;
mod server;
mod shutdown;
mod spawner;
mod standalone;
mod state;
mod supervisor;
mod training;
mod ui;
mod worker;

#[cfg(fuzzing)]
pub(crate) use offline::check;
pub(crate) use options::Options;
pub(crate) use server::serve;
pub(crate) use standalone::{UiOptions, show};
pub(crate) use worker::{Start, WorkerControl, work};

/// The version of Cog's server whose interface this is.
pub(crate) const COG_VERSION: &str = coglet::COGLET_VERSION;
