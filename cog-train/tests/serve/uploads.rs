//! Output files that go to `--upload-url`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::probe;
use crate::server::{PATIENCE, Server};

struct Upload {
    head: String,
    body: Vec<u8>,
}

/// A receiver that answers with these status lines and headers, one after the other, and then with the last.
fn receiver(answers: &'static [&'static str]) -> (String, Receiver<Upload>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/bucket?", listener.local_addr().unwrap());
    let (sender, uploads) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.iter().chain(std::iter::repeat(answers.last().unwrap()));
        for stream in listener.incoming().map_while(Result::ok) {
            let Some(upload) = receive(&stream) else { continue };
            let answer = answers.next().unwrap();
            let text =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            drop((&stream).write_all(text.as_bytes()));
            if sender.send(upload).is_err() {
                return;
            }
        }
    });
    (url.trim_end_matches('?').to_owned(), uploads)
}

fn receive(stream: &TcpStream) -> Option<Upload> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect("a length, which signed addresses want")];
    reader.read_exact(&mut body).ok()?;
    Some(Upload { head, body })
}

#[test]
fn files_of_an_object_are_uploaded_and_recorded_by_their_address() {
    let here = probe();
    let (url, uploads) =
        receiver(&["503 Busy", "201 Created\r\nLocation: https://files.example/w?sig=s3cret"]);
    let server = Server::ready(&here, &["serve", "--upload-url", &url], &[]);
    let answer = server.post("/trainings", r#"{"id":"u","input":{"seed":1}}"#).expect(200).json();
    assert_eq!(answer["output"]["weights"], "https://files.example/w", "{answer}");
    assert_eq!(answer["output"]["seed"], 1);
    for _ in 0..2 {
        let upload = uploads.recv_timeout(PATIENCE).unwrap();
        assert!(
            upload.head.starts_with("put /bucket/probe.safetensors http/1.1\r\n"),
            "{}",
            upload.head
        );
        assert!(
            upload.head.contains("content-type: application/octet-stream\r\n"),
            "{}",
            upload.head
        );
        assert!(upload.head.contains("x-prediction-id: u\r\n"), "{}", upload.head);
        assert_eq!(upload.body, std::fs::read(here.path("runs/u/probe.safetensors")).unwrap());
    }
    let run: Value = serde_json::from_str(&here.read("runs/u/run.json")).unwrap();
    assert_eq!(run["output"]["weights"], "https://files.example/w");
}

#[test]
fn an_upload_that_is_refused_fails_the_training_and_keeps_its_files() {
    let here = probe();
    let (url, _uploads) = receiver(&["403 Forbidden"]);
    let server = Server::ready(&here, &["serve", "--upload-url", &url], &[]);
    let answer = server.post("/trainings", r#"{"id":"u","input":{"seed":1}}"#).expect(200).json();
    assert_eq!(answer["status"], "failed");
    let error = answer["error"].as_str().unwrap();
    assert_eq!(
        error,
        format!(
            "Failed to upload output: output `probe.safetensors`: cannot be uploaded to `{url}/probe.safetensors`: the server answered 403 Forbidden"
        )
    );
    assert!(here.path("runs/u/probe.safetensors").is_file());
    drop(server);
    // Its id is free for another attempt.
    let server = Server::ready(&here, &["serve"], &[]);
    let body = json!({"input": {"seed": 1}}).to_string();
    server.put_async("/trainings/u", &body).expect(202);
    let answer = server.ended("u");
    assert_eq!(answer["status"], "succeeded", "{answer}");
}

#[test]
fn a_folder_is_sent_as_an_archive_that_holds_its_files() {
    let here = probe();
    let (url, uploads) = receiver(&["201 Created"]);
    let variables = [("PROBE_FOLDER", "1")];
    let body = r#"{"id":"f","input":{"seed":1}}"#;
    let server = Server::ready(&here, &["serve", "--upload-url", &url], &variables);
    let answer = server.post("/trainings", body).expect(200).json();
    assert_eq!(answer["output"]["weights"], format!("{url}/model.tar"), "{answer}");
    let upload = uploads.recv_timeout(PATIENCE).unwrap();
    assert!(upload.head.contains("content-type: application/x-tar\r\n"), "{}", upload.head);
    let mut archive = tar::Archive::new(upload.body.as_slice());
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if entry.header().entry_type().is_file() {
            assert_eq!(content, std::fs::read(here.path(&format!("runs/f/model/{name}"))).unwrap());
            files.push(name);
        }
    }
    assert_eq!(files, ["1_Pooling/config.json", "probe.safetensors"]);
    drop(server);
    let server = Server::ready(&here, &["serve"], &variables);
    let answer = server.post("/trainings", r#"{"id":"g","input":{"seed":1}}"#).expect(200).json();
    let inline = answer["output"]["weights"].as_str().unwrap();
    assert!(inline.starts_with("data:application/x-tar;base64,"), "{inline}");
    let mut left = std::fs::read_dir(here.path("runs/g")).unwrap();
    assert!(
        left.all(|entry| !entry.unwrap().file_name().display().to_string().contains("archive"))
    );
}

#[test]
fn a_file_that_was_not_written_fails_the_training() {
    let here = probe();
    let server = Server::ready(&here, &["serve"], &[]);
    let answer =
        server.post("/trainings", r#"{"input":{"mode":"missing_file"}}"#).expect(200).json();
    assert_eq!(answer["status"], "failed");
    let error = answer["error"].as_str().unwrap();
    let expected = "Prediction failed: Failed to process output: output `never-written.safetensors`: the file ";
    assert!(error.starts_with(expected), "{error}");
}
