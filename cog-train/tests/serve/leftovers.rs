//! Temporary files, and folders that two servers share.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::faulty;
use crate::sandbox::Sandbox;
use crate::server::Server;

/// More than what the server sends to its worker without a file.
const LARGE: usize = 8 << 20;

fn temporary(here: &Sandbox) -> PathBuf {
    let folder = here.path("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn names(here: &Sandbox) -> Vec<String> {
    let entries = std::fs::read_dir(here.path("tmp")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn temporary_files_end_with_their_training() {
    let here = faulty();
    let folder = temporary(&here).display().to_string();
    let server = Server::ready(&here, &["serve"], &[("TMPDIR", &folder)]);
    let text = "x".repeat(LARGE);
    for (end, status) in [
        ("succeed", "succeeded"),
        ("fail", "failed"),
        ("panic", "failed"),
        ("abort", "failed"),
        ("kill", "failed"),
        ("wait", "canceled"),
    ] {
        let body = json!({"input": {"end": end, "text": text}}).to_string();
        server.put_async(&format!("/trainings/{end}"), &body).expect(202);
        if end == "wait" {
            server.wait_for_log("wait", "training");
            let found = names(&here);
            assert!(matches!(&found[..], [one] if one.starts_with("cog-train-")), "{found:?}");
            server.post("/trainings/wait/cancel", "").expect(200);
        }
        let state = server.ended(end);
        assert_eq!(state["status"], status, "{state}");
        if end == "succeed" {
            assert_eq!(state["output"]["length"], LARGE, "the whole input has arrived");
        }
        server.wait_for("READY");
        assert_eq!(names(&here), [""; 0], "{end}");
    }
}

#[test]
fn a_killed_server_leaves_nothing_behind_for_long() {
    let here = faulty();
    let folder = temporary(&here).display().to_string();
    let server = Server::ready(&here, &["serve"], &[("TMPDIR", &folder)]);
    server.put_async("/trainings/a", r#"{"input":{"end":"wait"}}"#).expect(202);
    server.wait_for_log("a", "training");
    // A folder of somebody else, and one of a server that lives.
    here.file("tmp/cog-train-mine/file", "");
    let other = Server::ready(&here, &["serve"], &[("TMPDIR", &folder)]);
    other.put_async("/trainings/b", r#"{"input":{"end":"wait"}}"#).expect(202);
    other.wait_for_log("b", "training");
    assert_eq!(names(&here).len(), 3);
    let worker = server.worker();
    server.signal(Signal::SIGKILL);
    other.poll(|| match kill(worker, None) {
        Ok(()) => Err("the worker outlives its server".to_owned()),
        Err(_) => Ok(()),
    });
    assert_eq!(names(&here).len(), 3, "nobody removes it yet");
    drop(server);
    let next = Server::ready(&here, &["serve"], &[("TMPDIR", &folder)]);
    next.poll(|| {
        let found = names(&here);
        if found.len() == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    assert!(here.path("tmp/cog-train-mine/file").exists());
    other.post("/trainings/b/cancel", "").expect(200);
    assert_eq!(other.ended("b")["status"], "canceled");
}

#[test]
fn of_two_servers_in_a_folder_one_trains_an_id() {
    let here = faulty();
    let first = Server::ready(&here, &["serve"], &[]);
    let second = Server::ready(&here, &["serve"], &[]);
    first.put_async("/trainings/a", r#"{"input":{"end":"wait"}}"#).expect(202);
    first.wait_for_log("a", "training");
    let refused = second.put_async("/trainings/a", r#"{"input":{"end":"wait"}}"#).expect(409);
    assert_eq!(
        refused.body,
        r#"{"error":"another process is training in `runs/a`","status":"failed"}"#
    );
    let seen = second.get("/trainings/a").expect(200).json();
    assert_eq!((&seen["status"], &seen["error"]), (&"processing".into(), &Value::Null), "{seen}");
    let list = second.get("/trainings").expect(200).json();
    assert_eq!(list["trainings"][0]["status"], "processing", "{list}");
    second.post("/trainings/a/cancel", "").expect(404);
    assert_eq!(second.post("/trainings", "{}").expect(200).json()["status"], "succeeded");
    first.post("/trainings/a/cancel", "").expect(200);
    let state = first.ended("a");
    assert_eq!(state["status"], "canceled");
    assert_eq!(second.get("/trainings/a").expect(200).json(), state);
}
