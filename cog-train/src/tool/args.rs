//! The arguments of the tool's own commands.

use std::ffi::OsString;
use std::path::PathBuf;

use candle_core::DType;
use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, ArgMatches, Command as Clap, value_parser};

use super::template::Template;
use crate::cli::{self, App, Stop, UiArgs};

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

/// The names of dtypes for `--dtype`.
const DTYPES: [(&str, DType); 3] =
    [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];

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
pub(super) fn parse(
    trainers: &[(&'static str, App)],
    args: Vec<OsString>,
) -> Result<Command, Stop> {
    let matches = command(trainers).try_get_matches_from(args).map_err(|error| Stop::of(&error))?;
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
        }),
        "doctor" => Command::Doctor { json },
        "inspect" => Command::Inspect(InspectArgs {
            source: text(matches, "PATH"),
            all: matches.get_flag("all"),
            json,
        }),
        "runs" => Command::Runs(RunsArgs {
            folder: matches.get_one::<PathBuf>("DIR").cloned().unwrap_or_else(|| "runs".into()),
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

fn command(trainers: &[(&'static str, App)]) -> Clap {
    let json =
        || Arg::new("json").long("json").help("Print one JSON object").action(ArgAction::SetTrue);
    let path_parser = || value_parser!(PathBuf);
    let output = || {
        Arg::new("output")
            .short('o')
            .long("output")
            .value_name("OUT")
            .help("A folder to write, or a file `NAME.gguf`")
            .required(true)
            .value_parser(path_parser())
    };
    let needed = |name: &'static str, help: &'static str| Arg::new(name).help(help).required(true);
    let mut command = Clap::new("cog-train")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Fine-tune models, and look at runs and weights")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .after_help(trainers_help(trainers))
        .subcommand(
            Clap::new("new")
                .about("Write a crate that trains at once")
                .arg(needed("NAME", "The crate's folder, whose last part is its name").value_parser(path_parser()))
                .arg(
                    Arg::new("template")
                        .long("template")
                        .value_name("TEMPLATE")
                        .help("What it trains")
                        .default_value("function")
                        .value_parser(Template::ALL.map(|it| {
                            PossibleValue::new(it.name()).help(it.about())
                        })),
                )
                .arg(
                    Arg::new("path")
                        .long("path")
                        .value_name("DIR")
                        .help(
                            "The folder of the crate cog-train [default: the one that this program was built from, else the \
                             registry's]",
                        )
                        .value_parser(path_parser()),
                ),
        )
        .subcommand(
            Clap::new("doctor")
                .about("Report what this machine trains with, and what is missing")
                .long_about(
                    "Reports what this machine trains with: processor, memory, disks, GPUs and NVIDIA's libraries. \
                     The exit code is 1 when something that is needed is broken.",
                )
                .arg(json()),
        )
        .subcommand(
            Clap::new("inspect")
                .about("List the tensors, metadata and digests of weights")
                .arg(needed(
                    "PATH",
                    "A safetensors or GGUF file, a model's, adapter's or checkpoint's folder, an archive, or an address of \
                     one",
                ))
                .arg(
                    Arg::new("all")
                        .long("all")
                        .help("List every tensor and value")
                        .action(ArgAction::SetTrue),
                )
                .arg(json()),
        )
        .subcommand(
            Clap::new("runs")
                .about("List the runs in a folder, or compare two")
                .arg(
                    Arg::new("DIR")
                        .help("The folder of runs [default: runs]")
                        .value_parser(value_parser!(PathBuf)),
                )
                .arg(
                    Arg::new("diff")
                        .long("diff")
                        .value_names(["A", "B"])
                        .num_args(2)
                        .help("Print what differs between two runs, each an id or a folder"),
                )
                .arg(json()),
        )
        .subcommand(cli::ui_command())
        .subcommand(
            Clap::new("merge")
                .about("Merge an adapter into its base")
                .arg(
                    needed("ADAPTER", "The folder of an adapter in PEFT's format")
                        .value_parser(path_parser()),
                )
                .arg(
                    Arg::new("base")
                        .long("base")
                        .value_name("MODEL")
                        .help("The base: a folder, a GGUF file or `org/name` [default: the one that the adapter names]"),
                )
                .arg(output()),
        )
        .subcommand(
            Clap::new("convert")
                .about("Convert a model between safetensors and GGUF")
                .arg(needed("IN", "The model: a folder, a GGUF file, or `org/name` of a hub"))
                .arg(output())
                .arg(
                    Arg::new("dtype")
                        .long("dtype")
                        .value_name("DTYPE")
                        .help("The type of the tensors [default: as they are]")
                        .value_parser(DTYPES.map(|(name, _)| name)),
                ),
        );
    for (name, _) in trainers {
        // For suggestions: these calls do not come here.
        command = command.subcommand(Clap::new(*name).hide(true));
    }
    command
}

fn trainers_help(trainers: &[(&'static str, App)]) -> String {
    let width = trainers.iter().map(|(name, _)| name.len()).max().unwrap_or_default().max(7);
    let mut text = String::from("Trainers (`cog-train NAME --help` lists inputs and commands):\n");
    for (name, app) in trainers {
        text.push_str(&format!("  {name:width$}  {}\n", app.about()));
    }
    text.push_str("\nA first training: cog-train sft");
    text
}
