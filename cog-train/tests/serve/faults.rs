//! Workers and servers that die.

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::hooks::Hooks;
use crate::probe;
use crate::sandbox::Sandbox;
use crate::server::Server;

const INPUT: &str = r#"{"input":{"mode":"resume","epochs":5,"seed":3}}"#;

#[test]
fn a_killed_worker_fails_its_training_with_a_cause_and_is_replaced() {
    let here = probe();
    let hooks = Hooks::listen(0);
    let server = Server::ready(&here, &["serve"], &[]);
    for round in 0..3 {
        let id = format!("k{round}");
        let body = json!({"input": {"mode": "wait"}, "webhook": hooks.url}).to_string();
        server.put_async(&format!("/trainings/{id}"), &body).expect(202);
        server.poll(|| {
            let state = server.get(&format!("/trainings/{id}"));
            if state.body.contains("waiting") { Ok(()) } else { Err(state.body) }
        });
        let worker = server.worker();
        kill(worker, Signal::SIGKILL).unwrap();
        let state = server.ended(&id);
        assert_eq!(state["status"], "failed");
        let error = state["error"].as_str().unwrap();
        assert!(error.contains("the worker process was killed by signal 9 (SIGKILL)"), "{error}");
        assert!(state["logs"].as_str().unwrap().ends_with("waiting\n"), "{state}");
        assert_eq!(hooks.last().body["error"], error);
        server.wait_for("READY");
        assert_ne!(server.worker(), worker);
    }
    assert_eq!(server.post("/trainings", "{}").expect(200).json()["status"], "succeeded");
}

#[test]
fn an_idle_worker_that_dies_is_replaced() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let worker = server.worker();
    kill(worker, Signal::SIGKILL).unwrap();
    server.poll(|| {
        let answer = server.post("/trainings", "{}");
        if answer.status == 200 && answer.json()["status"] == "succeeded" {
            Ok(())
        } else {
            Err(answer.body)
        }
    });
    assert_ne!(server.worker(), worker);
}

/// Kills a server when its training `d` waits, and waits until the worker has seen it, saved its state and ended.
fn die_while_training_d(server: Server, here: &Sandbox) {
    server.poll(|| {
        let state = server.get("/trainings/d");
        if state.body.contains("waiting") { Ok(()) } else { Err(state.body) }
    });
    server.signal(Signal::SIGKILL);
    server.poll(|| {
        let record = here.read("runs/d/run.json");
        if record.contains("\"canceled\"") { Ok(()) } else { Err(record) }
    });
    drop(server);
}

#[test]
fn a_training_that_died_with_its_server_is_resumed_by_a_put_of_its_id() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[("PROBE_WAIT_AT", "3")]);
    server.put_async("/trainings/d", INPUT).expect(202);
    die_while_training_d(server, &here);
    assert_eq!(here.read("runs/d/checkpoints/step"), "3");

    let server = Server::ready(&here, &["serve"], &[]);
    let state = server.get("/trainings/d").expect(200).json();
    assert_eq!(state["status"], "canceled", "as its worker has recorded: {state}");
    assert!(state["error"].as_str().unwrap().contains("PUT of this id resumes it"), "{state}");
    assert_eq!(server.get("/trainings").expect(200).json()["trainings"][0]["status"], "canceled");
    server.put_async("/trainings/d", INPUT).expect(202);
    let ended = server.ended("d");
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert!(ended["logs"].as_str().unwrap().contains("from step 3\n"), "{ended}");
}

#[test]
fn a_training_that_died_with_its_server_is_resumed_with_its_own_inputs_alone() {
    let here = probe();
    let data = here.file("data.txt", "12345").display().to_string();
    let input = |epochs: u32, token: Option<&str>| {
        let mut input =
            json!({"mode": "resume", "epochs": epochs, "seed": 3, "more": [data.as_str()]});
        if let Some(token) = token {
            input["token"] = token.into();
        }
        json!({"input": input}).to_string()
    };
    let own = input(5, Some("t0p"));
    let serve = ["serve", "--allow-local"];
    let server = Server::ready(&here, &serve, &[("PROBE_WAIT_AT", "3")]);
    server.put_async("/trainings/d", &own).expect(202);
    die_while_training_d(server, &here);

    let server = Server::ready(&here, &serve, &[]);
    let other = server.put_async("/trainings/d", &input(6, Some("t0p"))).expect(409).json();
    assert_eq!(
        other["error"],
        "the training `d` has other inputs: choose another id for these\n  `epochs`: 5 before, 6 now\n\
         hint: a PUT of the inputs that it began with resumes it"
    );
    // A secret must be given again, and the content of a file is compared when it is read.
    let refused = |body: &str, reason: &str| {
        server.put_async("/trainings/d", body).expect(202);
        let state = server.ended("d");
        assert_eq!(state["status"], "failed");
        let error = state["error"].as_str().unwrap();
        assert!(
            error.starts_with("Input validation error: ") && error.ends_with(reason),
            "{error}"
        );
    };
    refused(
        &input(5, None),
        "`token`: it was given to the run, and secrets are not kept\n  hint: give it again in `input`",
    );
    here.file("data.txt", "123456");
    refused(
        &own,
        "now\nhint: a PUT of the inputs that it began with resumes it; another id starts over",
    );
    here.file("data.txt", "12345");
    server.put_async("/trainings/d", &own).expect(202);
    let ended = server.ended("d");
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert!(ended["logs"].as_str().unwrap().contains("from step 3\n"), "{ended}");
}
