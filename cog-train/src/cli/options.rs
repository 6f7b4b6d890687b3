//! The options of `train` and `predict`, as the parser of arguments knows them.

use std::path::PathBuf;

use clap::{Arg, ArgAction};

use super::gpus::Gpus;
use crate::parallel::Reduce;
use crate::run::Kind;

/// The value of `--resume` that accepts changed inputs.
pub(super) const FORCE: &str = "force";

/// Returns the options of a training or of a prediction.
pub(super) fn options(kind: Kind) -> Vec<Arg> {
    let output = match kind {
        Kind::Train => {
            "Where to write the result: a file, a folder, or - for a value on standard output [default: weights]"
        }
        Kind::Predict => {
            "Where to write the result: a file, a folder, or - for standard output [default: -, files to output]"
        }
    };
    let mut options = vec![
        Arg::new("input")
            .short('i')
            .long("input")
            .value_name("NAME=VALUE")
            .help("An input, by value or by NAME=@FILE; repeat it for more, or for a list")
            .action(ArgAction::Append)
            .allow_hyphen_values(true),
        Arg::new("inputs")
            .long("inputs")
            .value_name("FILE")
            .help("Inputs from a YAML or JSON file, or from an earlier run's run.json; -i overrides them")
            .value_parser(clap::value_parser!(PathBuf)),
        Arg::new("json")
            .long("json")
            .value_name("TEXT|@FILE|-")
            .help("All inputs as one JSON object; the answer is JSON too, also in the file of -o")
            .conflicts_with_all(["input", "inputs"]),
        Arg::new("output").short('o').long("output").value_name("PATH").help(output),
        Arg::new("env")
            .short('e')
            .long("env")
            .value_name("NAME=VALUE")
            .help("An environment variable for the run; may be repeated")
            .action(ArgAction::Append),
        Arg::new("format")
            .long("format")
            .value_name("FORMAT")
            .help("The format of the answer: text [default] or json")
            .value_parser(["text", "json"])
            .hide_possible_values(true),
        Arg::new("device")
            .long("device")
            .value_name("DEVICE")
            .help("auto [default], cpu, cuda or cuda:N"),
        config_option(),
        Arg::new("force")
            .long("force")
            .help("Replace files in the output folder that this program did not write")
            .action(ArgAction::SetTrue),
    ];
    if kind == Kind::Predict {
        options.push(
            Arg::new("each")
                .long("each")
                .value_name("ROWS|-")
                .help("Predict for each row of a JSONL file, whose object is the inputs; a JSON line for each row is the result")
                .conflicts_with_all(["input", "inputs", "json"]),
        );
    }
    if kind == Kind::Train {
        options.extend([
            Arg::new("seed")
                .long("seed")
                .value_name("N")
                .help("The run's seed, where no input of that name is given [default: drawn and recorded]")
                .value_parser(clap::value_parser!(u64)),
            Arg::new("run-dir")
                .long("run-dir")
                .value_name("DIR")
                .help("The run's folder [default: a new one in runs/]")
                .value_parser(clap::value_parser!(PathBuf)),
            Arg::new("resume")
                .long("resume")
                .value_name(FORCE)
                .help("Resume the run in --run-dir, or the newest one; =force accepts changed inputs")
                .num_args(0..=1)
                .require_equals(true)
                .value_parser(["", FORCE])
                .hide_possible_values(true)
                .default_missing_value(""),
            Arg::new("gpus")
                .long("gpus")
                .value_name("N|all")
                .help("Train on N GPUs of this machine, one process for each")
                .value_parser(|text: &str| text.parse::<Gpus>())
                .conflicts_with("device"),
            Arg::new("reduce")
                .long("reduce")
                .value_name("exact|fast")
                .help("Add up gradients over processes in one order, or in that of the transport [default: exact]")
                .value_parser(|text: &str| text.parse::<Reduce>()),
            Arg::new("dry-run")
                .long("dry-run")
                .alias("plan")
                .help("Print the plan of the run without training")
                .action(ArgAction::SetTrue),
        ]);
    }
    options
}

/// Returns the option that names another `cog.yaml`.
pub(super) fn config_option() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("A cog.yaml in place of the one compiled in")
        .value_parser(clap::value_parser!(PathBuf))
}
