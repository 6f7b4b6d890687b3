//! Ranks under `mpirun`: the operations between them, and a training from its start to its end.

mod lost;
mod sandbox;
mod training;

use std::process::{Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use self::sandbox::{LIMIT, Sandbox, await_log, mpirun};

#[test]
fn operations_keep_their_laws_for_1_2_and_4_ranks() {
    // Whole tensors in one message, and each in many.
    for (ranks, message) in [(1, "64"), (2, "1073741824"), (2, "16"), (4, "64")] {
        let said = Sandbox::ended(mpirun(ranks, "mpi_laws", &[message]));
        assert_eq!(said.code, Some(0), "{ranks} ranks: {}", said.err);
    }
}

#[test]
fn rank_0_alone_prints_and_writes() {
    let here = Sandbox::new();
    let said = here.train(2, &["-o", "sum.json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.out, "trained: sum.json\n");
    assert_eq!(std::fs::read_to_string(here.path().join("sum.json")).unwrap().trim(), "3");
    assert_eq!(said.err.matches("rank 0 of 2").count(), 1, "{}", said.err);
    assert!(!said.err.contains("rank 1 of 2"), "{}", said.err);
    assert_eq!(here.record()["status"], "succeeded");
    assert_eq!(here.scratch(), [""; 0], "the folders of other ranks are removed");
}

#[test]
fn each_rank_reads_the_inputs() {
    let here = Sandbox::new();
    std::fs::write(here.path().join("data.txt"), "12345").unwrap();
    let said = here.train(4, &["-i", "data=@data.txt", "-o", "-"]);
    assert_eq!((said.code, said.out.trim()), (Some(0), "30"), "{}", said.err);
}

#[test]
fn a_dry_run_has_one_seed_on_all_ranks() {
    let here = Sandbox::new();
    let said = here.train(2, &["--dry-run"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.out.matches("seed").count(), 1, "{}", said.out);
    assert_eq!(here.scratch(), [""; 0]);
}

/// Standard input is that of rank 0 alone, and so may be a file.
#[test]
fn rank_0_reads_the_inputs_of_a_dry_run_for_all() {
    let here = Sandbox::new();
    std::fs::write(here.path().join("inputs.json"), r#"{"rank": 3}"#).unwrap();
    let mut command = here.command(2, &["--dry-run", "--json", "@-"]);
    command.stdin(std::fs::File::open(here.path().join("inputs.json")).unwrap());
    let said = Sandbox::ended(command);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let plan: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&plan["status"], &plan["inputs"]["rank"]["value"]), (&"planned".into(), &3.into()));
    assert_eq!(here.scratch(), [""; 0]);
}

#[test]
fn an_error_that_all_ranks_make_is_printed_once() {
    let here = Sandbox::new();
    here.train(2, &["-i", "mode=all_fail"]).fails_with(1, &["the disk is full"]);
    assert_eq!(here.record()["status"], "failed");
    let here = Sandbox::new();
    let said = here.train(2, &["-i", "mode=dance"]);
    said.fails_with(2, &["1 input is not valid"]);
    assert!(!here.path().join("runs").exists());
}

#[test]
fn a_failure_is_answered_as_json_by_rank_0_alone() {
    let here = Sandbox::new();
    let said = here.train(2, &["--format", "json", "-i", "mode=all_fail"]);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["status"], "failed");
    assert_eq!(answer["error"], "the disk is full");
    assert_eq!(said.code, Some(1), "{}", said.err);
}

#[test]
fn the_error_of_one_rank_ends_all_with_its_rank() {
    for (args, error) in [
        (&["-i", "mode=fail", "-i", "rank=1"][..], "rank 1: the disk of this rank is full"),
        (&["-i", "mode=fail", "-i", "rank=0"], "rank 0: the disk of this rank is full"),
        (&["-i", "mode=late"], "rank 1: its work after the training failed"),
    ] {
        let here = Sandbox::new();
        here.train(4, args).fails_with(1, &[error]);
    }
}

#[test]
fn a_panic_of_one_rank_ends_all() {
    let here = Sandbox::new();
    let said = here.train(2, &["-i", "mode=panic"]);
    let [error] = said.errors()[..] else { panic!("{}", said.err) };
    assert!(error.starts_with("rank 1: `train` panicked at "), "{error}");
    assert!(error.ends_with("set to panic") && said.took < LIMIT, "{error}");
}

#[test]
fn a_rank_that_hangs_ends_all_after_the_longest_wait() {
    let here = Sandbox::new();
    let mut command = here.command(4, &["-i", "mode=hang", "-i", "rank=2"]);
    command.env("COG_TRAIN_RANKS_TIMEOUT", "2");
    let said = Sandbox::ended(command);
    said.fails_with(1, &["rank 2: the others have waited for it too long"]);
}

#[test]
fn a_signal_to_the_launcher_stops_all_ranks_after_the_same_step() {
    let here = Sandbox::new();
    let mut command = here.command(2, &["-i", "mode=wait"]);
    // The seconds after which OpenMPI hands the signal on, and after which it kills the ranks.
    command.env("OMPI_MCA_odls_base_sigkill_timeout", "4");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    await_log(&here, "rank 0 of 2", &mut child);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let began = Instant::now();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && began.elapsed() < LIMIT, "{status} {err}");
    assert_eq!(here.record()["status"], "canceled", "{err}");
    assert_eq!(err.matches("stopped at step").count(), 1, "{err}");
    assert_eq!(here.scratch(), [""; 0]);
}

#[test]
fn contradictory_variables_end_before_anything_is_written() {
    let here = Sandbox::new();
    let mut command = here.command(2, &[]);
    let said = Sandbox::ended({
        command.env("RANK", "5").env("WORLD_SIZE", "8");
        command
    });
    assert!(said.err.contains("error: `OMPI_COMM_WORLD_RANK` is "), "{}", said.err);
    assert!(said.err.contains(", and `RANK` is 5\nhint: "), "{}", said.err);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(!here.path().join("runs").exists());
}
