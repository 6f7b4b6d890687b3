//! HTTP as it is on the wire: heads and bodies that are too large, in pieces, or contradict themselves.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::probe;
use crate::server::{PATIENCE, Server};

const HEAD: &str = "POST /trainings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";

#[track_caller]
fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("not an answer: {answer:?}"))
}

#[test]
fn a_head_over_its_limits_is_refused() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let head = |lines: String| {
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n")
    };
    let many = |count| (0..count).fold(String::new(), |head, at| format!("{head}X-{at}: a\r\n"));
    for (sent, expected) in [
        (head(many(80)), 200),
        (head(many(200)), 431),
        (head(format!("X: {}\r\n", "a".repeat(30_000))), 200),
        (head(format!("X: {}\r\n", "a".repeat(1 << 20))), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(70_000)), 431),
        (head("X : a\r\n".to_owned()), 400),
        (head("X: a\0b\r\n".to_owned()), 400),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), 400),
        ("\0\0\0\r\n\r\n".to_owned(), 400),
        ("GET  / HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        let answer = server.raw(sent.as_bytes());
        let shown = &sent[..sent.len().min(80)];
        // A client that is still sending may not get to read its answer.
        let is_refused = answer.is_empty() || [414, 431].contains(&status(&answer));
        let is_right = if expected == 431 { is_refused } else { status(&answer) == expected };
        assert!(is_right, "{shown:?}: {answer}");
    }
    // HTTP/2 is not spoken.
    let answer = server.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    assert_eq!(server.get("/health-check").expect(200).json()["status"], "READY");
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let began = Instant::now();
    let mut stream = server.connect();
    let length = (100 << 20) + 1;
    stream
        .write_all(
            format!("{HEAD}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(
        answer.ends_with("Failed to buffer the request body: length limit exceeded"),
        "{answer}"
    );
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    // Without an announced length.
    let mut stream = server.connect();
    stream.write_all(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = [b"100000\r\n", &vec![b' '; 1 << 20][..], b"\r\n"].concat();
    let sent = (0..200).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 200, "the server takes more than its limit");
}

#[test]
fn a_client_that_waits_for_leave_to_send_its_body_gets_it() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let mut stream = server.connect();
    let body = r#"{"input":{"epochs":1}}"#;
    let length = body.len();
    stream
        .write_all(
            format!("{HEAD}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        )
        .unwrap();
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("succeeded"), "{answer}");
}

#[test]
fn a_body_has_one_length() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
    for (sent, expected) in [
        (format!("{chunked}4\r\n{{\"in\r\n9\r\nput\":{{}}}} \r\n0\r\n\r\n"), 200),
        (format!("{chunked}1;a=b\r\n{{\r\n1\r\n}}\r\n0\r\nX-After: 1\r\n\r\n"), 200),
        (format!("{chunked}zz\r\n{{}}\r\n0\r\n\r\n"), 400),
        (format!("{chunked}ffffffffffffffffff\r\n{{}}"), 400),
        (format!("{HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}} "), 400),
        (format!("{HEAD}Content-Length: -1\r\n\r\n{{}}"), 400),
        (format!("{HEAD}Content-Length: 0x2\r\n\r\n{{}}"), 400),
        (format!("{HEAD}Transfer-Encoding: gzip\r\n\r\n{{}}"), 400),
    ] {
        let answer = server.raw(sent.as_bytes());
        assert_eq!(status(&answer), expected, "{sent:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{sent:?}: {answer}");
    }
    // A body that its client breaks off has no answer, and is no body.
    let mut stream = server.connect();
    stream.write_all(format!("{chunked}2\r\n{{}}\r\n4\r\n{{}}").as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    // Both: what follows the chunks is not a second request.
    let smuggled = "GET /shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let both = format!(
        "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
        5 + smuggled.len()
    );
    let answer = server.raw(both.as_bytes());
    assert!(answer.matches("HTTP/1.1 ").count() <= 1 || !answer.contains(" 200 "), "{answer}");
    server.wait_for("READY");
}

#[test]
fn slow_clients_do_not_keep_others_from_the_server() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let mut slow: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for (at, stream) in slow.iter_mut().enumerate() {
        let part = if at % 2 == 0 { &HEAD[..30] } else { HEAD };
        stream.write_all(part.as_bytes()).unwrap();
        if at % 2 == 1 {
            stream.write_all(b"Content-Length: 1000\r\n\r\n{").unwrap();
        }
    }
    let began = Instant::now();
    assert_eq!(server.post("/trainings", "{}").expect(200).json()["status"], "succeeded");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}
