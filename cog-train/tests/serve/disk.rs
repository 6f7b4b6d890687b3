//! Disks and files that are full.

#![expect(clippy::print_stderr, reason = "what was left out and why")]

use std::process::Command;

use serde_json::json;

use crate::faulty;
use crate::sandbox::Sandbox;
use crate::server::Server;

/// A server by a shell that limits it first.
fn server(here: &Sandbox, before: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-r", "-m", "sh", "-c"]);
    command.arg(format!("{before}; exec \"$0\" \"$@\""));
    command.arg(here.program()).args(["serve", "--host", "127.0.0.1"]);
    command.env("PORT", "0").env_remove("COG_TRAIN_TOKEN").env_remove("RUST_LOG");
    command.current_dir(here.dir.path());
    command
}

/// A training that writes more than fits fails with a cause, and the server takes the next one.
fn fails_and_lives(server: &Server, cause: &str) {
    let worker = server.worker();
    let large = json!({"id": "large", "input": {"bytes": 4 << 20}}).to_string();
    let state = server.post("/trainings", &large).expect(200).json();
    assert_eq!(state["status"], "failed", "{state}");
    let error = state["error"].as_str().unwrap().to_lowercase();
    assert!(error.contains(cause), "{error}");
    server.wait_for("READY");
    assert_eq!(server.worker(), worker);
}

#[test]
fn a_file_over_the_limit_fails_its_training_and_the_server_lives() {
    let here = faulty();
    // 512 KiB for every file; the signal that comes with a longer one is ignored, as Python does.
    let limited = "trap '' XFSZ; ulimit -f 1024";
    let mut command = server(&here, limited);
    if !can_unshare() {
        command = Command::new("sh");
        command.args(["-c", &format!("{limited}; exec \"$0\" \"$@\"")]).arg(here.program());
        command
            .args(["serve", "--host", "127.0.0.1"])
            .env("PORT", "0")
            .current_dir(here.dir.path());
    }
    let server = Server::spawn(command);
    server.wait_for("READY");
    fails_and_lives(&server, "file too large");
    let small = server.post("/trainings", r#"{"id":"s","input":{"bytes":1000}}"#).expect(200);
    assert_eq!(small.json()["status"], "succeeded", "{small:?}");
    // The file fits, and the answer with it in base64 does not.
    let input = r#"{"id":"m","input":{"bytes":500000}}"#;
    let middle = server.post("/trainings", input).expect(200);
    assert_eq!(middle.json()["status"], "succeeded");
    assert!(!here.path("runs/m/answer.json").exists());
    assert_eq!(server.get("/trainings/m").expect(200).body, middle.body);
}

#[test]
fn a_full_disk_fails_its_training_and_the_server_lives() {
    if !can_unshare() {
        eprintln!("skipped: a small disk cannot be mounted here");
        return;
    }
    let here = faulty();
    let small = "mkdir disk && mount -t tmpfs -o size=1m tmpfs disk && cd disk || exit 99";
    let server = Server::spawn(server(&here, small));
    server.wait_for("READY");
    fails_and_lives(&server, "no space left on device");
    // The file of the first one still takes all room: nothing of the next one can be written, and it says so.
    let next = server.post("/trainings", "{}").expect(200).json();
    assert_eq!(next["status"], "failed", "{next}");
    assert!(next["error"].as_str().unwrap().to_lowercase().contains("no space left"), "{next}");
    // Neither can its answer, which is known all the same.
    let id = next["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/trainings/{id}")).expect(200).json(), next);
    server.wait_for("READY");
    let list = server.get("/trainings").expect(200).json();
    assert!(list["trainings"].is_array(), "{list}");
}

#[test]
fn a_request_that_does_not_fit_on_the_disk_of_temporary_files_leaves_its_slot() {
    if !can_unshare() {
        eprintln!("skipped: a small disk cannot be mounted here");
        return;
    }
    let here = faulty();
    let small = "mkdir tmp && mount -t tmpfs -o size=64k tmpfs tmp && export TMPDIR=\"$PWD/tmp\" || exit 99";
    let server = Server::spawn(server(&here, small));
    server.wait_for("READY");
    let worker = server.worker();
    // coglet sends a request of this length by a file.
    let large = json!({"input": {"text": "a".repeat(8 << 20)}}).to_string();
    for _ in 0..2 {
        let state = server.post("/trainings", &large).expect(200).json();
        let error = state["error"].as_str().unwrap();
        assert!(error.ends_with("/input.json`: no space left on device"), "{error}");
    }
    let next = server.post("/trainings", "{}").expect(200).json();
    assert_eq!(next["status"], "succeeded", "{next}");
    assert_eq!(server.worker(), worker);
}

fn can_unshare() -> bool {
    let mounts = "mount -t tmpfs tmpfs /tmp";
    let output = Command::new("unshare").args(["-r", "-m", "sh", "-c", mounts]).output();
    output.is_ok_and(|output| output.status.success())
}
