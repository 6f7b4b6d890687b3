//! `--plan` of trainings by `fit`, and what is said of the checkpoints of one that is resumed.

#![expect(clippy::print_stderr, reason = "what cannot be tried here, under `--nocapture`")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sandbox::Sandbox;

/// The numbers that `tiny_fit` and its test have in their sources: 3 tensors, 100 rows in batches of 12.
const DATA: &str = "data: 100 rows; 120 steps of 12 rows, the config's `max_steps`";

/// Starts `tiny_fit` in `run` and stops it once its second checkpoint is there.
fn stopped(here: &Sandbox) {
    let mut command = here.command(&["--run-dir", "run", "-o", "out/", "-i", "pause=5"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !here.path("run/checkpoints/step-000006").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// The checkpoints of `run`, oldest first.
fn checkpoints(here: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(here.path("run/checkpoints")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("step-")).collect();
    names.sort();
    names
}

#[test]
fn a_plan_tells_all_that_is_known_and_leaves_nothing() {
    let here = Sandbox::new("tiny_fit");
    let said = here.run(&["--plan"]).expect(0);
    let lines: Vec<&str> = said.out.lines().collect();
    for (at, line) in [
        (0, "steps     120  default"),
        (6, "a line before the training"),
        (7, DATA),
        (8, "  the lengths of rows are not known"),
        (9, "parameters: 38592, of which 38592 are trained (100.000 %), computed in f32"),
        (11, "weights       151 KiB  ░░░░░░░░░░░░░░░░"),
    ] {
        assert_eq!(lines[at], line, "{}", said.out);
    }
    // 151 KiB of weights, twice that of moments, and averages.
    for (at, words) in [
        (10, " MiB at most"),
        (12, "gradients     151 KiB"),
        (13, "optimizer     302 KiB"),
        (14, "averages      151 KiB"),
        (15, "activations "),
        (16, "checkpoint    603 KiB"),
        (17, "other "),
        (
            18,
            "disk: 603 KiB for a checkpoint, 2.4 MiB for all of them, up to 151 KiB for the weights",
        ),
        (19, " s for a step, so about "),
    ] {
        assert!(lines[at].contains(words), "{words}: {}", said.out);
    }
    assert_eq!(lines.len(), 20, "{}", said.out);
    assert!(here.names().is_empty(), "{:?}", here.names());
    let json = here.run(&["--plan", "--format", "json"]).expect(0).json();
    assert!(json["plan"].as_array().unwrap().iter().any(|line| line == DATA), "{json}");
}

#[test]
fn a_plan_of_texts_tells_their_lengths_and_how_many_are_cut() {
    let here = Sandbox::new("text_finetune");
    let row = |words: usize| {
        let (prompt, completion) = ("Who are you?", "I am Anna. ".repeat(words));
        format!("{}\n", serde_json::json!({"prompt": prompt, "completion": completion}))
    };
    // The model sees 128 tokens.
    let rows: String = (0..40).map(|at| row(if at % 4 == 0 { 200 } else { 2 })).collect();
    here.file("rows.jsonl", rows);
    let args = ["--plan", "-i", "train_data=rows.jsonl", "-i", "epochs=2"];
    let said = here.run(&args).expect(0);
    assert!(
        said.out.contains("\ndata: 36 rows; 10 steps of 8 rows, in 2 epochs\n"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("\n  tokens of a row, and how many rows have so many:\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("-128  ###"), "{}", said.out);
    let cut = said
        .out
        .lines()
        .find(|line| line.ends_with("are truncated to the most that fits"))
        .unwrap();
    let count: usize = cut.split_whitespace().next().unwrap().parse().unwrap();
    // 10 long rows of 40, of which at most the 4 that are held out are not counted.
    assert!((6..=10).contains(&count), "{cut}");
    assert!(
        said.out.contains(" s for a step of the longest rows, so at most about "),
        "{}",
        said.out
    );
    assert_eq!(
        here.names(),
        [".cache", "rows.jsonl"].map(str::to_owned)[usize::from(!here.path(".cache").exists())..]
    );
}

#[test]
fn the_plan_of_a_stopped_run_counts_the_remaining_steps() {
    let here = Sandbox::new("tiny_fit");
    stopped(&here);
    let before = here.tree();
    let newest = checkpoints(&here).pop().unwrap();
    let taken: u64 = newest.trim_start_matches("step-").parse().unwrap();
    let said = here.run(&["--plan", "--resume", "--run-dir", "run"]).expect(0);
    assert!(said.out.contains(&format!("{DATA}, {taken} of them taken\n")), "{}", said.out);
    let left = format!(" for the {} that are left, evaluations aside\n", 120 - taken);
    assert!(said.out.contains(&left), "{}", said.out);
    assert_eq!(here.tree(), before);
}

#[test]
fn a_checkpoint_that_is_damaged_is_named_with_the_reason() {
    let here = Sandbox::new("tiny_fit");
    stopped(&here);
    let names = checkpoints(&here);
    let [.., older, newest] = &names[..] else { panic!("two are kept: {names:?}") };
    let path = here.path(&format!("run/checkpoints/{newest}/weights.safetensors"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let said = here.run(&["--resume", "--run-dir", "run", "-o", "out/", "-i", "pause=5"]).expect(0);
    let line = said.err.lines().find(|line| line.contains("is passed over")).unwrap_or_default();
    assert!(line.starts_with("checkpoint `") && line.contains(newest.as_str()), "{}", said.err);
    let reason =
        "is passed over: `weights.safetensors` is damaged: its digest is not the manifest's";
    assert!(line.ends_with(reason), "{}", said.err);
    let step: u64 = older.trim_start_matches("step-").parse().unwrap();
    assert!(said.err.contains(&format!("resuming from step {step} (")), "{}", said.err);
    assert!(!here.read("run/log.txt").contains("passed over"), "the log is that of any run");
}

#[test]
fn a_disk_that_is_too_small_is_refused_before_the_training() {
    let here = Sandbox::new("tiny_fit");
    let said = here.run(&["--plan", "-i", "keep=1000000000000"]).expect(1);
    assert!(
        said.err.contains("error: the run needs ") && said.err.contains("\nhint: keep fewer"),
        "{}",
        said.err
    );
    assert!(here.names().is_empty(), "{:?}", here.names());
}

/// The disk of the run's folder counts, whatever disk temporary files are on: of two with different room, one holds so
/// many checkpoints and the other does not.
#[test]
fn the_disk_of_the_runs_folder_is_the_one_that_is_measured() {
    let here = Sandbox::new("tiny_fit");
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
    let shared = Path::new("/dev/shm");
    let other = tempfile::tempdir_in(shared);
    let (Ok(other), true) = (other, device(shared) != device(here.dir.path())) else {
        eprintln!("not tried: there is no second disk at `{}`", shared.display());
        return;
    };
    let free = |path: &Path| {
        let disk = rustix::fs::statvfs(path).unwrap();
        disk.f_bavail * disk.f_frsize
    };
    let (one, two) = (free(here.dir.path()), free(other.path()));
    if one.abs_diff(two) < one.max(two) / 4 {
        eprintln!("not tried: both disks have about {one} bytes left");
        return;
    }
    // Checkpoints of 617,472 bytes that need the mean of both.
    let keep = format!("keep={}", u64::midpoint(one, two) / 617_472);
    let plan = |run: &Path, temporary: &Path, output: &Path| {
        let (run, output) = (run.join("run"), output.join("out/"));
        let (run, output) = (run.to_str().unwrap(), output.to_str().unwrap());
        let mut command = here.command(&["--plan", "--run-dir", run, "-i", &keep, "-o", output]);
        command.env("TMPDIR", temporary).output().unwrap().status.code()
    };
    let (roomy, small) =
        if one > two { (here.dir.path(), other.path()) } else { (other.path(), here.dir.path()) };
    // The output is small, and goes anywhere.
    for output in [roomy, small] {
        assert_eq!(plan(roomy, small, output), Some(0));
        assert_eq!(plan(small, roomy, output), Some(1));
    }
}
