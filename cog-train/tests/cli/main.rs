//! The command line of a trainer's binary, seen from outside.

mod cogs;
mod each;
mod finetune;
mod full;
#[cfg(target_os = "linux")]
mod memory;
mod pattern;
mod plan;
mod planned;
mod results;
mod resume;
mod sandbox;
mod soak;
mod stop;
mod terminal;
mod transcript;
mod transcripts;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sandbox::{Outcome, Sandbox};
use serde_json::{Value, json};

const CANARY: &str = "canary-7f3a9c";

fn probe() -> Sandbox {
    Sandbox::new("probe")
}

#[test]
fn bad_inputs_are_reported_all_at_once_and_nothing_is_left() {
    let here = probe();
    let said = here.run(&["-i", "epochs=300", "-i", "optimizr=sgd", "-i", "mode=dance"]).expect(2);
    assert_eq!(
        said.err,
        "error: 3 inputs are not valid
  `epochs`: 300 is greater than the maximum of 10
  `mode`: \"dance\" is not one of [\"succeed\",\"fail\",\"panic\",\"panic_in_thread\",\"tensor\",\"missing_file\",\"wait\",\"deaf\",\"leak\",\"resume\"]
  `optimizr`: no such input
  hint: did you mean `optimizer`?
"
    );
    assert_eq!(said.out, "");
    assert!(here.names().is_empty(), "{:?}", here.names());
}

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
fn the_answer_as_json_is_one_object_and_alone_on_standard_output() {
    let here = probe();
    let said = here.run(&["--json", r#"{"epochs": 1, "seed": 9}"#]).expect(0);
    let answer = said.json();
    assert_eq!(answer["status"], "succeeded");
    assert_eq!(answer["error"], "");
    assert_eq!(answer["output"]["seed"], 9);
    assert_eq!(answer["output"]["weights"], "weights/weights.safetensors");
    assert_eq!(answer["metrics"]["rows"], 7);
    assert!(answer["metrics"]["predict_time"].as_f64().unwrap() > 0.0);
    for line in said.err.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap();
    }

    let said = here.run(&["--format", "json", "-i", "mode=fail"]).expect(1);
    assert_eq!(
        (said.json()["status"].as_str(), said.json()["output"].is_null()),
        (Some("failed"), true)
    );
    assert_eq!(said.json()["error"], "set to fail with 3");
    let said = here.run(&["--json", r#"{"epochs": 99}"#]).expect(2);
    assert!(
        said.json()["error"].as_str().unwrap().contains("99 is greater than the maximum of 10")
    );
}

#[test]
fn inputs_come_from_standard_input_and_from_a_file() {
    let here = probe();
    here.file("in.json", r#"{"epochs": 2}"#);
    assert_eq!(here.run(&["--json", "@in.json"]).expect(0).json()["status"], "succeeded");
    let mut child = here
        .command(&["--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"epochs": 4}"#).unwrap();
    let said: Outcome = child.wait_with_output().unwrap().into();
    assert_eq!(said.expect(0).json()["status"], "succeeded");
}

#[test]
fn a_file_that_is_not_there_is_refused_at_its_input() {
    let here = probe();
    let said = here.run(&["-i", "data=gone.jsonl", "-i", "more=also-gone"]).expect(2);
    assert!(said.err.starts_with("error: 2 inputs are not valid\n"), "{}", said.err);
    assert!(
        said.err.contains("`data`: cannot read `gone.jsonl`: no such file or directory"),
        "{}",
        said.err
    );
    assert!(here.names().is_empty(), "{:?}", here.names());
}

#[test]
fn a_data_url_is_a_file() {
    let here = probe();
    let said = here.run(&["-i", "data=data:text/plain;base64,aGVsbG8="]).expect(0);
    assert_eq!(said.out.split('(').nth(1).unwrap().split("bytes ").nth(1).unwrap(), "5)\n");
}

#[test]
fn no_secret_is_in_any_file_log_or_error() {
    let here = probe();
    here.file("token.txt", format!("{CANARY}\n"));
    let token = format!("token={CANARY}");
    let calls: [&[&str]; 7] = [
        &["-i", &token],
        &["-i", "token=@token.txt", "-i", "mode=leak"],
        &["-i", &token, "-i", "mode=leak", "--format", "json"],
        &["-i", &token, "-i", "epochs=99"],
        &["-i", &token, "-i", &token],
        &["--json", &format!(r#"{{"token": ["{CANARY}"]}}"#)],
        &["--json", &format!(r#"{{"token": "{CANARY}", "token": "{CANARY}"}}"#)],
    ];
    for (index, call) in calls.iter().enumerate() {
        let said = here.run(call);
        assert_eq!(said.code, Some([0, 1, 1, 2, 2, 2, 2][index]), "{call:?}\n{}", said.err);
        for text in [&said.out, &said.err] {
            assert!(!text.contains(CANARY), "{call:?}\n{text}");
        }
    }
    std::fs::remove_file(here.path("token.txt")).unwrap();
    let tree = here.tree();
    assert!(
        tree.keys().any(|path| path.ends_with("run.json"))
            && tree.keys().any(|path| path.ends_with("log.txt"))
    );
    for (path, bytes) in tree {
        assert!(
            !bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()),
            "{}",
            path.display()
        );
    }
}

/// Starts the probe, waits until it waits, sends signals, and gives what it said and how long it took from the first.
fn signalled(here: &Sandbox, mode: &str, signals: &[&str]) -> (Outcome, Duration) {
    let mut child = here
        .command(&["-i", &format!("mode={mode}"), "--run-dir", mode])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut err = String::new();
    let mut until = |word: &str| {
        for line in lines.by_ref().map_while(Result::ok) {
            err.push_str(&line);
            err.push('\n');
            if line.contains(word) {
                return;
            }
        }
    };
    until("waiting");
    let start = Instant::now();
    for (index, signal) in signals.iter().enumerate() {
        if index > 0 {
            until("again to quit now");
        }
        let sent = std::process::Command::new("kill")
            .args([signal.to_string(), child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
    until("\u{0}");
    let output = child.wait_with_output().unwrap();
    let took = start.elapsed();
    let said =
        Outcome { code: output.status.code(), out: String::from_utf8(output.stdout).unwrap(), err };
    (said, took)
}

#[test]
fn a_signal_ends_a_run_cleanly_with_130() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let here = probe();
        here.run(&["--run-dir", "good"]).expect(0);
        let weights = here.read("weights/output.json");
        let (said, took) = signalled(&here, "wait", &[signal]);
        let said = said.expect(130);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(said.err.contains("error: cancelled\n"), "{}", said.err);
        assert_eq!(said.out, "");
        assert_eq!(here.read("weights/output.json"), weights);
        let run: Value = serde_json::from_str(&here.read("wait/run.json")).unwrap();
        assert_eq!(run["status"], "canceled");
    }
}

#[test]
fn a_second_signal_ends_a_run_that_does_not_listen() {
    let here = probe();
    let (said, took) = signalled(&here, "deaf", &["-INT", "-INT"]);
    said.expect(130);
    let run: Value = serde_json::from_str(&here.read("deaf/run.json")).unwrap();
    assert_eq!(run["status"], "canceled");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn predict_answers_on_standard_output_and_writes_nothing() {
    let here = probe();
    let said = here.run(&["predict", "-i", "prompt=hi"]).expect(0);
    assert_eq!(said.out, "{\n  \"text\": \"hi\",\n  \"first\": null\n}\n");
    assert!(said.err.contains("predicting\n"));
    assert!(here.names().is_empty(), "{:?}", here.names());
    let said = here.run(&["run", "-i", "prompt=hi", "-o", "answer.json"]).expect(0);
    assert_eq!(said.out, "predicted: answer.json\n");
    assert_eq!(here.names(), ["answer.json"]);
}

#[test]
fn a_predictor_loads_the_trained_weights() {
    let here = probe();
    here.run(&["-i", "seed=3"]).expect(0);
    let first = |weights: &str| {
        let mut command = here.command(&["predict", "--json", r#"{"prompt": "hi"}"#]);
        let said: Outcome = command.env("COG_WEIGHTS", weights).output().unwrap().into();
        said.expect(0).json()["output"]["first"].clone()
    };
    let value = first("weights");
    assert!(value.is_f64());
    assert_eq!(value, first("weights/weights.safetensors"));
    assert_eq!(first(""), Value::Null, "an empty COG_WEIGHTS is none");
}

#[test]
fn weights_that_cannot_be_opened_fail_before_setup() {
    let here = probe();
    here.file("torch.pt", b"PK\x03\x04");
    for (value, word) in
        [("nowhere.safetensors", "nowhere.safetensors"), ("torch.pt", "safetensors")]
    {
        let said: Outcome = here
            .command(&["predict", "-i", "prompt=hi"])
            .env("COG_WEIGHTS", value)
            .output()
            .unwrap()
            .into();
        let said = said.expect(1);
        assert!(
            said.err.contains("error: COG_WEIGHTS: ") && said.err.contains(word),
            "{}",
            said.err
        );
        assert!(!said.err.contains("setting up"), "{}", said.err);
    }
}

#[test]
fn help_shows_the_inputs_with_types_defaults_and_rules() {
    let here = probe();
    let help = here.run(&["--help"]).expect(0).out;
    for part in [
        "Does what its inputs select",
        "epochs=<INTEGER>",
        "[default: 3] [1 to 10]",
        "The way to end [default: succeed]",
        "[possible values: adamw, sgd]",
        "token=<SECRET>",
        "more=<FILE>...",
        "--run-dir",
        "--resume",
        "--dry-run",
        "--force",
        "predict",
        "schema",
        "check",
    ] {
        assert!(help.contains(part), "{part}:\n{help}");
    }
    let help = here.run(&["predict", "--help"]).expect(0).out;
    assert!(help.contains("The text to say [required] [at least 1 character]"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn arguments_that_cannot_be_understood_are_refused_with_2() {
    let here = probe();
    here.file("plain", "");
    for call in [
        &["--epochs", "3"][..],
        &["-i", "epochs"],
        &["-i", "epochs=3", "--json", "{}"],
        &["--device", "gpu"],
        &["--seed", "x"],
        &["--format", "xml"],
        &["-e", "NAME"],
        &["--config", "gone.yaml"],
        &["trian"],
    ] {
        let said = here.run(call);
        assert_eq!(said.code, Some(2), "{call:?}: {}", said.err);
        assert_eq!(said.err.matches("error:").count(), 1, "{call:?}: {}", said.err);
        assert_eq!(said.out, "");
    }
    let said = here.run(&["-o", "plain/weights"]).expect(1);
    assert!(said.err.starts_with("error: cannot "), "refused before the training: {}", said.err);
    assert_eq!(here.names(), ["plain"]);
}

#[test]
fn check_holds_cog_yaml_against_the_binary() {
    let here = probe();
    here.file("good.yaml", "train: \"probe.rs:Probe\"\npredict: \"probe.rs:Speaker\"\n");
    assert_eq!(here.run(&["check", "--config", "good.yaml"]).expect(0).out, "good.yaml is valid\n");
    here.file("bad.yaml", "biuld:\n  gpu: true\ntrain: \"probe.rs:Other\"\n");
    let said = here.run(&["check", "--config", "bad.yaml"]).expect(2);
    for part in [
        "bad.yaml:1:1: unknown key `biuld`",
        "did you mean `build`?",
        "bad.yaml:3:8: `train` names `Other`",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    let said = here.run(&["--config", "bad.yaml"]).expect(2);
    assert!(
        said.err.contains("warning: bad.yaml:1:1: unknown key") && said.err.contains("`Other`"),
        "{}",
        said.err
    );
}

#[test]
fn check_and_run_refuse_the_same_files() {
    let here = probe();
    here.file("nul.yaml", "environment: [\"A=a\\0b\"]\n");
    for (file, message) in [
        ("nul.yaml", "nul.yaml:1:15: `A=a\\0b` holds a NUL character"),
        ("/dev/zero", "`--config`: cannot read `/dev/zero`: larger than the limit of 262144 bytes"),
    ] {
        for call in [&["check", "--config", file][..], &["--config", file]] {
            let said = here.run(call).expect(2);
            assert!(said.err.contains(message), "{call:?}: {}", said.err);
        }
    }
}

#[test]
fn the_schema_is_json_and_names_both_sides() {
    let document: Value = probe().run(&["schema"]).expect(0).json();
    for component in [
        "TrainingInput",
        "TrainingOutput",
        "Input",
        "Output",
        "TrainingRequest",
        "mode",
        "optimizer",
    ] {
        assert!(document["components"]["schemas"][component].is_object(), "{component}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let here = probe();
    let mut child =
        here.command(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said: Outcome = child.wait_with_output().unwrap().into();
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}

#[test]
fn a_whole_number_written_as_a_float_is_the_seed() {
    let here = probe();
    here.run(&["-i", "seed=1.0", "--run-dir", "r"]).expect(0);
    let run: Value = serde_json::from_str(&here.read("r/run.json")).unwrap();
    assert_eq!(run["seed"], json!({"value": 1, "origin": "input"}));
}

#[test]
fn the_content_of_an_address_is_not_copied_into_the_record() {
    let here = probe();
    here.run(&["-i", "data=data:text/plain;base64,aGVsbG8=", "--run-dir", "r"]).expect(0);
    let record = here.read("r/run.json");
    assert!(record.contains("data:text/plain,...") && !record.contains("aGVsbG8"), "{record}");
}

#[test]
fn a_pipe_is_refused_as_a_file() {
    let here = probe();
    assert!(
        std::process::Command::new("mkfifo").arg(here.path("pipe")).status().unwrap().success()
    );
    let said = here.run(&["-i", "data=pipe"]).expect(2);
    assert!(
        said.err.contains("`data`: cannot read `pipe`: it is neither a file nor a folder"),
        "{}",
        said.err
    );
}

#[test]
fn a_file_of_the_users_own_in_the_output_folder_stays() {
    let here = probe();
    here.run::<&str>(&[]).expect(0);
    // The output has a text with this name.
    here.file("weights/done", "mine");
    here.run::<&str>(&[]).expect(0);
    assert_eq!(here.read("weights/done"), "mine");
}

#[test]
fn an_output_that_has_no_place_is_refused_before_the_training() {
    let here = probe();
    here.file("weights", "mine");
    let said = here.run::<&str>(&[]).expect(2);
    assert!(said.err.starts_with("error: `-o weights` is not a folder"), "{}", said.err);
    assert_eq!(here.names(), ["weights"]);
}

#[test]
fn an_input_written_as_an_option_or_a_word_is_answered_with_the_way_to_write_it() {
    let here = probe();
    for (call, expected) in [
        (
            &["--epochs", "3"][..],
            "`--epochs` is an input and not an option\nhint: write `-i epochs=3`\n",
        ),
        (&["--epochs=3"], "`--epochs` is an input and not an option\nhint: write `-i epochs=3`\n"),
        (&["epochs=3"], "`epochs` is an input and not an option\nhint: write `-i epochs=3`\n"),
        (
            &["train", "--epochs", "3"],
            "`--epochs` is an input and not an option\nhint: write `-i epochs=3`\n",
        ),
        (
            &["--token", CANARY],
            "`--token` is an input and not an option\nhint: write `-i token=VALUE`\n",
        ),
    ] {
        let said = here.run(call).expect(2);
        assert_eq!(said.err, format!("error: {expected}"), "{call:?}");
    }
    let said = here.run(&["--epoch", "3"]).expect(2);
    assert!(said.err.contains("unexpected argument"), "{}", said.err);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_value() {
    let here = probe();
    here.file("optimizer.txt", "\u{feff}sgd\n");
    here.file("in.json", "\u{feff}{\"epochs\": 2}");
    let said = here.run(&["-i", "optimizer=@optimizer.txt"]).expect(0);
    assert!(said.err.contains("epochs 3 with sgd\n"), "{}", said.err);
    let said = here.run(&["--json", "@in.json"]).expect(0);
    assert!(said.err.contains("epochs 2 with adamw"), "{}", said.err);
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

#[test]
fn a_signal_that_the_parent_ignored_stays_ignored() {
    let here = probe();
    let script = format!(
        "trap '' HUP; '{}' -i mode=wait --run-dir r & pid=$!; \
         while ! grep -qs waiting r/log.txt; do sleep 0.01; done; \
         kill -HUP $pid; sleep 0.3; kill -0 $pid && echo alive; kill -TERM $pid; wait $pid; echo $?",
        here.program().display()
    );
    let mut command = std::process::Command::new("sh");
    let said: Outcome = command
        .args(["-c", &script])
        .env_remove("RUST_BACKTRACE")
        .current_dir(here.dir.path())
        .output()
        .unwrap()
        .into();
    assert_eq!(said.out, "alive\n130\n", "{}", said.err);
}
