//! The program `cog-train`: commands on runs and weights, and trainers that are ready to use; the feature `cli`.
//!
//! A trainer's name selects a program of [`run!`](crate::run), which reads the arguments behind it. All other commands are
//! functions from their arguments to a text for standard output.

mod args;
mod commands;
mod convert;
mod doctor;
mod inspect;
mod merge;
mod mistyped;
mod new;
mod runs;
mod staging;
mod template;

use std::process::ExitCode;

use self::args::Command;
use crate::cli::{self, App, Format, Terminal, print_answer};
use crate::error::Error;

/// The `main` of the tool, with its trainers by name. It must be the first call of the process.
#[must_use]
pub fn main(trainers: &[(&'static str, App)]) -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(name) = args.get(1)
        && let Some((name, app)) = trainers.iter().find(|(known, _)| name == known)
    {
        return cli::main(&app.clone().in_tool(name));
    }
    let terminal = Terminal::new(Format::Text);
    let command = match args::parse(trainers, &args) {
        Ok(command) => command,
        Err(stop) => return ExitCode::from(cli::stopped(&stop, &terminal)),
    };
    ExitCode::from(match perform(command, &terminal) {
        Ok(Done { text, code }) => match print_answer(&terminal, &text) {
            0 => code,
            failed => failed,
        },
        Err(error) => {
            terminal.close();
            terminal.error(&error.to_string());
            error.exit_code()
        }
    })
}

/// The text and the exit code of a command.
struct Done {
    text: String,
    code: u8,
}

impl From<String> for Done {
    fn from(text: String) -> Self {
        Self { text, code: 0 }
    }
}

fn perform(command: Command, terminal: &Terminal) -> Result<Done, Error> {
    Ok(match command {
        Command::Convert(args) => convert::convert(&args, &mut terminal.clone())?.into(),
        Command::Doctor { json } => doctor::doctor(json),
        Command::Inspect(args) => inspect::inspect(&args, &mut terminal.clone())?.into(),
        Command::Merge(args) => merge::merge(&args, &mut terminal.clone())?.into(),
        Command::New(args) => new::new(&args)?.into(),
        Command::Runs(args) => runs::runs(&args)?.into(),
        Command::Ui(args) => Done { text: String::new(), code: cli::ui(&args, terminal) },
    })
}
