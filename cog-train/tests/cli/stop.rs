//! A cancelled run ends within a second, whatever it does: in its preparation, in a step, while it waits for data,
//! while it measures, while it downloads.

#![expect(clippy::print_stderr, reason = "what was measured, under `--nocapture`")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::{Outcome, Sandbox};

/// The second that is promised, and another for a machine that does ten other things. What is waited for takes a minute.
const MOST: Duration = Duration::from_secs(2);

/// Starts a run, sends it a signal once `reached` says so, and gives what it said and how long it
/// took to end.
fn stopped(
    here: &Sandbox,
    args: &[&str],
    signal: &str,
    reached: impl Fn() -> bool,
) -> (Outcome, Duration) {
    let mut child =
        here.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while !reached() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was there");
        assert!(begin.elapsed() < Duration::from_secs(40), "it never came to be there");
        std::thread::sleep(Duration::from_millis(2));
    }
    let start = Instant::now();
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let said = child.wait_with_output().unwrap();
    (said.into(), start.elapsed())
}

/// The same of the fixture `slow`, which is slow at `at`.
fn slow_at(at: &str, signal: &str, more: &[&str]) -> Sandbox {
    let here = Sandbox::new("slow");
    here.file("rows.jsonl", "1\n".repeat(3000));
    let input = format!("at={at}");
    let args = [&["--run-dir", "run", "-i", &input], more].concat();
    let (said, took) = stopped(&here, &args, signal, || here.path("run/reached").exists());
    let said = said.expect(130);
    eprintln!("{at}, {signal}: {} ms", took.as_millis());
    assert!(took < MOST, "{at}, {signal}: {took:?}");
    assert!(said.err.contains("error: cancelled\n"), "{at}: {}", said.err);
    let run: Value = serde_json::from_str(&here.read("run/run.json")).unwrap();
    assert_eq!(run["status"], "canceled", "{at}");
    here
}

#[test]
fn in_its_preparation() {
    for signal in ["-TERM", "-INT"] {
        for (at, more) in [
            ("open", &["-i", "data=rows.jsonl"][..]),
            ("count", &[]),
            ("digest", &[]),
            ("lengths", &[]),
        ] {
            let here = slow_at(at, signal, more);
            assert!(!here.path("run/checkpoints").exists(), "{at}: there is nothing to save yet");
        }
    }
}

#[test]
fn while_it_waits_for_a_batch_and_in_a_step_and_the_steps_before_are_saved() {
    for signal in ["-TERM", "-INT"] {
        for at in ["item", "collate", "step"] {
            let here = slow_at(at, signal, &[]);
            assert!(here.path("run/checkpoints/step-000003/manifest.json").exists(), "{at}");
        }
    }
}

#[test]
fn while_it_measures() {
    for signal in ["-TERM", "-INT"] {
        for at in ["evaluate", "eval"] {
            let here = slow_at(at, signal, &[]);
            assert!(here.path("run/checkpoints/step-000000/manifest.json").exists(), "{at}");
        }
    }
}

/// A batch that no step asks for is waited for by nobody.
#[test]
fn a_run_that_is_over_waits_for_no_batch() {
    let here = Sandbox::new("slow");
    let start = Instant::now();
    here.run(&["--run-dir", "run", "-i", "at=ahead"]).expect(0);
    assert!(here.path("run/ended").exists());
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

/// A book of 60 MB is read, cut into tokens and counted, which takes far longer than this test waits.
#[test]
fn while_an_example_prepares_its_data() {
    let here = Sandbox::new("text_finetune");
    here.file(
        "book.txt",
        "Anna went to the market and bought a red apple for her brother.\n".repeat(940_000),
    );
    here.file("rows.jsonl", "{\"text\": \"Anna went to the market.\"}\n".repeat(1_000_000));
    for (file, signal) in [("book.txt", "-TERM"), ("rows.jsonl", "-INT")] {
        // Its log is opened when the author's code is called.
        let dir = here.path(&format!("run-{file}"));
        let called = std::cell::Cell::new(None);
        let reached = || {
            if called.get().is_none() && dir.join("log.txt").exists() {
                called.set(Some(Instant::now()));
            }
            called.get().is_some_and(|at: Instant| at.elapsed() > Duration::from_millis(700))
        };
        let data = format!("train_data={file}");
        let args = ["--run-dir", dir.to_str().unwrap(), "-i", &data];
        let (said, took) = stopped(&here, &args, signal, reached);
        eprintln!("{file}, {signal}: {} ms", took.as_millis());
        let said = said.expect(130);
        assert!(took < MOST, "{file}: {took:?}");
        assert!(!said.err.contains(" to train on"), "it was still at it: {}", said.err);
    }
}

/// A server that promises more than it sends.
#[test]
fn while_it_downloads() {
    for signal in ["-TERM", "-INT"] {
        let here = Sandbox::new("slow");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let data = format!("data=http://{}/rows.jsonl", listener.local_addr().unwrap());
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = std::sync::Arc::clone(&sent);
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            assert!(stream.read(&mut asked).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n1\n").unwrap();
            stream.flush().unwrap();
            flag.store(true, std::sync::atomic::Ordering::SeqCst);
            // Until the other side goes.
            while stream.read(&mut asked).is_ok_and(|count| count > 0) {}
        });
        let sent = || sent.load(std::sync::atomic::Ordering::SeqCst);
        let (said, took) = stopped(&here, &["--run-dir", "run", "-i", &data], signal, sent);
        eprintln!("download, {signal}: {} ms", took.as_millis());
        let said = said.expect(130);
        assert!(took < MOST, "{signal}: {took:?}");
        assert!(said.err.contains("error: cancelled\n"), "{}", said.err);
        server.join().unwrap();
    }
}
