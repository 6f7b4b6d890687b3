//! The transcripts in the READMEs and in the book are true: each command is run, and what it prints is what stands there.
//!
//! A transcript is a block marked `console`: after `$ ` a command, below it everything that a person would see. In the
//! expected text `[..]` stands for any part of a line and a line `...` for any lines. The commands of a file run in
//! order in one folder, in which `examples` is that of the repository; `cargo run --example NAME --` is the built binary.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::pattern;
use crate::sandbox::program;

struct Step {
    command: String,
    expected: String,
}

fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if !inside {
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), expected: String::new() });
        } else if let Some(step) = steps.last_mut() {
            step.expected.push_str(line);
            step.expected.push('\n');
        }
    }
    steps
}

fn fits(expected: &[&str], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((&"...", rest)) => (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..])),
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| pattern::fits(first, line) && fits(rest, others)),
    }
}

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let steps = steps(&fs::read_to_string(root.join(file)).unwrap());
    assert!(!steps.is_empty(), "{file} has no transcript");
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("examples"), dir.path().join("examples")).unwrap();
    for Step { command, expected } in steps {
        if command.starts_with("git ")
            || command.starts_with("cd ")
            || command.starts_with("cargo test")
        {
            continue;
        }
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {}\n}} 2>&1", with_binary(&command))])
            .current_dir(dir.path())
            .env_remove("COG_WEIGHTS")
            .env_remove("RUST_BACKTRACE")
            .env("XDG_CACHE_HOME", dir.path().join(".cache"))
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = printed.lines().collect();
        let wanted: Vec<&str> = expected.trim_end().lines().collect();
        assert!(
            fits(&wanted, &lines),
            "{file}\n$ {command}\n--- expected\n{expected}--- printed\n{printed}"
        );
    }
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
