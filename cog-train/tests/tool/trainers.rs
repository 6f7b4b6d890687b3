//! The trainers of the tool are the examples.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use crate::tool;

#[test]
fn each_trainer_has_help_a_schema_and_a_valid_cog_yaml() {
    let here = tool();
    for name in ["sft", "classify", "embed", "dpo"] {
        let said = here.run(&[name, "--help"]).expect(0).out;
        assert!(said.contains(&format!("Usage: cog-train {name} [OPTIONS]")), "{said}");
        for input in ["  base_model=", "  train_data="] {
            assert!(said.contains(input), "{name} has no {input}: {said}");
        }
        let said = here.run(&[name, "check"]).expect(0);
        assert_eq!(said.out, "cog.yaml is valid\n");
        assert!(here.run(&[name, "schema"]).expect(0).json()["paths"]["/trainings"].is_object());
        let said = here.run(&[name, "dockerfile"]).expect(2).err;
        assert!(said.contains("hint: `cog-train new NAME` writes one"), "{said}");
    }
}

/// A default within the repository is of no use outside it.
#[test]
fn inputs_whose_default_is_in_the_repository_are_required() {
    let here = tool();
    for name in ["classify", "embed"] {
        let said = here.run(&[name]).expect(2).err;
        assert_eq!(
            said,
            "error: 2 inputs are not valid\n  `base_model`: Field required\n  `train_data`: Field required\n"
        );
    }
    here.run(&["sft", "--dry-run"]).expect(0);
    here.run(&["dpo", "--dry-run"]).expect(0);
}

/// The server starts its own program as a worker, by the trainer's name.
#[test]
fn a_trainer_is_served() {
    let here = tool();
    let mut server = here
        .command(&["sft", "serve", "--host", "127.0.0.1", "--port", "0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| {
            let (_, rest) = line.split_once("127.0.0.1:")?;
            Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        })
        .expect("the server names its address");
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{address}")).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let began = std::time::Instant::now();
    let health = loop {
        let health = ask("GET /health-check");
        if !health.contains("STARTING") || began.elapsed().as_secs() > 60 {
            break health;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(health.contains("\"READY\""), "{health}");
    ask("POST /shutdown");
    assert!(server.wait().unwrap().success());
}
