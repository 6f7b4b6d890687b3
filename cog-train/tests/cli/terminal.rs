//! The output of a training on a terminal, in a pseudo-terminal: a bar while it works, and no trace of it afterwards.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use crate::sandbox::Sandbox;

const COLUMNS: u16 = 100;

/// Both ends of a pseudo-terminal.
struct Pty {
    ours: OwnedFd,
    theirs: File,
}

impl Pty {
    fn new() -> Self {
        Self::of(COLUMNS)
    }

    fn of(columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let theirs = OpenOptions::new().read(true).write(true).open(path).unwrap();
        Self { ours, theirs }
    }

    /// Runs a program whose standard error it is: the exit code, what was written, and whether the terminal's settings
    /// are what they were.
    fn run(self, mut command: Command) -> (Option<i32>, String, bool) {
        let settings = |file: &File| format!("{:?}", tcgetattr(file).unwrap());
        let before = settings(&self.theirs);
        if command.get_envs().all(|(name, _)| name != "TERM") {
            command.env("TERM", "xterm");
        }
        command.env_remove("NO_COLOR").stdout(Stdio::null());
        let mut child = command.stderr(self.theirs.try_clone().unwrap()).spawn().unwrap();
        drop(command);
        let mut ours = File::from(self.ours);
        let theirs = self.theirs;
        let reader = std::thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
            // Linux answers the end with an error: nobody has the other side open.
            while let Ok(count @ 1..) = ours.read(&mut buffer) {
                all.extend(&buffer[..count]);
            }
            String::from_utf8(all).unwrap()
        });
        let code = child.wait().unwrap().code();
        let same = settings(&theirs) == before;
        drop(theirs);
        (code, reader.join().unwrap(), same)
    }
}

/// Returns the text of a terminal after such bytes: the lines that are not empty.
fn screen(bytes: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::new()], 0_usize, 0_usize);
    let mut rest = bytes.chars();
    while let Some(next) = rest.next() {
        match next {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(rest.next(), Some('['), "an escape that is not known");
                let mut number = String::new();
                let end = rest.by_ref().find(|it| {
                    let ends = it.is_ascii_alphabetic();
                    if !ends {
                        number.push(*it);
                    }
                    ends
                });
                let count = number.parse().unwrap_or(1);
                match (end.unwrap(), number.as_str()) {
                    ('A', _) => row = row.saturating_sub(count),
                    ('B', _) => row += count,
                    ('C', _) => column += count,
                    ('D', _) => column = column.saturating_sub(count),
                    ('K', "2") => lines[row].clear(),
                    ('K', "" | "0") => lines[row].truncate(column),
                    ('J', "" | "0") => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    ('m' | 'h' | 'l', _) => {}
                    other => panic!("an escape that is not known: {other:?}"),
                }
            }
            letter => {
                let line: &mut Vec<char> = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = letter;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    let text = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
    lines.into_iter().map(text).filter(|line| !line.is_empty()).collect()
}

const TRAIN: [&str; 6] = ["-o", "out.safetensors", "-i", "steps=30", "-i", "pause=10"];

#[test]
fn a_terminal_gets_a_bar_and_then_the_lines_of_a_file() {
    let here = Sandbox::new("tiny_fit");
    let command = here.command(&[&["--run-dir", "run"], &TRAIN[..]].concat());
    let (code, bytes, same) = Pty::new().run(command);
    assert_eq!(code, Some(0), "{bytes}");
    assert!(same, "the terminal's settings have changed");
    assert!(bytes.contains("/30 loss ") && bytes.contains('\u{2588}'), "a bar: {bytes:?}");
    let shown = bytes.rfind("\u{1b}[?25h").unwrap_or(usize::MAX);
    assert!(bytes.rfind("\u{1b}[?25l").is_none_or(|hidden| hidden < shown), "{bytes:?}");

    let plain = here.run(&[&["--run-dir", "again"], &TRAIN[..]].concat()).expect(0).err;
    assert!(!plain.contains(['\r', '\u{1b}']), "a log has lines of text: {plain:?}");
    let plain: Vec<&str> = plain.lines().collect();
    assert!(plain.len() > 5, "{plain:?}");
    assert!(plain.iter().all(|line| line.chars().count() < COLUMNS.into()), "no line is broken");
    // What a person does next is for a person alone.
    let mut lines = screen(&bytes);
    let report = lines.pop().unwrap();
    assert_eq!(report, "report: run/report.html");
    assert_eq!(lines, plain);
}

#[test]
fn the_table_at_the_end_fits_a_narrow_terminal_and_is_whole_in_the_log() {
    let here = Sandbox::new("tiny_fit");
    let command = here.command(&[&["--run-dir", "run"], &TRAIN[..]].concat());
    let (code, bytes, _) = Pty::of(24).run(command);
    assert_eq!(code, Some(0), "{bytes}");
    let lines = screen(&bytes);
    let start = lines.iter().rposition(|line| line == "step").expect("the name of a row");
    assert!(lines[start + 1].starts_with("  before 0"), "{lines:?}");
    let table = lines[start..].iter().take_while(|line| *line != "a line after the training");
    for line in table {
        assert!(line.chars().count() <= 24, "{line} in {lines:?}");
    }
    let log = here.read("run/log.txt");
    let mut words = log.lines().map(str::split_whitespace);
    assert!(words.any(|words| words.eq(["before", "best", "after"])), "{log}");
}

/// Editors that run a shell obey no escape codes.
#[test]
fn a_dumb_terminal_gets_lines_alone() {
    let here = Sandbox::new("tiny_fit");
    let mut command = here.command(&[&["--run-dir", "run"], &TRAIN[..]].concat());
    command.env("TERM", "dumb");
    let (code, bytes, _) = Pty::new().run(command);
    assert_eq!(code, Some(0), "{bytes}");
    assert!(!bytes.contains('\u{1b}') && !bytes.contains('\u{2588}'), "{bytes:?}");
}

#[test]
fn after_a_panic_in_the_loop_the_terminal_is_clean_and_the_log_is_there() {
    let here = Sandbox::new("tiny_fit");
    let args = [&["--run-dir", "run", "-i", "panic_at=17"], &TRAIN[..]].concat();
    let (code, bytes, same) = Pty::new().run(here.command(&args));
    assert_eq!(code, Some(1), "{bytes}");
    assert!(same, "the terminal's settings have changed");
    assert!(bytes.contains("/30 loss "), "a bar was there: {bytes:?}");
    let lines = screen(&bytes);
    let of_bar = |line: &String| line.contains("/30") || line.contains('\u{2588}');
    assert!(!lines.iter().any(of_bar), "{lines:?}");
    let error = lines.iter().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains("tiny_fit.rs:"), "its location: {error}");
    assert!(lines.iter().any(|line| line.contains("set to panic")), "{lines:?}");
    assert!(bytes.ends_with('\n'), "the shell continues on a line of its own: {bytes:?}");

    let log = here.read("run/log.txt");
    for line in ["a line before the training", "before the first step: ", "step 10: eval "] {
        assert!(log.contains(line), "`{line}` in {log}");
    }
    let metrics = here.read("run/metrics.jsonl");
    let steps: Vec<u64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.get("loss").is_some())
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=17).collect::<Vec<_>>());
    let run: Value = serde_json::from_str(&here.read("run/run.json")).unwrap();
    assert_eq!(run["status"], "failed");
    // The run resumes from the checkpoint before.
    let again = ["--resume", "--run-dir", "run", "-o", "out.safetensors"];
    let said = here.run(&[&again[..], &["-i", "panic_at=17"]].concat()).expect(1);
    assert!(said.err.contains("set to panic"), "{}", said.err);
}

#[test]
fn as_json_each_step_is_an_object_on_standard_error() {
    let here = Sandbox::new("tiny_fit");
    let args = [&["--run-dir", "run", "--format", "json"], &TRAIN[..]].concat();
    let said = here.run(&args).expect(0);
    let mut steps = Vec::new();
    for line in said.err.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let kind = line["type"].as_str().unwrap();
        assert!(["line", "note", "step", "progress"].contains(&kind), "{line}");
        if kind == "step" && line.get("loss").is_some() {
            assert!(line["loss"].is_f64() && line["learning_rate"].is_f64(), "{line}");
            assert!(line["grad_norm"].is_f64(), "{line}");
            steps.push(line["step"].as_u64().unwrap());
        }
    }
    assert_eq!(steps, (1..=30).collect::<Vec<_>>());
    assert_eq!(said.json()["status"], "succeeded");
}
