//! Trainings that end their worker's process.

use serde_json::json;

use crate::faulty;
use crate::hooks::Hooks;
use crate::server::Server;

/// An end of a worker.
struct Death {
    name: &'static str,
    /// A part of the error of its training.
    cause: &'static str,
    /// A part of its log.
    last_line: &'static str,
}

const DEATHS: [Death; 6] = [
    Death { name: "abort", cause: ABORTED, last_line: "the last line" },
    Death { name: "panic_twice", cause: ABORTED, last_line: "a second panic" },
    Death { name: "memory", cause: ABORTED, last_line: "memory allocation of " },
    Death { name: "stack_overflow", cause: ABORTED, last_line: "has overflowed its stack" },
    Death {
        name: "kill",
        cause: "the worker process was killed by signal 9 (SIGKILL): the machine may have run out of memory",
        last_line: "the last line",
    },
    Death {
        name: "exit",
        cause: "the worker process ended with exit code 3",
        last_line: "the last line",
    },
];

const ABORTED: &str = "the worker process aborted by signal 6 (SIGABRT)";

#[test]
fn a_dead_workers_training_has_its_cause_and_the_next_one_has_a_worker() {
    let here = faulty();
    let hooks = Hooks::listen(0);
    let server = Server::ready(&here, &["serve"], &[]);
    for Death { name: end, cause, last_line } in DEATHS {
        let worker = server.worker();
        let body = json!({"input": {"end": end}, "webhook": hooks.url}).to_string();
        server.put_async(&format!("/trainings/{end}"), &body).expect(202);
        let state = server.ended(end);
        assert_eq!(state["status"], "failed", "{state}");
        let error = state["error"].as_str().unwrap();
        assert!(error.contains(cause), "{error}");
        assert!(
            error.ends_with("\nhint: PUT of this id resumes the training from its last checkpoint"),
            "{error}"
        );
        let logs = state["logs"].as_str().unwrap();
        assert!(
            logs.starts_with("training\n")
                && logs.contains("\nthe last line\n")
                && logs.contains(last_line),
            "{state}"
        );
        assert_eq!(hooks.last().body["error"], error);
        server.wait_for("READY");
        assert_ne!(server.worker(), worker);
    }
    // A panic ends its training alone.
    let worker = server.worker();
    let panicked = server.post("/trainings", r#"{"input":{"end":"panic"}}"#).expect(200).json();
    assert!(panicked["error"].as_str().unwrap().contains("set to panic"), "{panicked}");
    assert_eq!(server.worker(), worker);
    let last = server.post("/trainings", "{}").expect(200).json();
    assert_eq!(last["status"], "succeeded", "{last}");
}

#[test]
fn a_synchronous_client_is_told_of_the_death() {
    let here = faulty();
    let server = Server::ready(&here, &["serve"], &[]);
    let answer = server.post("/trainings", r#"{"id":"s","input":{"end":"abort"}}"#).expect(200);
    let state = answer.json();
    assert_eq!(state["status"], "failed");
    assert!(state["error"].as_str().unwrap().contains("SIGABRT"), "{state}");
    assert_eq!(server.get("/trainings/s").expect(200).body, answer.body);
}
