//! The command line of a trainer's binary: the `main` of [`run!`](crate::run).

pub(crate) mod allocator;
mod answer;
mod app;
mod args;
mod cog_yaml;
pub mod compute;
mod dockerfile;
mod each;
mod env;
mod gpus;
mod guard;
mod help;
mod inputs_file;
mod invoke;
mod mistyped;
mod next;
mod openapi;
mod options;
pub mod pairs;
mod plan;
mod python;
#[cfg_attr(not(feature = "serve"), path = "no_serve.rs")]
mod serve;
mod serve_args;
mod signals;
mod stop;
mod terminal;
#[cfg_attr(not(feature = "serve"), path = "no_ui.rs")]
mod ui;
mod ui_args;

use std::process::ExitCode;

use self::args::Command;
use self::openapi::{COG_VERSION, openapi};
use self::serve_args::ServeCall;
use crate::error::Error;

pub use app::App;
#[cfg(feature = "cli")]
pub(crate) use {
    args::command as trainer_command,
    mistyped::{BareInput, bare_input, has_option, swapped, unknown},
    stop::wrong,
    terminal::table_text,
    ui::ui,
    ui_args::{UiArgs, command as ui_command, parse as ui_args},
};
pub(crate) use {
    stop::Stop,
    terminal::{Format, Terminal, print_answer},
};

/// The `main` of a trainer's binary. It must be the first call of the process: it sets variables of the environment.
#[expect(clippy::missing_panics_doc, reason = "the arguments name only roles that are there")]
#[must_use]
pub fn main(app: &App) -> ExitCode {
    let terminal = Terminal::new(Format::Text);
    ExitCode::from(match args::parse(app, app.args()) {
        Ok(Command::Invoke(invocation)) => {
            let role = app.role(invocation.kind).expect("the arguments name a role that is there");
            match &invocation.each {
                Some(rows) => each::each(app, role, &invocation, rows),
                None => invoke::invoke(app, role, &invocation),
            }
        }
        Ok(Command::Schema { compact: false }) => {
            print_answer(&terminal, &format!("{:#}\n", openapi(app)))
        }
        Ok(Command::Schema { compact: true }) => {
            print_answer(&terminal, &format!("{}\n", openapi(app)))
        }
        Ok(Command::Dockerfile(features)) => match dockerfile(app, &features, &terminal) {
            Ok(text) => print_answer(&terminal, &text),
            Err(error) => {
                terminal.error(&error.to_string());
                error.exit_code()
            }
        },
        Ok(Command::Check { config }) => cog_yaml::check(app, config.as_deref(), &terminal),
        Ok(Command::Serve(ServeCall::Listen(args))) => serve::serve(app, &args, &terminal),
        Ok(Command::Serve(ServeCall::Version)) => serve::version(&terminal),
        Ok(Command::Serve(ServeCall::Work)) => serve::work(app, &terminal),
        Ok(Command::Ui(args)) => ui::ui(&args, &terminal),
        Err(stop) => stopped(&stop, &terminal),
    })
}

/// Prints why there is no command; the exit code.
pub(crate) fn stopped(stop: &Stop, terminal: &Terminal) -> u8 {
    match stop {
        Stop::Shown(text) => print_answer(terminal, text),
        Stop::Wrong(text) => {
            terminal.note(text.trim_end());
            2
        }
    }
}

/// Returns the Dockerfile of a binary, by the `cog.yaml` that was compiled in.
fn dockerfile(app: &App, features: &[String], terminal: &Terminal) -> Result<String, Error> {
    if let Some(name) = app.command {
        let reason = format!(
            "`{name}` is a part of `cog-train`, and a Dockerfile is that of a crate\nhint: `cog-train new NAME` writes one"
        );
        return Err(Error::Arguments { reason });
    }
    let config = cog_yaml::load(app, None, terminal)?;
    dockerfile::dockerfile(app, &config, features, &openapi(app).to_string(), COG_VERSION)
}
