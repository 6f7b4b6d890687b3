//! Status codes and bodies, as Cog 0.23.1 was seen to answer. The texts of 400, 415 and 422 were taken from
//! `python -m cog.server.http` of the package `cog==0.23.1`.

use serde_json::{Value, json};

use crate::probe;
use crate::server::Server;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Bodies that are not a request, with the answers' texts after the parts that they have in common.
const MALFORMED: [(&str, u16, &str); 10] = [
    ("null", 422, "invalid type: null, expected struct PredictionRequest at line 1 column 4"),
    (
        "[]",
        422,
        "invalid length 0, expected struct PredictionRequest with 5 elements at line 1 column 2",
    ),
    ("[1]", 422, "[0]: invalid type: integer `1`, expected a string at line 1 column 2"),
    (r#"{"id":1}"#, 422, "id: invalid type: integer `1`, expected a string at line 1 column 7"),
    (
        r#"{"webhook_events_filter":["x"]}"#,
        422,
        "webhook_events_filter[0]: unknown variant `x`, expected one of `start`, `output`, `logs`, `completed` at line 1 column 29",
    ),
    (
        r#"{"context":{"a":1}}"#,
        422,
        "context.a: invalid type: integer `1`, expected a string at line 1 column 17",
    ),
    ("", 400, "EOF while parsing a value at line 1 column 0"),
    (r#"{"a":NaN}"#, 400, "a: expected value at line 1 column 6"),
    (r#"{"input":{"epochs":1e999}}"#, 400, "input.epochs: number out of range at line 1 column 24"),
    (r#"{"input":{},}"#, 400, "trailing comma at line 1 column 13"),
];

/// Requests whose inputs are wrong, with the answers' bodies.
const WRONG_INPUTS: [(&str, &str); 3] = [
    (
        r#"{"input":[1]}"#,
        r#"{"detail":[{"loc":["body","input","__root__"],"msg":"********** is not of type \"object\"","type":"value_error"}]}"#,
    ),
    (
        r#"{"input":{"epochs":"3","optimizer":"zz","more":["a",1]}}"#,
        concat!(
            r#"{"detail":[{"loc":["body","input","epochs"],"msg":"\"3\" is not of type \"integer\"","type":"value_error"},"#,
            r#"{"loc":["body","input","more/1"],"msg":"1 is not of type \"string\"","type":"value_error"},"#,
            r#"{"loc":["body","input","optimizer"],"msg":"\"zz\" is not one of [\"adamw\",\"sgd\"]","type":"value_error"}]}"#
        ),
    ),
    (
        r#"{"input":{"epochs":11}}"#,
        r#"{"detail":[{"loc":["body","input","epochs"],"msg":"11 is greater than the maximum of 10","type":"value_error"}]}"#,
    ),
];

/// One server for all requests that it refuses.
#[test]
fn refusals_are_cogs_to_the_byte() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let trainings = "/trainings";
    for (sent, status, reason) in MALFORMED {
        let what = match status {
            400 => "Failed to parse the request body as JSON",
            _ => "Failed to deserialize the JSON body into the target type",
        };
        let answer = server.send("POST", trainings, &[JSON], sent);
        assert_eq!((answer.status, answer.body), (status, format!("{what}: {reason}")), "{sent}");
    }
    for (sent, body) in WRONG_INPUTS {
        let answer = server.send("POST", trainings, &[JSON], sent).expect(422);
        assert_eq!(answer.body, body, "{sent}");
    }
    let no_json =
        server.send("POST", trainings, &[("Content-Type", "text/plain")], "{}").expect(415);
    assert_eq!(no_json.body, "Expected request with `Content-Type: application/json`");
    let streamed =
        server.send("POST", trainings, &[JSON, ("Accept", "text/event-stream")], "{}").expect(406);
    assert_eq!(
        streamed.body,
        r#"{"error":"Training endpoints do not support streaming responses."}"#
    );
    let other = server.send("PUT", "/trainings/a", &[JSON], r#"{"id":"b"}"#).expect(422);
    assert_eq!(
        other.body,
        r#"{"detail":[{"loc":["body","id"],"msg":"training ID must match the ID supplied in the URL","type":"value_error"}]}"#
    );
    for (method, path, status, body) in [
        ("POST", "/trainings/nobody/cancel", 404, "{}"),
        ("GET", "/trainings/nobody", 404, "{}"),
        ("GET", "/trainings/nobody/events", 404, "{}"),
        ("POST", "/trainings/nobody/checkpoint", 404, "{}"),
        ("DELETE", "/trainings", 405, ""),
        ("POST", "/trainings/a", 405, ""),
        ("PUT", "/health-check", 405, ""),
        ("GET", "/shutdown", 405, ""),
        ("GET", "/docs", 404, ""),
        ("GET", "/trainings/a/b/c", 404, ""),
    ] {
        let answer = server.send(method, path, &[], "");
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{method} {path}");
    }
    let predicts = server.post("/predictions", "{}").expect(404).json();
    assert!(predicts["error"].as_str().unwrap().contains("`serve --mode predict`"), "{predicts}");
    assert!(here.names().iter().all(|name| name != "runs"), "{:?}", here.names());
}

#[test]
fn the_server_describes_itself_as_cog_does() {
    let here = probe();
    let server = Server::ready(&here, &["-m", "cog.server.http", "--x-mode", "train"], &[]);
    assert_eq!(
        server.get("/").expect(200).body,
        concat!(
            r#"{"cog_version":"0.23.1","docs_url":"/docs","healthcheck_url":"/health-check","openapi_url":"/openapi.json","#,
            r#""predictions_cancel_url":"/predictions/{prediction_id}/cancel","predictions_idempotent_url":"/predictions/{prediction_id}","#,
            r#""predictions_url":"/predictions","shutdown_url":"/shutdown","trainings_cancel_url":"/trainings/{training_id}/cancel","#,
            r#""trainings_idempotent_url":"/trainings/{training_id}","trainings_url":"/trainings"}"#
        )
    );
    let health = server.get("/health-check").expect(200);
    assert!(
        health.body.starts_with(r#"{"status":"READY","setup":{"started_at":"2"#),
        "{}",
        health.body
    );
    assert_eq!(health.header("content-type"), Some("application/json"));
    let health = health.json();
    assert_eq!(health["setup"]["status"], "succeeded");
    assert_eq!(health["version"]["coglet"], "0.23.1");
    assert!(health["setup"]["completed_at"].is_string());
    let logs = health["setup"]["logs"].as_str().unwrap();
    assert!(logs.contains("[coglet::setup] setup says hello on Cpu\n"), "{logs}");

    let document = server.get("/openapi.json").expect(200);
    let printed: Value = here.run(&["schema"]).expect(0).json();
    assert_eq!(document.json(), printed);
    assert!(document.body.starts_with(r#"{"components":{"schemas":{"#), "keys are sorted");
}

#[test]
fn an_id_is_never_a_path() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let long = "x".repeat(129);
    for id in ["", ".", "..", "../x", "/tmp/x", "a/b", "a.b", "ä", long.as_str()] {
        let answer = server.post("/trainings", &json!({"id": id}).to_string()).expect(422).json();
        assert_eq!(answer["detail"][0]["loc"], json!(["body", "id"]), "{id:?}");
        let path = format!("/trainings/{}", id.replace('/', "%2F").replace('ä', "%C3%A4"));
        for method in ["PUT", "GET"] {
            let answer = server.send(method, &path, &[JSON], "{}");
            assert!((400..500).contains(&answer.status), "{method} {id:?}: {answer:?}");
        }
    }
    assert!(here.names().iter().all(|name| name != "runs"), "{:?}", here.names());
}

#[test]
fn every_route_wants_the_token() {
    let here = probe();
    let server = Server::start(&here, &["serve"], &[("COG_TRAIN_TOKEN", "s3cret")]);
    for path in ["/", "/health-check", "/openapi.json", "/trainings", "/nowhere"] {
        for given in [&[][..], &[("Authorization", "Bearer s3cre")], &[("Authorization", "s3cret")]]
        {
            let answer = server.send("GET", path, given, "").expect(401);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    server.send("GET", "/health-check", &[("Authorization", "Bearer s3cret")], "").expect(200);
    assert!(!server.log().contains("s3cret"));
}

#[test]
fn the_arguments_are_cogs() {
    let here = probe();
    let said = here.run(&["-m", "cog.server.http", "--version"]).expect(0);
    assert_eq!(said.out, "coglet (Rust) 0.23.1\n");
    here.run(&["-m", "cog.server.http", "--x-mode", "dance"]).expect(2);
    here.run(&["-m", "somewhere.else"]).expect(2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = here.run(&["serve", "--host", "127.0.0.1", "--port", &port]).expect(1);
    assert!(
        said.err.contains(&format!("cannot listen on `127.0.0.1:{port}`: address already in use")),
        "{}",
        said.err
    );
    let said = here.run(&["serve-worker"]).expect(1);
    assert!(said.err.contains("this command is for the server that starts it"), "{}", said.err);
    let server = Server::ready(
        &here,
        &[
            "--check-hash-based-pycs",
            "never",
            "-m",
            "cog.server.http",
            "--await-explicit-shutdown",
            "true",
            "--threads",
            "4",
        ],
        &[],
    );
    // Without `--x-mode` Cog predicts.
    let answer = server.post("/predictions", r#"{"input":{"prompt":"hi"}}"#).expect(200).json();
    assert_eq!(answer["output"], json!({"text": "hi", "first": null}));
    assert_eq!(answer["logs"], "predicting\n");
    assert!(server.post("/trainings", "{}").expect(404).json()["error"].is_string());
}
