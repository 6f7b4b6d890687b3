//! The transcripts in the READMEs and in the book are true: each command is run, and what it prints is what stands there.

use crate::pattern;
use crate::sandbox::program;
use crate::transcript::{self, fits};

/// The command with the built binary in place of `cargo run --example NAME --`.
fn with_binary(command: &str) -> String {
    let Some((before, after)) = command.split_once("cargo run --example ") else {
        return command.to_owned();
    };
    let (name, rest) = after.split_once(' ').unwrap_or((after, ""));
    let arguments = rest.strip_prefix("--").unwrap_or(rest);
    format!("{before}'{}'{arguments}", program(name).display())
}

fn check(file: &str) {
    transcript::check(file, with_binary);
}

#[test]
fn readme() {
    check("README.md");
}

#[test]
fn hello_train() {
    check("examples/hello_train/README.md");
}

#[test]
fn text_finetune() {
    check("examples/text_finetune/README.md");
}

#[test]
fn preference_tuning() {
    check("examples/preference_tuning/README.md");
}

#[test]
fn custom_loop() {
    check("examples/custom_loop/README.md");
}

#[test]
fn lora_finetune() {
    check("examples/lora_finetune/README.md");
}

#[test]
fn classify() {
    check("examples/classify/README.md");
}

#[test]
fn embed() {
    check("examples/embed/README.md");
}

#[test]
fn image_classifier() {
    check("examples/image_classifier/README.md");
}

/// The comparison above must see a difference.
#[test]
fn wildcards_fit_what_they_should_and_nothing_else() {
    for (expected, line, fit) in [
        ("loss 1.5", "loss 1.5", true),
        ("loss 1.5", "loss 1.55", false),
        ("loss [..]", "loss 1.5", true),
        ("[..] of [..] steps", "3 of 9 steps", true),
        ("[..] of [..] steps", "3 of 9 step", false),
        ("a[..]b", "b", false),
    ] {
        assert_eq!(pattern::fits(expected, line), fit, "{expected} ~ {line}");
    }
    assert!(fits(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(fits(&["a", "...", "d"], &["a", "d"]));
    assert!(!fits(&["a", "...", "d"], &["a", "d", "e"]));
}

#[test]
fn first_training() {
    check("cog-train/docs/first-training.md");
}

#[test]
fn inputs() {
    check("cog-train/docs/inputs.md");
}
