//! The command line as a value. Nothing here opens a file.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};

use super::app::App;
use super::gpus::Gpus;
use super::options::{FORCE, config_option, options};
use super::serve_args::ServeCall;
use super::stop::{Stop, wrong};
use super::terminal::Format;
use super::ui_args::UiArgs;
use super::{dockerfile, help, mistyped, python, serve_args, ui_args};
use crate::device::DeviceChoice;
use crate::error::Error;
use crate::parallel::Reduce;
use crate::run::{Kind, Resume};

/// A command of the process.
pub(crate) enum Command {
    Invoke(Box<Invocation>),
    Schema {
        compact: bool,
    },
    /// With these features of cargo.
    Dockerfile(Vec<String>),
    Check {
        config: Option<PathBuf>,
    },
    Serve(ServeCall),
    Ui(UiArgs),
}

/// A training or a prediction.
pub(crate) struct Invocation {
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<String>,
    pub(crate) json: Option<String>,
    /// A file of inputs, which those of `inputs` override.
    pub(crate) inputs_file: Option<PathBuf>,
    /// The rows to predict for, one by one: a file, or `-`.
    pub(crate) each: Option<String>,
    pub(crate) env: Vec<String>,
    pub(crate) output: Option<String>,
    pub(crate) format: Format,
    pub(crate) device: DeviceChoice,
    pub(crate) config: Option<PathBuf>,
    pub(crate) seed: Option<u64>,
    pub(crate) run_dir: Option<PathBuf>,
    pub(crate) resume: Option<Resume>,
    /// Train on several GPUs of this machine.
    pub(crate) gpus: Option<Gpus>,
    pub(crate) reduce: Option<Reduce>,
    /// Print the plan of the run, and do nothing.
    pub(crate) dry_run: bool,
    /// Replace foreign files in the output folder.
    pub(crate) force: bool,
}

const TRAIN: &str = "train";
const PREDICT: &str = "predict";

/// Reads the arguments, the program's name first.
pub(crate) fn parse(app: &App, args: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(stop) = python::answer(&args) {
        return Err(stop);
    }
    if let Some(call) = serve_args::parse_call(app, &args) {
        return call.map(Command::Serve);
    }
    let mut parser = command(app, &args);
    if let Some(message) = mistyped::single_dash(app, &parser, &args) {
        return Err(wrong(&message));
    }
    let matches =
        parser.try_get_matches_from_mut(&args).map_err(|error| {
            match mistyped::message(app, &parser, &args, &error) {
                Some(message) => wrong(&message),
                None => Stop::of(&error),
            }
        })?;
    match matches.subcommand() {
        Some((TRAIN, inner)) => invocation(app, Kind::Train, inner),
        Some((PREDICT, inner)) => invocation(app, Kind::Predict, inner),
        Some(("schema", inner)) => Ok(Command::Schema { compact: inner.get_flag("compact") }),
        Some(("dockerfile", inner)) => Ok(Command::Dockerfile(dockerfile::features(inner))),
        Some(("check", inner)) => {
            Ok(Command::Check { config: inner.get_one::<PathBuf>("config").cloned() })
        }
        Some(("serve", inner)) => serve_args::parse(app, inner).map(Command::Serve),
        Some(("ui", inner)) => Ok(Command::Ui(ui_args::parse(inner))),
        _ => invocation(app, app.default_role().map_or(Kind::Train, |role| role.kind), &matches),
    }
}

fn invocation(app: &App, kind: Kind, matches: &ArgMatches) -> Result<Command, Stop> {
    if app.role(kind).is_none() {
        let (none, hint) = match kind {
            Kind::Train => ("trainer", "run!(MyTrainer)"),
            Kind::Predict => ("predictor", "run!(MyTrainer, predictor = MyPredictor)"),
        };
        return Err(wrong(&format!(
            "this binary has no {none}\nhint: write `{hint}` in its source"
        )));
    }
    let texts = |id: &str| matches.get_many::<String>(id).into_iter().flatten().cloned().collect();
    let flag = |id: &str| matches.try_get_one::<bool>(id).ok().flatten() == Some(&true);
    let json = matches.get_one::<String>("json").cloned();
    let device: DeviceChoice = match matches.get_one::<String>("device") {
        Some(text) => text.parse().map_err(|error: Error| wrong(&error.to_string()))?,
        None => DeviceChoice::Auto,
    };
    let format = match matches.get_one::<String>("format").map(String::as_str) {
        Some("json") => Format::Json,
        None if json.is_some() => Format::Json,
        _ => Format::Text,
    };
    Ok(Command::Invoke(Box::new(Invocation {
        kind,
        inputs: texts("input"),
        json,
        inputs_file: matches.get_one::<PathBuf>("inputs").cloned(),
        each: matches.try_get_one::<String>("each").ok().flatten().cloned(),
        env: texts("env"),
        output: matches.get_one::<String>("output").cloned(),
        format,
        device,
        config: matches.get_one::<PathBuf>("config").cloned(),
        seed: matches.try_get_one::<u64>("seed").ok().flatten().copied(),
        run_dir: matches.try_get_one::<PathBuf>("run-dir").ok().flatten().cloned(),
        resume: matches
            .try_get_one::<String>("resume")
            .ok()
            .flatten()
            .map(|how| if how == FORCE { Resume::Force } else { Resume::Same }),
        gpus: matches.try_get_one::<Gpus>("gpus").ok().flatten().copied(),
        reduce: matches.try_get_one::<Reduce>("reduce").ok().flatten().copied(),
        dry_run: flag("dry-run"),
        force: flag("force"),
    })))
}

/// Returns the parser of a trainer's arguments, the program's name first.
pub(crate) fn command(app: &App, args: &[OsString]) -> Clap {
    let program = args
        .first()
        .and_then(|path| std::path::Path::new(path).file_name())
        .map_or_else(|| "trainer".to_owned(), |name| name.to_string_lossy().into_owned());
    let mut command = Clap::new(program)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .max_term_width(100);
    if let Some(role) = app.default_role() {
        command = command
            .about(about(role.about, role.kind))
            .args(options(role.kind))
            .after_help(after_help(app, role.kind));
    }
    for kind in [Kind::Train, Kind::Predict] {
        let name = if kind == Kind::Train { TRAIN } else { PREDICT };
        let role = app.role(kind);
        let short = match kind {
            Kind::Train => "Train (the default)",
            Kind::Predict => "Predict with what COG_WEIGHTS names, or with the base",
        };
        let mut sub = Clap::new(name)
            .about(short)
            .args(options(kind))
            .hide(role.is_none())
            .max_term_width(100);
        if kind == Kind::Predict {
            sub = sub.visible_alias("run");
        }
        if let Some(role) = role {
            sub = sub.long_about(about(role.about, kind)).after_help(after_help(app, kind));
        }
        command = command.subcommand(sub);
    }
    command
        .subcommand(Clap::new("schema").about("Print the OpenAPI document").arg(
            Arg::new("compact").long("compact").help("On one line").action(ArgAction::SetTrue),
        ))
        .subcommand(dockerfile::command().hide(app.command.is_some()))
        .subcommand(
            Clap::new("check").about("Check cog.yaml against this binary").arg(config_option()),
        )
        .subcommand(serve_args::command())
        .subcommand(ui_args::command())
}

fn about(text: &'static str, kind: Kind) -> &'static str {
    match (text, kind) {
        ("", Kind::Train) => "Trains",
        ("", Kind::Predict) => "Predicts",
        (text, _) => text,
    }
}

fn after_help(app: &App, kind: Kind) -> String {
    let width = rustix::termios::tcgetwinsize(rustix::stdio::stdout())
        .map_or(100, |size| usize::from(size.ws_col));
    let width = if width == 0 { 100 } else { width.min(100) };
    let mut text = app
        .role(kind)
        .map_or_else(String::new, |role| help::inputs(role.table, "Inputs (-i NAME=VALUE)", width));
    text.push_str(
        "\nA value that begins with @ is read from the file it names; @@ is a literal @.",
    );
    text
}
