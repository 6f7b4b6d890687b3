//! The end of a training, which every route gives alike.

use std::io::{BufRead, BufReader};

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::faulty;
use crate::hooks::Hooks;
use crate::server::Server;

/// Reads the data of the event `completed`, once `seen` was called at its first line.
fn completed(stream: std::net::TcpStream, seen: impl FnOnce()) -> Value {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.find(|line| line == "event: completed").expect("the training ends");
    seen();
    let data = lines.next().expect("an event has data");
    serde_json::from_str(data.strip_prefix("data: ").expect("a line of data")).unwrap()
}

#[test]
fn every_route_gives_one_end() {
    let here = faulty();
    let hooks = Hooks::listen(0);
    let server = Server::ready(&here, &["serve"], &[]);
    for (end, status) in [("succeed", "succeeded"), ("fail", "failed"), ("abort", "failed")] {
        let path = format!("/trainings/{end}");
        let input = json!({"end": end, "seconds": 0.5, "bytes": 1000});
        let body = json!({"input": input, "webhook": hooks.url}).to_string();
        server.put_async(&path, &body).expect(202);
        let events = server.open("GET", &format!("{path}/events"), &[], "");
        let kept = here.path(&format!("runs/{end}/answer.json"));
        let event = completed(events, || {
            assert!(kept.exists(), "the end of `{end}` is seen before it is kept");
            let list = server.get("/trainings").expect(200).json();
            assert_eq!(list["trainings"][0]["status"], status, "{list}");
        });
        assert_eq!(event["status"], status, "{event}");
        assert_eq!(server.get(&path).expect(200).json(), event);
        assert_eq!(hooks.last().body, event);
        if status == "succeeded" {
            assert_eq!(server.put_async(&path, &body).expect(200).json(), event);
        }
        let later = server.open("GET", &format!("{path}/events"), &[], "");
        assert_eq!(completed(later, || {}), event);
        server.wait_for("READY");
    }
}

#[test]
fn the_end_before_a_training_was_resumed_is_not_its_end() {
    let here = faulty();
    let wait = r#"{"input":{"end":"wait"}}"#;
    let server = Server::ready(&here, &["serve"], &[]);
    server.put_async("/trainings/a", wait).expect(202);
    server.wait_for_log("a", "training");
    server.post("/trainings/a/cancel", "").expect(200);
    let first = server.ended("a");
    server.put_async("/trainings/a", wait).expect(202);
    server.wait_for_log("a", "training");
    let other = Server::ready(&here, &["serve"], &[]);
    let seen = other.get("/trainings/a").expect(200).json();
    assert_eq!(seen["status"], "processing", "{seen}");
    // Nobody keeps an answer of the second attempt, whose worker saves its state.
    let worker = server.worker();
    server.signal(Signal::SIGKILL);
    other.poll(|| match kill(worker, None) {
        Ok(()) => Err("the worker outlives its server".to_owned()),
        Err(_) => Ok(()),
    });
    let seen = other.get("/trainings/a").expect(200).json();
    assert_ne!(seen, first);
    let list = other.get("/trainings").expect(200).json();
    assert_eq!(list["trainings"][0]["status"], seen["status"], "{list}");
    let error = seen["error"].as_str().unwrap();
    assert!(error.ends_with("\nhint: a PUT of this id resumes it"), "{seen}");
}

#[test]
fn a_run_of_the_command_line_has_the_status_of_its_record() {
    let here = faulty();
    here.run(&["--run-dir", "runs/c"]).expect(0);
    let server = Server::ready(&here, &["serve"], &[]);
    let state = server.get("/trainings/c").expect(200).json();
    assert_eq!(state["status"], "succeeded", "{state}");
    assert_eq!(state["error"], "its answer was not kept\nhint: a PUT of this id gives it");
    assert_eq!(state["metrics"]["length"], 0, "{state}");
    let list = server.get("/trainings").expect(200).json();
    assert_eq!(list["trainings"][0]["status"], "succeeded", "{list}");
    let again = server.send("PUT", "/trainings/c", &[], "").expect(200).json();
    assert_eq!(again["output"]["length"], 0, "{again}");
    assert_eq!(server.get("/trainings/c").expect(200).json(), again);
}
