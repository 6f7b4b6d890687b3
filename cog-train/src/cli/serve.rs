//! `serve`: prepares the process of a server or of its worker, and hands it over.
#![expect(unsafe_code, reason = "the environment is set before the process has other threads")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use super::app::App;
use super::openapi::openapi;
use super::serve_args::{ServeArgs, WORKER};
use super::terminal::{Terminal, print_answer};
use super::{cog_yaml, compute, env};
use crate::device::DeviceChoice;
use crate::error::{Error, find};
use crate::run::{RoleWorker, error_text};
use crate::serve::{self, Options, Start, WorkerControl};

/// Serves until a signal; the exit code.
pub(super) fn serve(app: &App, args: &ServeArgs, terminal: &Terminal) -> u8 {
    report(listen(app, args, terminal), terminal)
}

fn listen(app: &App, args: &ServeArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let variables = env::parse(&args.env)?;
    // A mistake in it is found here, and not by every worker again.
    let config = cog_yaml::load(app, args.config.as_deref(), terminal)?;
    // SAFETY: (1) `main` has started no thread, and the server starts its threads below. Workers inherit the variables.
    unsafe { env::apply(config.environment(), &variables) };
    let role = app.role(args.kind).context("the arguments name a role that is there")?;
    let options = Options {
        kind: args.kind,
        worker_args: app.worker_args(WORKER),
        host: args.host.clone(),
        allow_hosts: args.allow_hosts.clone(),
        port: args.port,
        upload_url: args.upload_url.clone(),
        await_explicit_shutdown: args.await_explicit_shutdown,
        allow_local: args.allow_local,
        device: args.device.clone(),
        config: args.config.clone(),
        grace: args.grace.map(Duration::from_secs),
    };
    Ok(serve::serve(role, openapi(app), options)?)
}

/// Works for the server that started this process; the exit code.
pub(super) fn work(app: &App, terminal: &Terminal) -> u8 {
    report(take_work(app, terminal), terminal)
}

fn take_work(app: &App, terminal: &Terminal) -> anyhow::Result<()> {
    let start = Start::read()
        .context("this command is for the server that starts it\nhint: start one with `serve`")?;
    let options = &start.options;
    let config = cog_yaml::load(app, options.config.as_deref(), terminal)?;
    let device = match &options.device {
        Some(device) => device.parse::<DeviceChoice>()?,
        None => DeviceChoice::Auto,
    };
    let role = app.role(options.kind()).context("the server serves a role that is there")?;
    // SAFETY: (1) `main` has started no thread, and the first one starts below.
    unsafe {
        env::apply(config.environment(), &[]);
        compute::prepare();
    }
    let control = WorkerControl::default();
    listen_to_signals(&control).context("cannot listen for signals")?;
    let worker = RoleWorker::new(role, device, &config);
    serve::work(start, role, worker, &control).context("the connection to the server")
}

/// Signals that end the server reach its whole process group. The worker ignores them: the server cancels its training.
fn listen_to_signals(control: &WorkerControl) -> std::io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    signal_hook::flag::register(SIGUSR1, Arc::clone(&control.save)).map(drop)
}

/// The version as Cog's server prints it.
pub(super) fn version(terminal: &Terminal) -> u8 {
    print_answer(terminal, &format!("coglet (Rust) {}\n", serve::COG_VERSION))
}

fn report(ended: anyhow::Result<()>, terminal: &Terminal) -> u8 {
    let Err(error) = ended else { return 0 };
    terminal.error(&error_text(&error));
    find(&error).map_or(1, Error::exit_code)
}
