//! The health check, and a setup that takes too long.

use crate::faulty;
use crate::server::Server;

#[test]
fn a_healthcheck_that_fails_is_unhealthy_until_it_succeeds() {
    let here = faulty();
    let server = Server::ready(&here, &["serve"], &[]);
    here.file("sick", "");
    let health = server.wait_for("UNHEALTHY");
    let error = health["user_healthcheck_error"].as_str().unwrap();
    assert!(error.contains("there is a file `sick`"), "{error}");
    assert_eq!(health["setup"]["status"], "succeeded");
    std::fs::remove_file(here.path("sick")).unwrap();
    let health = server.wait_for("READY");
    assert!(health.get("user_healthcheck_error").is_none(), "{health}");

    // A training in progress is not asked.
    here.file("sick", "");
    server.wait_for("UNHEALTHY");
    server.put_async("/trainings/a", r#"{"input":{"end":"wait"}}"#).expect(202);
    server.wait_for("BUSY");
    server.post("/trainings/a/cancel", "").expect(200);
    assert_eq!(server.ended("a")["status"], "canceled");
    server.wait_for("UNHEALTHY");
}

#[test]
fn a_setup_over_its_time_fails_and_the_server_stays_up() {
    let here = faulty();
    let variables = [("COG_SETUP_TIMEOUT", "1"), ("FAULTY_SETUP_SECONDS", "600")];
    let server = Server::start(&here, &["serve"], &variables);
    let starting = server.get("/health-check").expect(200).json();
    if starting["status"] == "STARTING" {
        assert_eq!(starting["setup"]["status"], "starting");
        server.post("/trainings", "{}").expect(503);
    }
    let health = server.wait_for("SETUP_FAILED");
    assert_eq!(health["setup"]["status"], "failed");
    let logs = health["setup"]["logs"].as_str().unwrap();
    assert!(logs.contains("worker setup timed out: it took more than 1 seconds"), "{logs}");
    server.post("/trainings", "{}").expect(503);
    server.poll(|| {
        let children = server.children();
        if children.is_empty() { Ok(()) } else { Err(format!("{children:?}")) }
    });
    server.wait_for("SETUP_FAILED");
}

#[test]
fn the_log_says_nothing_of_a_schema_in_a_file() {
    let here = faulty();
    let server = Server::ready(&here, &["serve"], &[("RUST_LOG", "trace")]);
    let health = server.wait_for("READY");
    assert!(server.log().contains("Worker starting setup"), "{}", server.log());
    for text in [server.log(), health.to_string()] {
        assert!(!text.contains("schema file"), "{text}");
    }
}
