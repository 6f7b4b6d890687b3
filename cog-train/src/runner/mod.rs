//! From arguments to a finished run: what [`run!`](crate::run)'s `main` calls.
//!
//! It knows inputs, files, processes and terminals, and no tensor.

mod act;
mod answer;
mod app;
mod args;
mod bring;
mod changes;
mod clock;
mod cog_yaml;
#[doc(hidden)]
pub mod compute;
mod earlier;
mod embed;
mod env;
mod folder;
mod help;
mod lock;
mod outputs;
#[doc(hidden)]
pub mod pairs;
mod panics;
mod plan;
mod process;
mod returned;
mod roles;
mod run;
mod signals;
mod terminal;

use std::process::ExitCode;

use self::args::{Command, Stop};
use self::roles::Role;
use self::terminal::{Format, Terminal};
use crate::input::schema::{self, Api, Side};

pub use app::App;
pub use embed::Runner;

/// The `main` of a trainer's binary.
#[must_use]
pub fn main(app: &App) -> ExitCode {
    let terminal = Terminal::new(Format::Text);
    ExitCode::from(match args::parse(app, std::env::args_os()) {
        Ok(Command::Act(act)) => {
            let role = app.role(act.kind).expect("the arguments name a role that is there");
            act::act(app, role, &act)
        }
        Ok(Command::Schema) => answer(&terminal, &format!("{:#}\n", openapi(app))),
        Ok(Command::Check { config }) => cog_yaml::check(app, config.as_deref(), &terminal),
        Err(Stop::Shown(text)) => answer(&terminal, &text),
        Err(Stop::Wrong(text)) => {
            terminal.note(text.trim_end());
            2
        }
    })
}

/// Puts an answer on standard output; the exit code.
fn answer(terminal: &Terminal, text: &str) -> u8 {
    match terminal.result(text) {
        Ok(()) => 0,
        Err(error) => {
            terminal.error(&format!(
                "cannot write to standard output: {}",
                crate::error::plain_io(&error)
            ));
            1
        }
    }
}

/// The version of Cog whose interface the document follows.
const COG_VERSION: &str = "0.22.0";

/// The OpenAPI document of a binary.
fn openapi(app: &App) -> serde_json::Value {
    fn side(role: &Role) -> Side<'static> {
        Side { table: role.table, output: (role.output)() }
    }
    schema::document(&Api {
        version: COG_VERSION,
        train: app.trainer.as_ref().map(side),
        predict: app.predictor.as_ref().map(side),
    })
}

/// The whole chain of an error in one text, without candle's backtraces and without saying a thing twice.
pub(crate) fn error_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = crate::error::plain(cause);
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}
