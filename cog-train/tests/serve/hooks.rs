//! A receiver of webhooks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::server::PATIENCE;

/// A receiver of webhooks on this machine. It answers 500 to the first ones if it is to.
pub(crate) struct Hooks {
    pub(crate) url: String,
    received: Receiver<Hook>,
}

/// A webhook.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Hooks {
    pub(crate) fn listen(mut failures: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, received) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(hook) = receive(&stream) else { continue };
                let status = if failures > 0 { "500 Broken" } else { "200 OK" };
                failures = failures.saturating_sub(1);
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                drop((&stream).write_all(answer.as_bytes()));
                if sender.send(hook).is_err() {
                    return;
                }
            }
        });
        Self { url, received }
    }

    /// Waits for the next webhook.
    #[track_caller]
    pub(crate) fn next(&self) -> Hook {
        self.received.recv_timeout(PATIENCE).expect("a webhook")
    }

    /// Waits for the webhook of the end.
    #[track_caller]
    pub(crate) fn last(&self) -> Hook {
        loop {
            let hook = self.next();
            if hook.body["status"] != "processing" {
                return hook;
            }
        }
    }
}

fn receive(stream: &TcpStream) -> Option<Hook> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .to_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Hook { head, body: serde_json::from_slice(&body).ok()? })
}
