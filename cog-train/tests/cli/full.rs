//! A disk that is really full: a run stops with one clear error, and resumes from its last checkpoint once there is room.

#![expect(clippy::print_stderr, reason = "what was counted, and what was left out and why")]

use std::fs;
use std::process::Command;

use crate::sandbox::{Outcome, Sandbox};
use crate::soak::{assert_same, left};

/// KiB: too small for the first checkpoint, for the second, for the third beside two and the best; by a little or by
/// much, so that the files of the run itself find no room either.
const SIZES: [u32; 12] = [8, 16, 100, 300, 500, 632, 636, 900, 1248, 1256, 1700, 1868];

/// In a name space of its own, which ends with it: trains on a small disk, makes the disk larger, resumes, keeps the run.
const ON_A_SMALL_DISK: &str = r#"
mkdir -p disk && mount -t tmpfs -o "size=$2k" tmpfs disk || exit 99
"$1" --run-dir disk/run -o out.safetensors -i pause=0 -i steps=30 > said 2>&1
echo $? > code
ls disk/run/checkpoints > names 2> /dev/null
mount -o remount,size=64m disk || exit 99
"$1" --resume --run-dir disk/run -o out.safetensors > resumed 2>&1
echo $? > resumed-code
cp -R disk/run kept
"#;

const TRAIN: [&str; 4] = ["-i", "pause=0", "-i", "steps=30"];

fn straight(here: &Sandbox) {
    here.run(&[&["--run-dir", "straight", "-o", "out.safetensors"], &TRAIN[..]].concat()).expect(0);
}

#[test]
fn a_run_stopped_by_a_full_disk_resumes_when_there_is_room() {
    let here = Sandbox::new("tiny_fit");
    straight(&here);
    let straight = left(&here.path("straight"));
    let mut stopped = 0;
    for size in SIZES {
        let dir = here.path(&format!("disk-{size}"));
        fs::create_dir(&dir).unwrap();
        let size = size.to_string();
        // Without root one may mount in a name space of one's own, where the system allows that.
        let output = Command::new("unshare")
            .args(["-r", "-m", "sh", "-c", ON_A_SMALL_DISK, "sh"])
            .arg(here.program())
            .arg(&size)
            .current_dir(&dir)
            .env_remove("RUST_BACKTRACE")
            .output();
        let why = match &output {
            Err(error) => Some(error.to_string()),
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        };
        if let Some(why) = why {
            eprintln!("skipped: a small disk cannot be mounted here: {why}");
            return;
        }
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        let said = read("said");
        let what = format!("{size} KiB: {said}");
        assert_eq!(read("code").trim(), "1", "{what}");
        assert_eq!(said.matches("error: ").count(), 1, "{what}");
        assert!(said.contains("`: no space left on device"), "{what}");
        assert!(said.ends_with("hint: free some space, or keep fewer checkpoints\n"), "{what}");
        let still = match read("names").lines().max() {
            Some(newest) => {
                let step = newest.trim_start_matches("step-").trim_start_matches('0');
                format!("; the checkpoint of step {step} is still there\n")
            }
            None => "; there is no other checkpoint\n".to_owned(),
        };
        assert!(said.contains(&still), "{what}");
        assert_eq!(read("resumed-code").trim(), "0", "{size} KiB: {}", read("resumed"));
        assert_same(&left(&dir.join("kept")), &straight, &what);
        stopped += 1;
    }
    eprintln!("full disks: {stopped}, and as many runs that ended with the straight bytes");
}

/// The trouble that every machine has: a limit on the size of a file.
#[test]
fn a_run_stopped_by_a_file_size_limit_resumes_without_it() {
    let here = Sandbox::new("tiny_fit");
    straight(&here);
    let paths = ["--run-dir", "run", "-o", "out.safetensors"];
    // 100 KiB in units of 512 bytes. A program that ignores the signal gets an error.
    let said: Outcome = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 200; exec "$@""#, "sh"])
        .arg(here.program())
        .args(paths)
        .args(TRAIN)
        .current_dir(here.dir.path())
        .output()
        .unwrap()
        .into();
    let said = said.expect(1);
    assert!(said.err.contains("`: file too large; there is no other checkpoint"), "{}", said.err);
    here.run(&[&["--resume"], &paths[..]].concat()).expect(0);
    assert_same(&left(&here.path("run")), &left(&here.path("straight")), "a limited file");
}
