//! A server in a folder of its own, and a client that speaks HTTP/1.1 by hand.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::sandbox::Sandbox;

/// The most time that anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A server in a sandbox.
pub(crate) struct Server {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Server {
    /// Starts the sandbox's program with these arguments on a free port of this machine, and waits until it listens.
    pub(crate) fn start(here: &Sandbox, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = here.command(arguments);
        command.args(["--host", "127.0.0.1"]).env("PORT", "0");
        command.env_remove("COG_TRAIN_TOKEN").env_remove("RUST_LOG").env_remove("LOG_FORMAT");
        command.envs(variables.iter().copied());
        Self::spawn(command)
    }

    /// Starts a program that says where it listens, by a command that ends in the program's.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, address) = channel();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let found = line.split_once("listening on ");
                if let Some((_, rest)) = found.or_else(|| line.split_once("are shown at http://")) {
                    let end = rest.find(|c: char| c != ':' && c != '.' && !c.is_ascii_digit());
                    drop(sender.send(rest[..end.unwrap_or(rest.len())].to_owned()));
                }
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            drop(child.kill());
            panic!("the server does not listen:\n{}", log.lock().unwrap());
        };
        Self { child, address, log }
    }

    /// Starts a server and waits until it is READY.
    pub(crate) fn ready(here: &Sandbox, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let server = Self::start(here, arguments, variables);
        server.wait_for("READY");
        server
    }

    /// Waits until the health check has this status, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, status: &str) -> Value {
        self.poll(|| {
            let health = self.get("/health-check").expect(200).json();
            if health["status"] == status { Ok(health) } else { Err(health.to_string()) }
        })
    }

    /// Repeats `attempt` until it succeeds.
    #[track_caller]
    pub(crate) fn poll<T>(&self, attempt: impl Fn() -> Result<T, String>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            match attempt() {
                Ok(found) => return found,
                Err(last) if Instant::now() > end => panic!("{last}\n{}", self.log()),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Everything that the server has printed.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Sends a JSON body.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("Content-Type", "application/json")], body)
    }

    /// Sends a JSON body, for an answer before the end.
    pub(crate) fn put_async(&self, path: &str, body: &str) -> Answer {
        let headers = [("Content-Type", "application/json"), ("Prefer", "respond-async")];
        self.send("PUT", path, &headers, body)
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        read(self.open(method, path, headers, body))
    }

    /// Sends a request and does not read its answer.
    pub(crate) fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut stream = self.connect();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a string takes everything");
        }
        let length = body.len();
        stream
            .write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes())
            .unwrap();
        stream
    }

    /// Waits until the training has ended, and returns its state.
    #[track_caller]
    pub(crate) fn ended(&self, id: &str) -> Value {
        self.poll(|| {
            let state = self.get(&format!("/trainings/{id}"));
            let status = || Some(state.json()["status"].as_str()?.to_owned());
            match (state.status, (state.status == 200).then(status).flatten().as_deref()) {
                (200, Some("succeeded" | "failed" | "canceled")) => Ok(state.json()),
                _ => Err(format!("{state:?}")),
            }
        })
    }

    /// The process of the worker.
    #[track_caller]
    pub(crate) fn worker(&self) -> Pid {
        self.poll(|| self.children().first().copied().ok_or_else(|| "no worker".to_owned()))
    }

    /// Sends bytes as they are, and reads until the server ends the connection.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may end the connection before it has read everything.
        drop(stream.write_all(bytes));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The address and the port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Waits until the log of a training holds a text.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, id: &str, text: &str) {
        self.poll(|| {
            let state = self.get(&format!("/trainings/{id}"));
            if state.body.contains(text) { Ok(()) } else { Err(state.body) }
        });
    }

    pub(crate) fn children(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|it| it.parse::<i32>().ok()) else {
                continue;
            };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let is_child = status.lines().any(|line| line == format!("PPid:\t{}", self.child.id()));
            if is_child && !status.contains("State:\tZ") {
                found.push(Pid::from_raw(id));
            }
        }
        found
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not end:\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in self.children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads an answer to its end.
pub(crate) fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("not an answer: {text:?}"));
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
