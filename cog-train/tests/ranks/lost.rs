//! Ranks that die, stop, work for long, or call other operations than the rest.

use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{LIMIT, Said, Sandbox, await_log};
use crate::training::{FIT, fit};

/// The seconds after which a rank is lost in these tests.
const SILENCE: &str = "4";

/// Trains on ranks of which one has a fault (see tests/fixtures/fault.rs).
fn with_fault(here: &Sandbox, ranks: usize, program: &str, args: &[&str], fault: &str) -> Said {
    let mut command = here.command_of(program, ranks, args);
    command.env("FAULT", fault).env("COG_TRAIN_RANKS_HEARTBEAT", SILENCE);
    Sandbox::ended(command)
}

/// Checks that all ranks have ended, with one error: that of the rank that did not answer.
fn assert_silent(said: &Said, rank: usize) -> String {
    let [error] = said.errors()[..] else { panic!("{}", said.err) };
    let end = format!(") has not answered for {SILENCE} s");
    assert!(error.starts_with(&format!("rank {rank} (")) && error.ends_with(&end), "{error}");
    assert!(said.code != Some(0) && said.took < LIMIT, "{:?} {}", said.code, said.err);
    error.to_owned()
}

#[test]
fn a_rank_that_stops_in_its_setup_ends_all_with_its_name() {
    let here = Sandbox::new();
    let error = assert_silent(&with_fault(&here, 4, "ranks", &[], "stop 2 setup"), 2);
    assert_eq!(
        (&here.record()["status"], &here.record()["error"]),
        (&"failed".into(), &error.into())
    );
}

#[test]
fn the_others_end_when_rank_0_stops() {
    let here = Sandbox::new();
    assert_silent(&with_fault(&here, 4, "ranks", &["-i", "mode=hang"], "stop 0 setup"), 0);
}

/// The others wait in a function of the MPI library that does not return.
#[test]
fn a_rank_that_stops_within_an_operation_ends_all_with_its_name() {
    let here = Sandbox::new();
    let said = with_fault(&here, 2, "ranks", &["-i", "mode=sums"], "stop 1 sums");
    let error = assert_silent(&said, 1);
    assert_eq!(
        (&here.record()["status"], &here.record()["error"]),
        (&"failed".into(), &error.into())
    );
}

/// A fault of rank 1 in each part of a training that leaves checkpoints, from which it is resumed.
#[test]
fn a_run_whose_rank_is_lost_is_resumed_from_its_last_checkpoint() {
    let straight = fit(&Sandbox::new(), 1, &[]);
    for fault in [
        "stop 1 step 7",
        "stop 1 evaluation 3",
        "stop 1 end",
        "kill 1 step 10",
        "kill 1 evaluation 2",
        "kill 0 step 17",
    ] {
        let here = Sandbox::new();
        let said = with_fault(&here, 2, "tiny_fit", FIT, fault);
        if fault.starts_with("stop") {
            assert_silent(&said, 1);
        }
        assert!(said.code != Some(0) && said.took < LIMIT, "{fault}: {:?} {}", said.code, said.err);
        // At the end rank 0 has written the output already.
        let is_written = here.path().join("trained.safetensors").exists();
        assert_eq!(is_written, fault.ends_with("end"), "{fault}");
        assert_eq!(fit(&here, 2, &["--resume"]), straight, "{fault}");
    }
}

#[test]
fn a_rank_that_is_killed_is_named_once() {
    let here = Sandbox::new();
    let said = with_fault(&here, 2, "ranks", &["-i", "mode=sums"], "kill 1 sums");
    assert!(said.code != Some(0) && said.took < LIMIT, "{:?} {}", said.code, said.err);
    assert!(said.err.contains("exited on signal 9"), "{}", said.err);
    assert!(said.errors().len() <= 1, "{}", said.err);
}

#[test]
fn a_signal_to_one_rank_in_any_part_stops_all_with_a_checkpoint() {
    let straight = fit(&Sandbox::new(), 1, &[]);
    for fault in ["term 1 step 7", "term 0 evaluation 3"] {
        let here = Sandbox::new();
        let said = with_fault(&here, 2, "tiny_fit", FIT, fault);
        assert_eq!(
            (said.code, said.errors()),
            (Some(130), vec!["cancelled"]),
            "{fault}: {}",
            said.err
        );
        assert_eq!(here.status("runs/fit"), "canceled", "{fault}");
        assert_eq!(fit(&here, 2, &["--resume"]), straight, "{fault}");
    }
}

#[test]
fn a_rank_that_works_for_long_is_not_lost() {
    for rank in ["0", "1"] {
        let here = Sandbox::new();
        let mut command = here.command(2, &["-i", "mode=work", "-i", &format!("rank={rank}")]);
        command.env("COG_TRAIN_RANKS_HEARTBEAT", "2");
        let said = Sandbox::ended(command);
        assert_eq!(said.code, Some(0), "rank {rank}: {}", said.err);
        assert!(said.took > Duration::from_secs(6), "{:?}", said.took);
    }
}

/// Returns the processes of the ranks.
fn ranks(launcher: &Child) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", launcher.id());
    let children = std::fs::read_to_string(path).unwrap();
    children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// As a job that a scheduler suspends, or a machine that sleeps.
#[test]
fn ranks_that_are_stopped_together_are_not_lost() {
    let here = Sandbox::new();
    let mut command = here.command(2, &["-i", "mode=wait"]);
    command.env("COG_TRAIN_RANKS_HEARTBEAT", "2");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    await_log(&here, "rank 0 of 2", &mut child);
    let ranks = ranks(&child);
    assert_eq!(ranks.len(), 2);
    let signal = |signal| ranks.iter().for_each(|pid| kill_process(*pid, signal).unwrap());
    signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(6));
    signal(Signal::CONT);
    std::thread::sleep(Duration::from_secs(4));
    assert!(child.try_wait().unwrap().is_none(), "they work on");
    kill_process(ranks[0], Signal::TERM).unwrap();
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{err}");
}

#[test]
fn ranks_that_call_different_operations_are_named() {
    for rank in ["0", "1"] {
        let here = Sandbox::new();
        let said = here.train(2, &["-i", "mode=disorder", "-i", &format!("rank={rank}")]);
        let [error] = said.errors()[..] else { panic!("{}", said.err) };
        let calls = match rank {
            "0" => ") calls `sum` where rank 0 calls `barrier`",
            _ => ") calls `barrier` where rank 0 calls `sum`",
        };
        assert!(error.starts_with("rank 1 (") && error.ends_with(calls), "{error}");
        assert!(said.code != Some(0) && said.took < LIMIT, "{:?}", said.took);
    }
}
