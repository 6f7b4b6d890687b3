//! A training over HTTP, from its inputs to its output.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::probe;
use crate::server::Server;

const CANARY: &str = "canary-7f3a9c";

#[test]
fn a_training_answers_with_its_output_logs_and_metrics() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let body = r#"{"id":"one","input":{"epochs":2,"seed":7,"data":"data:text/plain;base64,aGVsbG8=","epoch":3}}"#;
    let answer = server.post("/trainings", body).expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let keys = ["id", "logs", "metrics", "output", "status"];
    let found = answer.json();
    let found: Vec<&String> = found.as_object().unwrap().keys().collect();
    assert_eq!(found, keys, "sorted, and no other");
    let answer = answer.json();
    assert_eq!(answer["id"], "one");
    assert_eq!(answer["status"], "succeeded");
    assert_eq!(answer["metrics"]["rows"], 7);
    assert!(answer["metrics"]["predict_time"].as_f64().unwrap() > 0.0);
    assert_eq!(answer["output"]["seed"], 7);
    assert_eq!(answer["output"]["bytes"], 5, "the file of the data URL");
    let logs = answer["logs"].as_str().unwrap();
    let lines: Vec<&str> = logs.lines().collect();
    assert_eq!(lines[0], "warning: no such input, and not used: `epoch`");
    assert!(
        lines[1].starts_with("train prints Inputs {"),
        "`println!` comes before the line of the job: {logs}"
    );
    assert_eq!(lines[2], "epochs 2 with adamw");
    let weights = answer["output"]["weights"].as_str().unwrap();
    let weights = weights.strip_prefix("data:application/octet-stream;base64,").unwrap();
    assert_eq!(
        BASE64_STANDARD.decode(weights).unwrap(),
        std::fs::read(here.path("runs/one/probe.safetensors")).unwrap()
    );
    let run: Value = serde_json::from_str(&here.read("runs/one/run.json")).unwrap();
    assert_eq!(run["status"], "succeeded");
    assert_eq!(run["inputs"]["epochs"], json!({"value": 2, "origin": "given"}));
    assert!(!here.read("runs/one/run.json").contains("base64,"), "no file is inside of the record");

    // The same training by the command line has the same bytes.
    here.file("hello.txt", "hello");
    here.run(&["-i", "epochs=2", "-i", "seed=7", "-i", "data=@hello.txt", "--run-dir", "cli"])
        .expect(0);
    let bytes = |name: &str| std::fs::read(here.path(name)).unwrap();
    assert_eq!(bytes("cli/probe.safetensors"), bytes("runs/one/probe.safetensors"));
    assert_eq!(here.read("cli/metrics.jsonl"), here.read("runs/one/metrics.jsonl"));
}

#[test]
fn setup_is_called_once_and_again_after_a_panic() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let logs = |answer: &Value| answer["logs"].as_str().unwrap().to_owned();
    let first = server.post("/trainings", "{}").expect(200).json();
    assert!(!logs(&first).contains("setup says hello"), "{first}");
    server.send("POST", "/trainings", &[], "").expect(200);
    let worker = server.worker();
    for (mode, expected) in [("panic", "set to panic with 3"), ("fail", "set to fail with 3")] {
        let answer = server.post("/trainings", &json!({"input": {"mode": mode}}).to_string());
        let answer = answer.expect(200).json();
        let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error", "id", "logs", "metrics", "status"]);
        assert_eq!(answer["status"], "failed");
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with("Prediction failed: Training failed: "), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(logs(&answer).contains("epochs 3 with adamw\n"), "{answer}");
        assert_eq!(logs(&answer).contains("setup says hello"), mode == "fail", "{answer}");
        assert_eq!(answer["metrics"]["rows"], 7);
        server.wait_for("READY");
    }
    let last = server.post("/trainings", "{}").expect(200).json();
    assert_eq!(last["status"], "succeeded");
    assert!(!logs(&last).contains("setup says hello"), "{last}");
    assert_eq!(server.worker(), worker, "a panic does not end the worker");
}

#[test]
fn a_training_in_progress_is_seen_and_finished_ones_are_given_back() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let wait = r#"{"input":{"mode":"wait","token":"t0ken"}}"#;
    let first = server.put_async("/trainings/a", wait).expect(202);
    assert_eq!(first.body, r#"{"id":"a","status":"starting"}"#);
    let state = server.poll(|| {
        let state =
            server.put_async("/trainings/a", r#"{"input":{"epochs":9}}"#).expect(202).json();
        // The log and the metrics as far as they are there, each on its way of its own.
        let is_waiting = state["logs"].as_str().unwrap().contains("waiting");
        if is_waiting && state["metrics"] == json!({"rows": 7}) {
            Ok(state)
        } else {
            Err(state.to_string())
        }
    });
    assert_eq!(state["status"], "processing");
    assert_eq!(state["input"]["mode"], "wait");
    assert_eq!(state["input"]["token"], "**********");
    assert_eq!(server.get("/trainings/a").expect(200).json(), state);
    assert_eq!(server.get("/trainings").expect(200).json()["trainings"][0]["status"], "processing");
    assert_eq!(server.get("/health-check").json()["status"], "BUSY");
    let busy = server.post("/trainings", "{}").expect(409);
    assert_eq!(
        busy.body,
        r#"{"error":"At capacity - all prediction slots busy","status":"failed"}"#
    );
    server.post("/trainings", r#"{"input":{"epochs":11}}"#).expect(422);
    server.post("/trainings", r#"{"id":"a"}"#).expect(409);
    server.post("/trainings/a/checkpoint", "").expect(202);
    server.poll(|| {
        let state = server.get("/trainings/a");
        if state.body.contains("saved on request") { Ok(()) } else { Err(state.body) }
    });
    assert_eq!(server.post("/trainings/a/cancel", "").expect(200).body, "{}");
    assert_eq!(server.ended("a")["status"], "canceled");
    server.wait_for("READY");
    assert_eq!(server.post("/trainings/a/cancel", "").expect(404).body, "{}");

    let input = r#"{"input":{"epochs":2,"seed":1}}"#;
    let done = server
        .send("PUT", "/trainings/b", &[("Content-Type", "application/json")], input)
        .expect(200);
    let again = server.put_async("/trainings/b", input).expect(200);
    assert_eq!(again.body, done.body, "it is not trained again");
    let posted = server.post("/trainings", r#"{"id":"b","input":{"epochs":2,"seed":1}}"#);
    assert_eq!(posted.expect(200).body, done.body, "nor by a POST of its id");
    let same = server
        .put_async("/trainings/b", r#"{"input":{"epochs":2.0,"seed":1,"optimizer":"adamw"}}"#);
    assert_eq!(same.expect(200).body, done.body, "defaults are inputs, and 2.0 is 2");
    let other =
        server.put_async("/trainings/b", r#"{"input":{"epochs":3,"seed":1}}"#).expect(409).json();
    assert_eq!(other["error"], "the training `b` has other inputs: choose another id for these");
    assert_eq!(server.get("/trainings/b").expect(200).body, done.body);
}

#[test]
fn local_files_are_inputs_only_where_the_server_allows_it() {
    let here = probe();
    let file = here.file("data.txt", "12345");
    let path = file.display().to_string();
    let inputs = [path.clone(), format!("file://{path}"), format!("FILE://{path}")];
    let server = Server::ready(&here, &["serve"], &[]);
    for input in &inputs {
        let body = json!({"input": {"data": input}}).to_string();
        let answer = server.post("/trainings", &body).expect(422).json();
        assert_eq!(answer["detail"][0]["loc"], json!(["body", "input", "data"]));
    }
    drop(server);
    let server = Server::ready(&here, &["serve", "--allow-local"], &[]);
    for input in &inputs[..2] {
        let body = json!({"input": {"data": input}}).to_string();
        assert_eq!(server.post("/trainings", &body).expect(200).json()["output"]["bytes"], 5);
    }
    let body = json!({"input": {"data": "gone.txt"}}).to_string();
    let answer = server.post("/trainings", &body).expect(200).json();
    let error = answer["error"].as_str().unwrap();
    assert!(
        error.starts_with("Input validation error: ") && error.contains("cannot read `gone.txt`"),
        "{error}"
    );
}

#[test]
fn no_secret_leaves_the_training() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let body = json!({"id": "s", "input": {"token": CANARY, "mode": "leak"}}).to_string();
    let answer = server.post("/trainings", &body).expect(200);
    assert_eq!(answer.json()["status"], "failed");
    assert!(answer.json()["logs"].as_str().unwrap().contains("the token is **********"));
    for text in [
        answer.body,
        server.get("/trainings/s").body,
        server.get("/openapi.json").body,
        server.log(),
    ] {
        assert!(!text.contains(CANARY), "{text}");
    }
    for (path, bytes) in here.tree() {
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

#[test]
fn events_are_replayed_after_the_last_one_that_a_client_has() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    server.put_async("/trainings/e", r#"{"input":{"mode":"wait"}}"#).expect(202);
    server.poll(|| {
        let state = server.get("/trainings/e");
        if state.body.contains("waiting") { Ok(()) } else { Err(state.body) }
    });
    let all = server.open("GET", "/trainings/e/events", &[], "");
    let later = server.open("GET", "/trainings/e/events", &[("Last-Event-ID", "1")], "");
    server.post("/trainings/e/cancel", "").expect(200);
    let (all, later) = (crate::server::read(all), crate::server::read(later));
    assert!(
        all.body
            .contains("event: start\ndata: {\"id\":\"e\",\"status\":\"processing\"}\nid: 1\n\n"),
        "{}",
        all.body
    );
    assert!(all.body.contains("event: log\n") && all.body.contains("waiting"), "{}", all.body);
    assert!(all.body.contains("event: completed\n"), "{}", all.body);
    assert!(!later.body.contains("id: 1\n") && later.body.contains("id: 2\n"), "{}", later.body);
    let ended = server.get("/trainings/e/events").expect(200);
    assert!(ended.body.contains("event: completed\ndata: {\"id\":\"e\""), "{}", ended.body);
}
