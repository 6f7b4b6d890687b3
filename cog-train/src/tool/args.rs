//! The arguments of the tool's own commands.

use std::ffi::OsString;
use std::path::PathBuf;

use candle_core::DType;
use clap::ArgMatches;

use super::commands::{DTYPES, command};
use super::mistyped;
use super::template::Template;
use crate::cli::{self, App, Stop, UiArgs};
use crate::run::RUNS;

/// A command that is not a trainer's.
pub(super) enum Command {
    Convert(ConvertArgs),
    Doctor { json: bool },
    Inspect(InspectArgs),
    Merge(MergeArgs),
    New(NewArgs),
    Runs(RunsArgs),
    Ui(UiArgs),
}

/// A model to convert.
pub(super) struct ConvertArgs {
    pub(super) source: String,
    pub(super) output: PathBuf,
    pub(super) dtype: Option<DType>,
}

/// An adapter to merge.
pub(super) struct MergeArgs {
    pub(super) adapter: PathBuf,
    pub(super) base: Option<String>,
    pub(super) output: PathBuf,
}

/// A crate to write.
pub(super) struct NewArgs {
    pub(super) folder: PathBuf,
    pub(super) template: Template,
    /// The folder of the crate cog-train.
    pub(super) path: Option<PathBuf>,
    /// The address of a repository with the crate cog-train.
    pub(super) git: Option<String>,
}

/// Weights to describe.
pub(super) struct InspectArgs {
    pub(super) source: String,
    /// List every tensor and every value.
    pub(super) all: bool,
    pub(super) json: bool,
}

/// Runs to list or to compare.
pub(super) struct RunsArgs {
    pub(super) folder: PathBuf,
    /// The ids or folders of two runs to compare.
    pub(super) diff: Option<[String; 2]>,
    pub(super) json: bool,
}

/// Reads the arguments, the program's name first.
pub(super) fn parse(trainers: &[(&'static str, App)], args: &[OsString]) -> Result<Command, Stop> {
    let mut parser = command(trainers);
    let matches =
        parser.try_get_matches_from_mut(args).map_err(|error| {
            match mistyped::message(trainers, &parser, args, &error) {
                Some(message) => cli::wrong(&message),
                None => Stop::of(&error),
            }
        })?;
    let (name, matches) = matches.subcommand().expect("a command is required");
    let json = matches.try_get_one::<bool>("json").ok().flatten() == Some(&true);
    Ok(match name {
        "convert" => Command::Convert(ConvertArgs {
            source: text(matches, "IN"),
            output: path(matches, "output"),
            dtype: matches.get_one::<String>("dtype").and_then(|name| {
                DTYPES.iter().find(|(known, _)| known == name).map(|(_, dtype)| *dtype)
            }),
        }),
        "merge" => Command::Merge(MergeArgs {
            adapter: path(matches, "ADAPTER"),
            base: matches.get_one::<String>("base").cloned(),
            output: path(matches, "output"),
        }),
        "new" => Command::New(NewArgs {
            folder: path(matches, "NAME"),
            template: Template::of(&text(matches, "template")).expect("clap knows the templates"),
            path: matches.get_one::<PathBuf>("path").cloned(),
            git: matches.get_one::<String>("git").cloned(),
        }),
        "doctor" => Command::Doctor { json },
        "inspect" => Command::Inspect(InspectArgs {
            source: text(matches, "PATH"),
            all: matches.get_flag("all"),
            json,
        }),
        "runs" => Command::Runs(RunsArgs {
            folder: matches.get_one::<PathBuf>("DIR").cloned().unwrap_or_else(|| RUNS.into()),
            diff: matches.get_many::<String>("diff").map(|mut ids| {
                [ids.next(), ids.next()].map(|id| id.expect("two values are required").clone())
            }),
            json,
        }),
        "ui" => Command::Ui(cli::ui_args(matches)),
        other => unreachable!("`{other}` is no command"),
    })
}

fn path(matches: &ArgMatches, name: &str) -> PathBuf {
    matches.get_one::<PathBuf>(name).cloned().unwrap_or_default()
}

fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}
