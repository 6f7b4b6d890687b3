//! Transcripts in documents: a block marked `console` has a command after `$ `, and below it everything that a person would see.
//!
//! In the expected text `[..]` stands for any part of a line and a line `...` for any lines. The commands of a file run in
//! order in one folder, in which `examples` is that of the repository.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::pattern;

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

/// Whether lines fit those of a transcript.
pub(crate) fn fits(expected: &[&str], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((&"...", rest)) => (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..])),
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| pattern::fits(first, line) && fits(rest, others)),
    }
}

/// Runs the commands of a file of the repository, each as `adapt` changes it, and compares what they print.
pub(crate) fn check(file: &str, adapt: impl Fn(&str) -> String) {
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
            .args(["-c", &format!("{{ {}\n}} 2>&1", adapt(&command))])
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
