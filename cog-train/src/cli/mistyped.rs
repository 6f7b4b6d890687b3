//! Arguments in the wrong form: inputs as options or bare words, commands as options, options as commands, commands of
//! another program.

use std::ffi::OsString;

use clap::Command as Clap;
use clap::error::{ContextKind, ContextValue, Error};

use super::app::App;
use crate::input::Kind as InputKind;

/// The commands of the program `cog-train` that are no trainer's.
const TOOL_COMMANDS: [&str; 6] = ["convert", "doctor", "inspect", "merge", "new", "runs"];

/// An input that was written as an option or as a bare word.
pub(crate) struct BareInput {
    /// The input as it was written, without its value.
    pub(crate) written: String,
    /// The arguments to write in its place.
    pub(crate) correct: String,
}

/// Returns the message for an argument that the parser of a trainer does not know.
pub(super) fn message(
    app: &App,
    parser: &Clap,
    args: &[OsString],
    error: &Error,
) -> Option<String> {
    let unknown = unknown(error)?;
    if let Some(BareInput { written, correct }) = bare_input(app, args, unknown) {
        return Some(format!("`{written}` is an input and not an option\nhint: write `{correct}`"));
    }
    let command = args.get(1).and_then(|name| parser.find_subcommand(name)).unwrap_or(parser);
    swapped(command, unknown).or_else(|| {
        TOOL_COMMANDS.contains(&unknown).then(|| {
            format!("`{unknown}` is a command of the program `cog-train`\nhint: write `cog-train {unknown}`")
        })
    })
}

/// Returns the argument that the parser does not know, an option without its value.
pub(crate) fn unknown(error: &Error) -> Option<&str> {
    let context = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    match context.into_iter().find_map(|kind| error.get(kind))? {
        ContextValue::String(unknown) => Some(unknown),
        _ => None,
    }
}

/// Returns the input that an unknown argument names: `--epochs 3`, `--epochs=3` or `epochs=3`.
pub(crate) fn bare_input(app: &App, args: &[OsString], unknown: &str) -> Option<BareInput> {
    let is_unknown = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.starts_with(unknown));
    let at = 1 + args.iter().skip(1).position(is_unknown)?;
    let text = args[at].to_str()?;
    let option = text.strip_prefix("--");
    let (name, value) = match option.unwrap_or(text).split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option?, args.get(at + 1).and_then(|next| next.to_str())),
    };
    let name = name.replace('-', "_");
    let roles = [&app.trainer, &app.predictor].into_iter().flatten();
    let spec = roles.flat_map(|role| role.table).find(|spec| spec.name == name)?;
    let value = value.filter(|value| spec.ty.kind != InputKind::Secret && !value.starts_with('-'));
    Some(BareInput {
        written: match option {
            Some(_) => format!("--{}", name.replace('_', "-")),
            None => name.clone(),
        },
        correct: format!("-i {name}={}", value.unwrap_or("VALUE")),
    })
}

/// Returns the message for an option that was written as a command, or a command that was written as an option.
pub(crate) fn swapped(parser: &Clap, unknown: &str) -> Option<String> {
    if let Some(word) = unknown.strip_prefix("--") {
        let command = parser.find_subcommand(word).filter(|command| !command.is_hide_set());
        return command.map(|_| {
            format!("`{unknown}` is a command and not an option\nhint: write `{word}`, before all options")
        });
    }
    let (name, _) = unknown.split_once('=').unwrap_or((unknown, ""));
    has_option(parser, name)
        .then(|| format!("`{name}` is an option and not a command\nhint: write `--{unknown}`"))
}

/// Whether a parser has an option of this name, a long or a short one.
pub(crate) fn has_option(parser: &Clap, name: &str) -> bool {
    parser.get_arguments().any(|arg| {
        let short = arg.get_short().map(String::from);
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || short.as_deref() == Some(name) || aliases.contains(&name)
    })
}
