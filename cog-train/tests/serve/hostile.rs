//! Requests of any form against a server whose trainings are quick: no broken answer, and no file beside those of trainings.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::faulty;
use crate::server::Server;

const CASES: u32 = 400;

/// Names that want to leave their folder, and others.
fn names() -> impl Strategy<Value = String> {
    let odd = [
        "a",
        "b-1",
        "..",
        ".",
        "../x",
        "..%2f..%2fx",
        "%2e%2e",
        "%00",
        "%ff",
        "a/b",
        "a%2Fb",
        "",
        "~",
        "*",
        "C:%5Cx",
        "/etc/passwd",
        "\\x",
        "%C3%A4",
        "runs",
        "{id}",
        "a?b=c",
        "a;b",
        "a%",
        "+",
        "a%0d%0aX:1",
    ];
    prop_oneof![
        4 => prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
        1 => "[ -~]{0,20}",
        1 => "[a-z0-9_-]{1,140}",
    ]
}

fn paths() -> impl Strategy<Value = String> {
    let folder = prop::sample::select(vec![
        "/",
        "/health-check",
        "/openapi.json",
        "/trainings",
        "/predictions",
        "/ui",
        "/docs",
        "//trainings",
        "http://localhost/trainings",
    ]);
    let tail = prop::sample::select(vec![
        "",
        "/cancel",
        "/checkpoint",
        "/events",
        "/",
        "/../..",
        "?x=1",
        "#x",
    ]);
    let any = (folder, prop::option::of(names()), tail).prop_map(|(folder, name, tail)| {
        name.map_or_else(|| format!("{folder}{tail}"), |name| format!("{folder}/{name}{tail}"))
    });
    let right = prop_oneof![Just("/trainings".to_owned()), "/trainings/[a-z]{1,3}"];
    prop_oneof![2 => any, 1 => right]
}

/// JSON of a few levels.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "succeed",
            "fail",
            "panic",
            "../x",
            "/etc/passwd",
            "file:///etc/passwd",
            "http://127.0.0.1:1/",
            "http://[::1]/x",
            "data:,x",
            "data:;base64,!",
            "data:text/plain;base64,aGk=",
            "\u{0}",
            "\u{1b}[2J",
            "ä\u{202e}",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,4}", inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

fn bodies() -> impl Strategy<Value = String> {
    let names = ["end", "bytes", "sparse", "seconds", "text", "data", "unknown", "__root__", "a/b"];
    let input = prop::collection::vec((prop::sample::select(names.to_vec()), values()), 0..4)
        .prop_map(|fields| {
            Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            )
        });
    let valid = (any::<bool>(), 0..2000_i64, "[ -~]{0,20}", any::<bool>()).prop_map(
        |(fails, bytes, text, has_data)| {
            let data = has_data.then_some("data:text/plain;base64,aGk=");
            let mut input = json!({"end": if fails { "fail" } else { "succeed" }, "bytes": bytes, "text": text});
            input.as_object_mut().unwrap().extend(data.map(|data| ("data".to_owned(), json!(data))));
            input
        },
    );
    let known = (
        prop_oneof![4 => valid, 3 => input, 1 => values()],
        prop::option::of(names_of_bodies()),
        prop::option::weighted(0.1, values()),
    )
        .prop_map(|(input, id, other)| {
            let mut body = json!({"input": input});
            if let Some(id) = id {
                body["id"] = id;
            }
            if let Some(other) = other {
                body["webhook_events_filter"] = other.clone();
                body["context"] = other;
            }
            body.to_string()
        });
    prop_oneof![
        6 => known,
        1 => values().prop_map(|value| value.to_string()),
        1 => ".{0,30}",
        1 => (0..500_usize).prop_map(|depth| "[".repeat(depth)),
    ]
}

fn names_of_bodies() -> impl Strategy<Value = Value> {
    prop_oneof![names().prop_map(Value::from), values()]
}

fn heads() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "Content-Type: application/json",
        "Content-Type: text/plain",
        "Content-Type: application/json; charset=utf-8",
        "Content-Type: multipart/form-data",
        "Prefer: respond-async",
        "Accept: text/event-stream",
        "Accept: */*;q=\u{e4}",
        "Last-Event-ID: -1",
        "Last-Event-ID: 18446744073709551615",
        "Authorization: Bearer x",
        "Origin: http://a",
        "Host: b",
        "traceparent: x",
        "Range: bytes=0-",
        "If-None-Match: *",
        "Cookie: a=b",
        "X-HTTP-Method-Override: DELETE",
    ]);
    let line = prop_oneof![5 => known.prop_map(str::to_owned), 1 => "[A-Za-z-]{1,8}: [ -~]{0,20}"];
    prop::collection::vec(line, 0..4)
        .prop_map(|lines| lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect())
}

fn requests() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec![
        "POST", "PUT", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE",
        "CONNECT", "get", "P\u{e4}",
    ]);
    (method, paths(), heads(), bodies(), prop::bool::weighted(0.8)).prop_map(|(method, path, head, body, is_json)| {
        let kind = if is_json { "Content-Type: application/json\r\n" } else { "" };
        let length = body.len();
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}{kind}Content-Length: {length}\r\n\r\n{body}")
    })
}

#[test]
fn no_request_breaks_the_server_or_leaves_its_folder() {
    let here = faulty();
    here.file("work/.keep", "");
    let mut command = here.command(&["serve", "--host", "127.0.0.1"]);
    command.env("PORT", "0").env("FAULTY_TAME", "1").current_dir(here.path("work"));
    let server = Server::spawn(command);
    server.wait_for("READY");
    let worker = server.worker();
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 64,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let law = |request: String| {
        let answer = server.raw(request.as_bytes());
        let status: Option<u16> = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        // A training before this one may not have ended; a method of no known form has no answer.
        let fine = status.is_some_and(|status| (200..500).contains(&status));
        prop_assert!(fine, "{request:?}\n{answer}");
        Ok(())
    };
    runner.run(&requests(), law).unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
    server.wait_for("READY");
    assert_eq!(server.worker(), worker, "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let mut entries: Vec<String> = here.names();
    entries.sort();
    assert_eq!(entries, ["work"], "nothing is beside the server's folder");
    let runs = std::fs::read_dir(here.path("work/runs")).unwrap();
    let runs: Vec<_> = runs.collect();
    assert!(!runs.is_empty(), "some requests are trainings");
    let is_plain =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    for run in runs {
        let name = run.unwrap().file_name().into_string().unwrap();
        assert!(is_plain(&name) && name.len() <= 128, "{name}");
    }
}
