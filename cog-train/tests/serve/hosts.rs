//! Requests of web pages.

use crate::probe;
use crate::server::Server;

const FROM_ELSEWHERE: (&str, &str) = ("Origin", "https://evil.example");

#[test]
fn a_page_of_another_site_changes_and_reads_nothing() {
    let here = probe();
    let server = Server::ready(&here, &["serve", "--allow-host", "train.example"], &[]);
    server.put_async("/trainings/a", r#"{"input":{"mode":"wait"}}"#).expect(202);
    for (method, path) in [
        ("POST", "/trainings"),
        ("PUT", "/trainings/b"),
        ("POST", "/trainings/a/cancel"),
        ("POST", "/trainings/a/checkpoint"),
        ("POST", "/shutdown"),
        ("GET", "/trainings/a"),
        ("GET", "/trainings/a/events"),
        ("GET", "/ui"),
        ("OPTIONS", "/trainings"),
    ] {
        let answer = server.send(method, path, &[FROM_ELSEWHERE], "").expect(403).json();
        let error = answer["error"].as_str().unwrap();
        assert!(
            error.starts_with("a page of `https://evil.example` may not call this server"),
            "{error}"
        );
        let answer = server.send(method, path, &[("Origin", "null")], "");
        answer.expect(403);
    }
    server
        .send("POST", "/trainings/a/cancel", &[("Origin", "https://train.example")], "")
        .expect(200);
    assert_eq!(server.ended("a")["status"], "canceled");
    server.wait_for("READY");
    let own = format!("http://{}", server.address());
    server.send("POST", "/trainings/a/cancel", &[("Origin", &own)], "").expect(404);
    server.wait_for("READY");
}

#[test]
fn a_name_that_was_made_to_resolve_to_this_machine_is_refused() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let send = |host: &str, path: &str, more: &str| {
        let answer = server.raw(
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\nContent-Length: 0\r\n\r\n").as_bytes(),
        );
        answer.split(' ').nth(1).map(str::to_owned).unwrap_or(answer)
    };
    let cancel = "/trainings/a/cancel";
    assert_eq!(send("evil.example", cancel, "Origin: http://evil.example\r\n"), "403");
    assert_eq!(send("evil.example", "/ui/runs", ""), "403");
    assert_eq!(send("localhost:1", "/ui-not", ""), "404");
    // A page reads without an `Origin`.
    assert_eq!(send("evil.example", cancel, ""), "403");
    assert_eq!(send("127.0.0.1:1", cancel, ""), "404");
}
