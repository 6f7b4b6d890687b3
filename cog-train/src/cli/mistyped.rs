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
        // A short option, whatever an input of one letter is called.
        if name.len() == 1 {
            continue;
        }
        let written = format!("-{name}");
        if let Some(spec) = input_named(app, name) {
            let value = value_of(args, at);
            return Some(not_an_option(&written, &correct(spec, value)));
        }
        if has_option(command, name) {
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
    let argument = Argument::find(args, unknown)?;
    let inputs = roles(app).map(|spec| spec.name);
    let options = parser.get_arguments().filter_map(clap::Arg::get_long);
    let candidates = inputs.chain(options.filter(|_| argument.is_option));
    let spec = input_named(app, nearest(&argument.name, candidates)?)?;
    Some(format!(
        "`{}` is neither an option nor an input\nhint: did you mean `{}`?",
        argument.written(),
        correct(spec, argument.value)
    ))
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
    let argument = Argument::find(args, unknown)?;
    let spec = input_named(app, &argument.name)?;
    Some(BareInput { written: argument.written(), correct: correct(spec, argument.value) })
}

/// An unknown argument that has the form of an option or of an input: `--epochs 3`, `--epochs=3` or `epochs=3`.
struct Argument<'a> {
    /// Its name, as an input would be called.
    name: String,
    is_option: bool,
    value: Option<&'a str>,
}

impl<'a> Argument<'a> {
    fn find(args: &'a [OsString], unknown: &str) -> Option<Self> {
        let is_unknown = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.starts_with(unknown));
        let at = 1 + args.iter().skip(1).position(is_unknown)?;
        let text = args[at].to_str()?;
        let option = text.strip_prefix("--");
        if option.is_none() && !text.contains('=') {
            return None;
        }
        let word = option.unwrap_or(text);
        let name = word.split_once('=').map_or(word, |(name, _)| name).replace('-', "_");
        Some(Self { name, is_option: option.is_some(), value: value_of(args, at) })
    }

    /// The argument as it was written, without its value.
    fn written(&self) -> String {
        if self.is_option {
            format!("--{}", self.name.replace('_', "-"))
        } else {
            self.name.clone()
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::command;
    use crate::{Job, Setup, TrainInputs, Trainer};

    #[derive(TrainInputs)]
    #[expect(dead_code, reason = "their names are what is tested")]
    struct Letters {
        o: u32,
        i: u32,
        epochs: u32,
    }

    struct Any;

    impl Trainer for Any {
        type Inputs = Letters;
        type Output = bool;

        fn setup(_setup: &Setup) -> anyhow::Result<Self> {
            Ok(Self)
        }

        fn train(&mut self, _inputs: Letters, _job: &mut Job) -> anyhow::Result<bool> {
            Ok(true)
        }
    }

    #[test]
    fn an_input_of_one_letter_leaves_the_short_options_as_they_are() {
        let app = App::new("/none", "src/main.rs").trainer::<Any>("Any");
        let said = |call: &[&str]| {
            let args: Vec<OsString> =
                ["bin"].iter().chain(call).map(|arg| OsString::from(*arg)).collect();
            single_dash(&app, &command(&app, &args), &args)
        };
        for call in [&["-o", "out"][..], &["-i", "o=3"], &["-o=out"], &["-oout", "-iepochs=2"]] {
            assert_eq!(said(call), None, "{call:?}");
        }
        assert!(said(&["-epochs=2"]).unwrap().ends_with("write `-i epochs=2`"));
    }
}
