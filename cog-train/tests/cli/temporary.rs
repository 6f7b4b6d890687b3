//! The temporary folder of a run that keeps nothing: a prediction, a dry run, a rank that follows another.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

/// The folders of runs among temporary files.
fn folders(tmp: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(tmp).unwrap().map(|entry| entry.unwrap());
    let ours = entries.filter(|it| it.file_name().to_string_lossy().starts_with(".cog-train-run-"));
    ours.map(|entry| entry.path()).collect()
}

/// Starts a dry run that takes a minute, and waits until its folder is there, and no other.
fn started(here: &Sandbox, tmp: &Path) -> Child {
    let before = folders(tmp);
    let mut command = here.command(&["--plan", "-i", "at=open", "-i", "data=rows.jsonl"]);
    command.env("TMPDIR", tmp).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    let is_there = |folder: &PathBuf| !before.contains(folder) && folder.join("reached").exists();
    while !folders(tmp).iter().any(is_there) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was there");
        assert!(began.elapsed() < Duration::from_secs(40), "it never came to be there");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(folders(tmp).len(), 1, "what a dead process left is removed");
    child
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_temporary_folder_ends_with_its_run_and_that_of_a_killed_one_with_the_next() {
    let here = Sandbox::new("slow");
    here.file("rows.jsonl", "1\n".repeat(3000));
    let tmp = here.path("tmp");
    std::fs::create_dir(&tmp).unwrap();

    let mut killed = started(&here, &tmp);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = folders(&tmp);
    assert_eq!(left.len(), 1, "a killed process cleans nothing");

    let mut cancelled = started(&here, &tmp);
    assert!(!left[0].exists());
    send("-TERM", &cancelled);
    assert_eq!(cancelled.wait().unwrap().code(), Some(130));
    assert!(folders(&tmp).is_empty());

    // The second signal ends the process at once.
    let mut stopped = started(&here, &tmp);
    send("-STOP", &stopped);
    send("-TERM", &stopped);
    send("-INT", &stopped);
    send("-CONT", &stopped);
    assert_eq!(stopped.wait().unwrap().code(), Some(130));
    assert!(folders(&tmp).is_empty());
}
