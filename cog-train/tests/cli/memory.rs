//! The memory that `--plan` reports, against what the training takes.

#![expect(clippy::print_stderr, reason = "the table, under `--nocapture`")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::sandbox::{Outcome, Sandbox};

/// A training: the example, its inputs, and variables of the process.
type Shape = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// Trainings whose memory goes into attention, into convolutions, into weights and moments. They are large enough for what
/// the allocator happens to keep to be a small part: some MiB, more or fewer from run to run. Each meets every batch of an
/// epoch, for a plan reports the heaviest.
///
/// The first two return freed memory to the system at once, by the variable: their batches differ in size, and blocks of
/// 10 to 20 MiB more or fewer would stay allocated as the threads happen to run.
const SHAPES: [Shape; 3] = [
    ("text_finetune", &["batch_size=48", "epochs=1"], &[("MIMALLOC_PURGE_DELAY", "0")]),
    ("image_classifier", &["epochs=2", "batch_size=1024"], &[("MIMALLOC_PURGE_DELAY", "0")]),
    ("tiny_fit", &["width=2048", "steps=7", "pause=0"], &[]),
];

/// MiB that the plan reports in its part about memory on the line that begins with `start`, right behind it.
fn reported(plan: &str, start: &str) -> f64 {
    let mut lines = plan.lines().skip_while(|line| !line.starts_with("memory: "));
    let line = lines.find(|line| line.starts_with(start)).unwrap();
    let mut words = line[start.len()..].split_whitespace();
    let number: f64 = words.next().unwrap().parse().unwrap();
    let unit = match words.next().unwrap() {
        "B" => 2_f64.powi(-20),
        "KiB" => 2_f64.powi(-10),
        "MiB" => 1.0,
        "GiB" => 1024.0,
        other => panic!("`{other}` in {line}"),
    };
    number * unit
}

/// The most memory that a program takes from its start to its end, in MiB: its high-water mark, read while it runs.
fn taken(mut command: Command) -> f64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0.0;
    let ended = loop {
        // The system reports nothing of a process that has ended.
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(line) = line {
            most = line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0;
        }
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(ended.success(), "{command:?}");
    most
}

#[test]
fn planned_memory_is_within_a_tenth_of_the_peak_of_the_run() {
    eprintln!("shape | planned | weights | optimizer | activations | taken | planned / taken");
    for (name, inputs, variables) in SHAPES {
        let here = Sandbox::new(name);
        let inputs: Vec<&str> = inputs.iter().flat_map(|input| ["-i", *input]).collect();
        let command = |args: &[&str]| {
            let mut command = here.command(&[args, &inputs[..]].concat());
            command.envs(variables.iter().copied());
            command
        };
        let plan = Outcome::from(command(&["--plan"]).output().unwrap()).expect(0).out;
        let planned = reported(&plan, "memory: about ");
        let taken = taken(command(&["--run-dir", "run", "-o", "out"]));
        let share = planned / taken;
        // The copy for a checkpoint counts in full in the plan, which is an upper bound. In a run it may meet freed memory.
        let without_copy = (planned - reported(&plan, "checkpoint ")) / taken;
        eprintln!(
            "{name} {} | {planned:.0} MiB | {:.1} MiB | {:.1} MiB | {:.1} MiB | {taken:.0} MiB | {share:.2}",
            inputs.join(" "),
            reported(&plan, "weights "),
            reported(&plan, "optimizer "),
            reported(&plan, "activations "),
        );
        assert!(
            share >= 0.9 && without_copy <= 1.1,
            "{name}: {planned} MiB planned, {taken} taken"
        );
    }
}
