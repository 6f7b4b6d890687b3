//! The tool's own commands, as the parser of arguments knows them.

use std::fmt::Write;
use std::path::PathBuf;

use candle_core::DType;
use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command, value_parser};

use super::template::Template;
use crate::cli::{self, App};

/// The names of dtypes for `--dtype`.
pub(super) const DTYPES: [(&str, DType); 3] =
    [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];

/// The tool with its commands. The trainers are known by their names.
pub(super) fn command(trainers: &[(&'static str, App)]) -> Command {
    let command = Command::new("cog-train")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Fine-tune models, and look at runs and weights")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .after_help(trainers_help(trainers))
        .subcommands([new(), doctor(), inspect(), runs(), cli::ui_command(), merge(), convert()]);
    // For suggestions: these calls do not come here.
    command.subcommands(trainers.iter().map(|(name, _)| Command::new(*name).hide(true)))
}

fn new() -> Command {
    Command::new("new").about("Write a crate that trains at once").args([
        needed("NAME", "The crate's folder, whose last part is its name")
            .value_parser(value_parser!(PathBuf)),
        Arg::new("template")
            .long("template")
            .value_name("TEMPLATE")
            .help("What it trains")
            .default_value("function")
            .value_parser(
                Template::ALL.map(|it| PossibleValue::new(it.name()).help(it.about())),
            ),
        Arg::new("path")
            .long("path")
            .value_name("DIR")
            .help(
                "The folder of the crate cog-train [default: the one that this program was built from, else that of the registry]",
            )
            .value_parser(value_parser!(PathBuf)),
        Arg::new("git")
            .long("git")
            .value_name("URL")
            .help("A git repository with the crate cog-train, in place of a folder")
            .conflicts_with("path"),
    ])
}

fn doctor() -> Command {
    Command::new("doctor")
        .about("Report what this machine trains with, and what is missing")
        .long_about(
            "Reports what this machine trains with: processor, memory, disks, GPUs and NVIDIA's libraries. The exit code is 1 \
             when something that is needed is broken.",
        )
        .arg(json())
}

fn inspect() -> Command {
    let path = "A safetensors or GGUF file, a model's, adapter's or checkpoint's folder, an archive, or an address of one";
    Command::new("inspect").about("List the tensors, metadata and digests of weights").args([
        needed("PATH", path),
        Arg::new("all").long("all").help("List every tensor and value").action(ArgAction::SetTrue),
        json(),
    ])
}

fn runs() -> Command {
    Command::new("runs").about("List the runs in a folder, or compare two").args([
        Arg::new("DIR")
            .help("The folder of runs [default: runs]")
            .value_parser(value_parser!(PathBuf)),
        Arg::new("diff")
            .long("diff")
            .value_names(["A", "B"])
            .num_args(2)
            .help("Print what differs between two runs, each an id or a folder"),
        json(),
    ])
}

fn merge() -> Command {
    Command::new("merge").about("Merge an adapter into its base").args([
        needed("ADAPTER", "The folder of an adapter in PEFT's format")
            .value_parser(value_parser!(PathBuf)),
        Arg::new("base")
            .long("base")
            .value_name("MODEL")
            .help("The base: a folder, a GGUF file or `org/name` [default: the one that the adapter names]"),
        output(),
    ])
}

fn convert() -> Command {
    Command::new("convert").about("Convert a model between safetensors and GGUF").args([
        needed("IN", "The model: a folder, a GGUF file, or `org/name` of a hub"),
        output(),
        Arg::new("dtype")
            .long("dtype")
            .value_name("DTYPE")
            .help("The type of the tensors [default: as they are]")
            .value_parser(DTYPES.map(|(name, _)| name)),
    ])
}

fn json() -> Arg {
    Arg::new("json").long("json").help("Print one JSON object").action(ArgAction::SetTrue)
}

fn output() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("OUT")
        .help("A folder to write, or a file `NAME.gguf`")
        .required(true)
        .value_parser(value_parser!(PathBuf))
}

fn needed(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).help(help).required(true)
}

fn trainers_help(trainers: &[(&'static str, App)]) -> String {
    let width = trainers.iter().map(|(name, _)| name.len()).max().unwrap_or_default().max(7);
    let mut text = String::from("Trainers (`cog-train NAME --help` lists inputs and commands):\n");
    for (name, app) in trainers {
        let _ = writeln!(text, "  {name:width$}  {}", app.about());
    }
    text.push_str("\nA first training: cog-train sft");
    text
}
