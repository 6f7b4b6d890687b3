//! A training: its folder, its record, its seed, its failures.

use serde_json::{Value, json};

use crate::probe;
use crate::sandbox::Outcome;

#[test]
fn a_training_leaves_its_output_and_its_record() {
    let here = probe();
    let data = here.file("data.txt", "12345");
    let said = here
        .run(&["-i", "epochs=2", "-i", "data=@data.txt", "--seed", "7", "--run-dir", "here"])
        .expect(0);
    assert_eq!(said.out, "trained: weights/ (seed 7, bytes 5)\n");
    for line in ["setup says hello on Cpu", "train prints Inputs {", "epochs 2 with adamw"] {
        assert!(said.err.contains(line), "{line} in {}", said.err);
    }
    assert_eq!(here.names(), ["data.txt", "here", "weights"]);
    let output: Value = serde_json::from_str(&here.read("weights/output.json")).unwrap();
    assert_eq!(
        output,
        json!({"weights": "weights.safetensors", "seed": 7, "bytes": 5, "note": "done"})
    );
    assert!(here.path("weights/weights.safetensors").is_file());

    let run: Value = serde_json::from_str(&here.read("here/run.json")).unwrap();
    assert_eq!(run["status"], "succeeded");
    assert_eq!(run["trainer"], "Probe");
    assert_eq!(run["device"], "cpu");
    assert_eq!(run["seed"], json!({"value": 7, "origin": "input"}));
    assert_eq!(run["inputs"]["epochs"], json!({"value": 2, "origin": "given"}));
    assert_eq!(run["inputs"]["optimizer"], json!({"value": "adamw", "origin": "default"}));
    assert_eq!(run["inputs"]["token"], json!({"value": null, "origin": "absent"}));
    // printf 12345 | sha256sum
    let digest = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5";
    assert_eq!(run["inputs"]["data"]["files"][0]["sha256"], digest);
    assert_eq!(run["inputs"]["data"]["files"][0]["bytes"], 5);
    assert_eq!(run["metrics"]["rows"], 7);
    assert_eq!(here.read("here/log.txt"), "epochs 2 with adamw\n");
    assert_eq!(
        here.read("here/metrics.jsonl"),
        "{\"step\":1,\"loss\":1.0}\n{\"step\":2,\"loss\":0.5}\n"
    );
    assert!(data.is_file());
}

#[test]
fn without_a_run_dir_each_run_has_a_new_folder() {
    let here = probe();
    here.run::<&str>(&[]).expect(0);
    here.run::<&str>(&["train"]).expect(0);
    assert_eq!(std::fs::read_dir(here.path("runs")).unwrap().count(), 2);
}

#[test]
fn a_folder_with_a_run_is_not_taken_again() {
    let here = probe();
    here.run(&["--run-dir", "r"]).expect(0);
    let before = here.tree();
    let said = here.run(&["--run-dir", "r"]).expect(2);
    assert!(
        said.err.starts_with("error: `--run-dir r` already holds a run\nhint: "),
        "{}",
        said.err
    );
    assert_eq!(here.tree(), before);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let here = probe();
    let weights = |seed: &str| {
        here.run(&["-i", &format!("seed={seed}")]).expect(0);
        std::fs::read(here.path("weights/weights.safetensors")).unwrap()
    };
    let (first, second, other) = (weights("1"), weights("1"), weights("-1"));
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn failures_name_their_place_and_keep_the_earlier_output() {
    let here = probe();
    here.run(&["--run-dir", "good"]).expect(0);
    let kept = || {
        here.tree().into_iter().filter(|(path, _)| path.starts_with("weights")).collect::<Vec<_>>()
    };
    let before = kept();
    for (mode, expected) in [
        ("fail", "error: set to fail with 3"),
        ("panic", "error: `train` panicked at "),
        ("panic_in_thread", "error: `train` panicked at "),
        ("tensor", "error: shape mismatch in matmul"),
        ("missing_file", "error: output `weights`: the file `"),
    ] {
        let said: Outcome = here
            .command(&["-i", &format!("mode={mode}"), "--run-dir", mode])
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap()
            .into();
        let said = said.expect(1);
        let error =
            said.err.lines().find(|line| line.starts_with("error: ")).expect("an error line");
        assert!(error.starts_with(expected), "{mode}: {}", said.err);
        if mode.starts_with("panic") {
            assert!(error.contains("probe.rs:") && error.contains("set to panic"), "{error}");
        }
        assert!(
            !said.err.contains("stack backtrace") && !said.err.contains("candle_core::"),
            "{}",
            said.err
        );
        assert_eq!(said.out, "");
        assert_eq!(kept(), before, "{mode}");
        let run: Value = serde_json::from_str(&here.read(&format!("{mode}/run.json"))).unwrap();
        assert_eq!(run["status"], "failed");
        assert!(run["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[test]
fn a_setup_that_fails_fails_the_run() {
    let here = probe();
    let said: Outcome =
        here.command::<&str>(&[]).env("PROBE_SETUP_FAILS", "1").output().unwrap().into();
    assert!(said.expect(1).err.contains("error: setup was set to fail, with `"));
    let said = here.run(&["-e", "PROBE_SETUP_FAILS=1"]).expect(1);
    assert!(said.err.contains("setup was set to fail"), "-e reaches setup: {}", said.err);
    here.file("env.yaml", "environment:\n  - PROBE_SETUP_FAILS=1\n");
    let said = here.run(&["--config", "env.yaml"]).expect(1);
    assert!(said.err.contains("setup was set to fail"), "cog.yaml reaches setup: {}", said.err);
}

/// Candle looks for this variable at every product, and counts processors where it is missing.
#[test]
fn the_number_of_threads_is_set_unless_it_is_given() {
    let here = probe();
    let threads = |given: &[&str]| {
        let arguments = [&["-e", "PROBE_SETUP_FAILS=1"], given].concat();
        let said: Outcome =
            here.command(&arguments).env_remove("RAYON_NUM_THREADS").output().unwrap().into();
        let said = said.expect(1).err;
        let (_, said) = said.split_once("set to fail, with `").unwrap();
        said.split('`').next().unwrap().to_owned()
    };
    assert!(threads(&[]).parse::<usize>().is_ok_and(|threads| threads > 0));
    assert_eq!(threads(&["-e", "RAYON_NUM_THREADS=3"]), "3");
}

#[test]
fn a_backtrace_shows_the_authors_frames_and_no_others() {
    let here = probe();
    let mut command = here.command(&["-i", "nothing=1"]);
    let said: Outcome = command.env("RUST_BACKTRACE", "1").output().unwrap().into();
    let said = said.expect(2);
    assert!(!said.err.contains("  at "), "an input that is not valid: {}", said.err);
    for mode in ["tensor", "panic", "fail"] {
        let args = ["-i", &format!("mode={mode}"), "--run-dir", mode];
        let mut command = here.command(&args);
        let said: Outcome = command.env("RUST_BACKTRACE", "1").output().unwrap().into();
        let said = said.expect(1);
        let frames: Vec<&str> = said.err.lines().filter(|line| line.starts_with("  at ")).collect();
        assert!(
            frames.iter().any(|frame| frame.contains("fixtures/probe.rs:")),
            "{mode}: {}",
            said.err
        );
        for frame in frames {
            assert!(frame.contains("fixtures/probe.rs:"), "{mode}: {frame}");
            let function = frame.trim_start_matches("  at ").split(',').next().unwrap();
            assert!(!function.contains("main"), "{mode}: {frame}");
        }
        let said = here.run(&["-i", &format!("mode={mode}")]).expect(1);
        assert!(!said.err.contains("  at "), "not without the variable: {}", said.err);
    }
}
