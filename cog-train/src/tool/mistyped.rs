//! Arguments that the tool does not know: those of a trainer without its name, and words of other programs.

use std::ffi::OsString;

use clap::Command as Clap;
use clap::error::Error;

use crate::cli::{self, App, BareInput};

/// Commands that other programs have, and what to write in their place.
const ELSEWHERE: [(&[&str], &str); 8] = [
    (
        &["finetune", "fine-tune", "fine_tune", "tune", "lora", "qlora"],
        "`cog-train sft` fine-tunes a language model, or trains a LoRA adapter of it",
    ),
    (&["orpo"], "`cog-train dpo` has the losses of DPO and ORPO"),
    (
        &["generate", "chat", "infer", "inference"],
        "`COG_WEIGHTS=weights cog-train sft predict` answers a prompt",
    ),
    (&["init", "create"], "`cog-train new` writes a crate"),
    (&["list", "ls", "ps"], "`cog-train runs` lists the runs of a folder"),
    (&["diff", "compare"], "`cog-train runs --diff A B` compares two runs"),
    (&["info", "show"], "`cog-train inspect` describes weights"),
    (
        &["dockerfile", "docker", "build"],
        "`cog-train new` writes a crate, whose program has the command `dockerfile`",
    ),
];

/// Returns the message for an argument that the parser does not know in the place of a command.
pub(super) fn message(
    trainers: &[(&'static str, App)],
    parser: &Clap,
    args: &[OsString],
    error: &Error,
) -> Option<String> {
    if args.get(1).is_none_or(|name| parser.find_subcommand(name).is_some()) {
        return None;
    }
    let unknown = cli::unknown(error)?;
    cli::swapped(parser, unknown).or_else(|| of_trainer(trainers, args, unknown)).or_else(|| {
        let (_, hint) = ELSEWHERE.iter().find(|(words, _)| words.contains(&unknown))?;
        Some(format!("`{unknown}` is not a command\nhint: {hint}"))
    })
}

/// Returns the message for a command, an option or an input of a trainer.
fn of_trainer(
    trainers: &[(&'static str, App)],
    args: &[OsString],
    unknown: &str,
) -> Option<String> {
    let parsers: Vec<(&str, Clap)> =
        trainers.iter().map(|(name, app)| (*name, cli::trainer_command(app, args))).collect();
    let having = |has: &dyn Fn(&Clap) -> bool| -> Vec<&str> {
        parsers.iter().filter(|(_, parser)| has(parser)).map(|(name, _)| *name).collect()
    };
    if !unknown.starts_with('-') && unknown != "dockerfile" {
        let names = having(&|parser| {
            parser.find_subcommand(unknown).is_some_and(|command| !command.is_hide_set())
        });
        if let [first, ..] = names[..] {
            return Some(format!(
                "`{unknown}` is a command of a trainer\nhint: name the trainer before it: `cog-train {first} {unknown}`; {}",
                listed(&names)
            ));
        }
    }
    let name = unknown.trim_start_matches('-');
    let (name, _) = name.split_once('=').unwrap_or((name, ""));
    let names = having(&|parser| cli::has_option(parser, name));
    if let [first, ..] = names[..] {
        let option = if name.len() == 1 { format!("-{name}") } else { format!("--{name}") };
        return Some(format!(
            "`{unknown}` is an option of a trainer\nhint: name the trainer before it: `cog-train {first} {option}`; {}",
            listed(&names)
        ));
    }
    let inputs: Vec<(&str, BareInput)> = trainers
        .iter()
        .filter_map(|(name, app)| Some((*name, cli::bare_input(app, args, unknown)?)))
        .collect();
    let (first, input) = inputs.first()?;
    let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
    Some(format!(
        "`{}` is an input of a trainer\nhint: name the trainer before it: `cog-train {first} {}`; {}",
        input.written,
        input.correct,
        listed(&names)
    ))
}

/// Names the trainers that have what was written.
fn listed(names: &[&str]) -> String {
    match names {
        [] | [_] => "no other trainer has it".to_owned(),
        [all @ .., last] => {
            let all: Vec<String> = all.iter().map(|name| format!("`{name}`")).collect();
            format!("{} and `{last}` have it", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::commands::command;

    #[test]
    fn no_word_of_another_program_is_a_command() {
        let parser = command(&[]);
        for word in ELSEWHERE.iter().flat_map(|(words, _)| *words) {
            assert!(parser.find_subcommand(word).is_none(), "{word}");
        }
    }
}
