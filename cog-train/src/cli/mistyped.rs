//! Arguments in the wrong form: inputs as options or bare words, commands as options, options as commands, commands of
//! another program.

use std::ffi::OsString;

use clap::Command as Clap;
use clap::error::{ContextKind, ContextValue, Error};

use super::app::App;
use crate::input::{Kind as InputKind, Spec};
use crate::message::nearest;

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
        return Some(not_an_option(&written, &correct));
    }
    let command = command_of(parser, args);
    swapped(command, unknown)
        .or_else(|| {
            TOOL_COMMANDS.contains(&unknown).then(|| {
                format!("`{unknown}` is a command of the program `cog-train`\nhint: write `cog-train {unknown}`")
            })
        })
        .or_else(|| near_input(app, command, args, unknown))
}

/// Returns the parser of the command that the arguments name.
fn command_of<'a>(parser: &'a Clap, args: &[OsString]) -> &'a Clap {
    args.get(1).and_then(|name| parser.find_subcommand(name)).unwrap_or(parser)
}

/// Returns the message for an input or an option with a single dash. The parser would take `-epochs=3` for `-e pochs=3`, a
/// variable, and `-output=x` for `-o utput=x`.
pub(super) fn single_dash(app: &App, parser: &Clap, args: &[OsString]) -> Option<String> {
    let command = command_of(parser, args);
    let mut previous = "";
    for (at, arg) in args.iter().enumerate().skip(1) {
        let text = arg.to_str().unwrap_or_default();
        if text == "--" {
            return None;
        }
        // The value of an input may begin with a dash.
        let is_value = matches!(previous, "-i" | "--input");
        previous = text;
        let Some(word) = text.strip_prefix('-').filter(|word| !is_value && !word.starts_with('-'))
        else {
            continue;
        };
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        let written = format!("-{name}");
        if let Some(spec) = input_named(app, name) {
            let value = value_of(args, at);
            return Some(not_an_option(&written, &correct(spec, value)));
        }
        if name.len() > 1 && has_option(command, name) {
            return Some(format!("`{written}` is not an option\nhint: write `--{name}`"));
        }
    }
    None
}

fn not_an_option(written: &str, correct: &str) -> String {
    format!("`{written}` is an input and not an option\nhint: write `{correct}`")
}

/// Returns the message for an unknown argument that is nearer to an input than to an option.
fn near_input(app: &App, parser: &Clap, args: &[OsString], unknown: &str) -> Option<String> {
    let at = position(args, unknown)?;
    let text = args[at].to_str()?;
    let option = text.strip_prefix("--");
    if option.is_none() && !text.contains('=') {
        return None;
    }
    let word = option.unwrap_or(text);
    let name = word.split_once('=').map_or(word, |(name, _)| name).replace('-', "_");
    let inputs = roles(app).map(|spec| spec.name);
    let options = parser.get_arguments().filter_map(clap::Arg::get_long);
    let nearest = nearest(&name, inputs.chain(options.filter(|_| option.is_some())))?;
    let spec = input_named(app, nearest)?;
    let written = if option.is_some() { format!("--{}", name.replace('_', "-")) } else { name };
    let correct = correct(spec, value_of(args, at));
    Some(format!("`{written}` is neither an option nor an input\nhint: did you mean `{correct}`?"))
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
    let at = position(args, unknown)?;
    let text = args[at].to_str()?;
    let option = text.strip_prefix("--");
    if option.is_none() && !text.contains('=') {
        return None;
    }
    let word = option.unwrap_or(text);
    let name = word.split_once('=').map_or(word, |(name, _)| name).replace('-', "_");
    let spec = input_named(app, &name)?;
    Some(BareInput {
        written: match option {
            Some(_) => format!("--{}", name.replace('_', "-")),
            None => name,
        },
        correct: correct(spec, value_of(args, at)),
    })
}

fn position(args: &[OsString], unknown: &str) -> Option<usize> {
    let is_unknown = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.starts_with(unknown));
    Some(1 + args.iter().skip(1).position(is_unknown)?)
}

/// Returns the value of an argument: behind its `=`, else the next argument.
fn value_of(args: &[OsString], at: usize) -> Option<&str> {
    match args[at].to_str()?.split_once('=') {
        Some((_, value)) => Some(value),
        None => args.get(at + 1)?.to_str(),
    }
}

/// Returns the arguments that give an input its value, without a secret.
fn correct(spec: &Spec, value: Option<&str>) -> String {
    let value = value.filter(|value| spec.ty.kind != InputKind::Secret && !value.starts_with('-'));
    format!("-i {}={}", spec.name, value.unwrap_or("VALUE"))
}

/// The inputs of the trainer and of the predictor.
fn roles(app: &App) -> impl Iterator<Item = &'static Spec> {
    [&app.trainer, &app.predictor].into_iter().flatten().flat_map(|role| role.table)
}

fn input_named(app: &App, name: &str) -> Option<&'static Spec> {
    let name = name.replace('-', "_");
    roles(app).find(|spec| spec.name == name)
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
