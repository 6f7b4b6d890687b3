//! `doctor`: what this machine trains with, and what is missing.

mod cpu;
mod disk;
mod gpu;
mod library;
mod memory;

use std::fmt::Write;

use serde_json::{Value, json};

use super::Done;
use crate::cli::table_text;
use crate::table::{Align, Table};

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be, or without consequence.
    Fine,
    /// Trainings work, slower or without some feature.
    Limited,
    /// Something that is needed does not work.
    Broken,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Limited => "limited",
            Self::Broken => "broken",
        }
    }
}

/// A fact about the machine.
#[derive(Debug)]
struct Finding {
    level: Level,
    group: &'static str,
    name: &'static str,
    value: String,
    /// The remedy.
    hint: Option<String>,
}

impl Finding {
    fn fine(group: &'static str, name: &'static str, value: impl Into<String>) -> Self {
        Self { level: Level::Fine, group, name, value: value.into(), hint: None }
    }

    fn limited(self, hint: impl Into<String>) -> Self {
        Self { level: Level::Limited, hint: Some(hint.into()), ..self }
    }

    fn broken(self, hint: impl Into<String>) -> Self {
        Self { level: Level::Broken, hint: Some(hint.into()), ..self }
    }
}

/// Reports what this machine trains with. The exit code is 1 when something is broken.
pub(super) fn doctor(as_json: bool) -> Done {
    let mut findings = vec![build()];
    findings.extend(cpu::findings());
    findings.extend(memory::findings());
    findings.extend(disk::findings());
    findings.extend(gpu::findings());
    let code = u8::from(findings.iter().any(|it| it.level == Level::Broken));
    let text = if as_json { json_of(&findings) } else { text_of(&findings) };
    Done { text, code }
}

/// The features of cargo that a build of the tool may have or lack.
const FEATURES: [(&str, bool); 9] = [
    ("accelerate", cfg!(feature = "accelerate")),
    ("cuda", cfg!(feature = "cuda")),
    ("cudnn", cfg!(feature = "cudnn")),
    ("images", cfg!(feature = "images")),
    ("metal", cfg!(feature = "metal")),
    ("mkl", cfg!(feature = "mkl")),
    ("mpi", cfg!(feature = "mpi")),
    ("nccl", cfg!(feature = "nccl")),
    ("parquet", cfg!(feature = "parquet")),
];

fn build() -> Finding {
    let on: Vec<&str> = FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let mut parts = vec![env!("CARGO_PKG_VERSION").to_owned()];
    if cfg!(debug_assertions) {
        parts.push("a debug build".to_owned());
    }
    if !on.is_empty() {
        parts.push(format!("features: {}", on.join(", ")));
    }
    Finding::fine("cog-train", "build", parts.join("; "))
}

fn json_of(findings: &[Finding]) -> String {
    let findings: Vec<Value> = findings
        .iter()
        .map(|it| {
            json!({
                "level": it.level.word(),
                "group": it.group,
                "name": it.name,
                "value": it.value,
                "hint": it.hint,
            })
        })
        .collect();
    format!("{:#}\n", json!({"findings": findings}))
}

fn text_of(findings: &[Finding]) -> String {
    let mut table = Table::new([
        ("group", Align::Left),
        ("part", Align::Left),
        ("state", Align::Left),
        ("found", Align::Whole),
    ]);
    let mut last = "";
    for it in findings {
        let group = if it.group == last { "" } else { it.group };
        table.row([group, it.name, it.level.word(), &it.value].map(str::to_owned));
        last = it.group;
    }
    let mut text = table_text(&table);
    let hints = findings.iter().filter_map(|it| Some((it, it.hint.as_ref()?)));
    for (at, (it, hint)) in hints.enumerate() {
        let space = if at == 0 { "\n" } else { "" };
        let _ = write!(text, "{space}{}, {}\n  hint: {hint}\n", it.name, it.level.word());
    }
    text += match findings.iter().map(|it| it.level).max_by_key(|level| *level as u8) {
        Some(Level::Broken) => "\nsomething that is needed is broken\n",
        _ => "\nready to train\n",
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_that_a_build_may_lack_is_listed() {
        let manifest = include_str!("../../../Cargo.toml");
        let features = manifest.split("\n[features]\n").nth(1).unwrap();
        let features = features.split("\n[").next().unwrap();
        let is_name = |c: char| c.is_ascii_lowercase();
        let mut names: Vec<&str> = features
            .lines()
            .filter_map(|line| line.split_once(" = ["))
            .filter(|(name, _)| name.chars().all(is_name))
            .map(|(name, _)| name)
            .collect();
        // What the tool is built with, always.
        names.retain(|name| !["cli", "default", "http", "serve", "text"].contains(name));
        names.sort_unstable();
        assert_eq!(names, FEATURES.map(|(name, _)| name));
    }

    #[test]
    fn each_remedy_follows_the_table_and_the_end_names_the_worst() {
        let fine = || Finding::fine("memory", "total", "8 GiB");
        let text = text_of(&[fine()]);
        assert_eq!(
            text,
            "group   part   state  found\nmemory  total  ok     8 GiB\n\nready to train\n"
        );
        let text = text_of(&[fine(), Finding::fine("GPU", "NVRTC", "none").limited("install it")]);
        assert!(
            text.ends_with("\nNVRTC, limited\n  hint: install it\n\nready to train\n"),
            "{text}"
        );
        let text = text_of(&[Finding::fine("disk", "runs", "no room").broken("free some"), fine()]);
        assert!(
            text.ends_with("hint: free some\n\nsomething that is needed is broken\n"),
            "{text}"
        );
    }
}
