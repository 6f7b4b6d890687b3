//! Setup, cancellation, and the end of the server.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::hooks::Hooks;
use crate::probe;
use crate::sandbox::Sandbox;
use crate::server::Server;

/// Starts a training that waits at its third step, and waits until it is there.
fn at_step_three(server: &Server, id: &str, webhook: &str) {
    let body = json!({"input": {"mode": "resume", "epochs": 5, "seed": 3}, "webhook": webhook});
    server.put_async(&format!("/trainings/{id}"), &body.to_string()).expect(202);
    server.poll(|| {
        let state = server.get(&format!("/trainings/{id}"));
        if state.body.contains("waiting") { Ok(()) } else { Err(state.body) }
    });
}

const INPUT: &str = r#"{"input":{"mode":"resume","epochs":5,"seed":3}}"#;

#[test]
fn a_cancelled_training_is_resumed_by_a_put_of_its_id() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[("PROBE_WAIT_AT", "3")]);
    at_step_three(&server, "r", "http://127.0.0.1:9/");
    server.post("/trainings/r/cancel", "").expect(200);
    assert_eq!(server.ended("r")["status"], "canceled");
    assert_eq!(here.read("runs/r/checkpoints/step"), "3");
    server.wait_for("READY");
    let changed =
        server.put_async("/trainings/r", r#"{"input":{"mode":"resume","epochs":6,"seed":3}}"#);
    changed.expect(409);
    let answer = server.send("PUT", "/trainings/r", &[("Content-Type", "application/json")], INPUT);
    let answer = answer.expect(200).json();
    assert_eq!(answer["status"], "succeeded", "{answer}");
    let logs = answer["logs"].as_str().unwrap();
    assert!(logs.contains("from step 3\n") && !logs.contains("step 2\n"), "{logs}");
}

#[test]
fn a_cancellation_reaches_a_training_between_two_micro_batches_and_leaves_a_checkpoint() {
    let here = Sandbox::new("slow");
    let server = Server::ready(&here, &["serve"], &[]);
    // Its fourth step has 3000 micro-batches of 20 ms.
    server.put_async("/trainings/c", r#"{"input":{"at":"step"}}"#).expect(202);
    server.poll(|| if here.path("runs/c/reached").exists() { Ok(()) } else { Err(server.log()) });
    let began = Instant::now();
    server.post("/trainings/c/cancel", "").expect(200);
    assert_eq!(server.ended("c")["status"], "canceled");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let checkpoints = std::fs::read_dir(here.path("runs/c/checkpoints")).unwrap();
    let names: Vec<_> = checkpoints.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().contains('3')), "{names:?}");
}

#[test]
fn the_client_of_a_synchronous_request_cancels_by_going_away() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let body = r#"{"id":"w","input":{"mode":"wait"}}"#;
    let stream = server.open("POST", "/trainings", &[("Content-Type", "application/json")], body);
    server.wait_for("BUSY");
    drop(stream);
    assert_eq!(server.ended("w")["status"], "canceled");
    server.wait_for("READY");
}

#[test]
fn a_setup_that_fails_leaves_the_server_up() {
    let here = probe();
    for (variable, expected) in [
        ("PROBE_SETUP_FAILS", "setup was set to fail"),
        ("PROBE_SETUP_EXITS", "the worker process ended"),
    ] {
        let server = Server::start(&here, &["serve"], &[(variable, "1")]);
        let health = server.wait_for("SETUP_FAILED");
        assert_eq!(health["setup"]["status"], "failed");
        let logs = health["setup"]["logs"].as_str().unwrap();
        assert!(logs.contains(expected), "{logs}");
        let refused = server.post("/trainings", r#"{"input":{"epochs":99}}"#).expect(503);
        assert_eq!(
            refused.body,
            r#"{"error":"Setup has not finished yet. Wait until it has finished, or GET /health-check for status.","status":"failed"}"#
        );
        server.get("/openapi.json").expect(503);
        assert!(server.get("/").expect(200).json()["trainings_url"].is_null());
    }
}

#[test]
fn sigterm_saves_the_training_and_sends_its_webhook() {
    let here = probe();
    let hooks = Hooks::listen(0);
    let mut server = Server::ready(&here, &["serve"], &[("PROBE_WAIT_AT", "3")]);
    at_step_three(&server, "t", &hooks.url);
    let began = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let hook = hooks.last();
    assert_eq!(hook.body["status"], "canceled", "{hook:?}");
    assert!(hook.body["logs"].as_str().unwrap().contains("step 3\n"));
    assert_eq!(here.read("runs/t/checkpoints/step"), "3");
    drop(server);

    let server = Server::ready(&here, &["serve"], &[]);
    server.put_async("/trainings/t", INPUT).expect(202);
    let ended = server.ended("t");
    assert!(ended["logs"].as_str().unwrap().contains("from step 3\n"), "{ended}");
}

#[test]
fn a_training_that_does_not_stop_is_given_up_within_the_grace_period() {
    let here = probe();
    let hooks = Hooks::listen(0);
    let mut server = Server::ready(&here, &["serve", "--grace", "3"], &[]);
    let body = json!({"id": "d", "input": {"mode": "deaf"}, "webhook": hooks.url}).to_string();
    let headers = [("Content-Type", "application/json"), ("Prefer", "respond-async, wait=1")];
    server.send("POST", "/trainings", &headers, &body).expect(202);
    server.poll(|| {
        let state = server.get("/trainings/d");
        if state.body.contains("waiting") { Ok(()) } else { Err(state.body) }
    });
    let worker = server.worker();
    let began = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let hook = hooks.last();
    assert_eq!(hook.body["status"], "failed");
    let error = hook.body["error"].as_str().unwrap();
    assert!(error.contains("did not save its state within 3 seconds"), "{error}");
    let gone = || nix::sys::signal::kill(worker, None).is_err();
    let end = Instant::now() + Duration::from_secs(10);
    while !gone() {
        assert!(Instant::now() < end, "the worker outlives its server");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_awaits_an_explicit_shutdown_ignores_sigterm() {
    let here = probe();
    let mut server = Server::ready(&here, &["serve", "--await-explicit-shutdown", "true"], &[]);
    server.signal(Signal::SIGTERM);
    server.poll(|| {
        if server.log().contains("SIGTERM is ignored") { Ok(()) } else { Err(server.log()) }
    });
    server.wait_for("READY");
    assert_eq!(server.post("/shutdown", "").expect(200).body, "{}");
    assert_eq!(server.end().code(), Some(0));
}
