//! The transcripts of `docs/http-api.md`: each request is sent, and the answer is what stands there.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::hooks::Hooks;
use crate::pattern;
use crate::sandbox::Sandbox;
use crate::server::{Answer, PATIENCE, Server};

/// The address in the document that stands for the receiver of webhooks.
const HOOK: &str = "https://example.com/hook";

/// A part of the document.
enum Step {
    Exchange(Exchange),
    /// The bodies of webhooks.
    Webhooks(Vec<String>),
}

/// A request and its answer.
#[derive(Default)]
struct Exchange {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    status: u16,
    answer: String,
}

impl Exchange {
    fn read(block: &str) -> Self {
        let mut found = Self::default();
        let (sent, received): (Vec<&str>, Vec<&str>) =
            block.lines().partition(|line| line.starts_with('>'));
        let mut sent = sent.iter().map(|line| line.trim_start_matches('>').trim());
        let first = sent.next().unwrap();
        let (method, path) = first.split_once(' ').unwrap();
        (found.method, found.path) = (method.to_owned(), path.to_owned());
        for line in sent.by_ref().take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            found.headers.push((name.to_owned(), value.to_owned()));
        }
        found.body = sent.collect::<Vec<_>>().join("\n");
        let is_typed = found.headers.iter().any(|(name, _)| name == "Content-Type");
        if !found.body.is_empty() && !is_typed {
            found.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        found.status = received[0].parse().unwrap();
        found.answer = received[1..].join("\n");
        found
    }

    fn send(&self, server: &Server, hook: &str) -> Answer {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        server.send(&self.method, &self.path, &headers, &self.body.replace(HOOK, hook))
    }

    fn is_answered_by(&self, answer: &Answer) -> bool {
        answer.status == self.status && fits(&self.answer, text(answer).trim_end())
    }

    /// Sends the request until the answer is the document's: one that reads may come too early, and so may one that needs a
    /// free slot.
    fn check(&self, server: &Server, hook: &str) {
        let end = Instant::now() + PATIENCE;
        let answer = loop {
            let answer = self.send(server, hook);
            let is_early = self.method == "GET" || (answer.status == 409 && self.status != 409);
            if self.is_answered_by(&answer) || !is_early || Instant::now() > end {
                break answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(
            self.is_answered_by(&answer),
            "{} {} {}\n--- the document\n{}\n{}\n--- the server\n{}\n{}",
            self.method,
            self.path,
            self.body,
            self.status,
            self.answer,
            answer.status,
            text(&answer)
        );
    }
}

/// The body of an answer, without the lengths of its chunks.
fn text(answer: &Answer) -> String {
    if answer.header("transfer-encoding") != Some("chunked") {
        return answer.body.clone();
    }
    let (mut rest, mut found) = (answer.body.as_str(), String::new());
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        found.push_str(&behind[..length]);
        rest = &behind[length + 2..];
    }
    found
}

/// Whether a text fits one in which `[..]` stands for any text, and a line `...` at its end for any lines.
fn fits(expected: &str, found: &str) -> bool {
    let expected =
        expected.strip_suffix("\n...").map_or(expected.to_owned(), |it| format!("{it}[..]"));
    pattern::fits(&expected, found)
}

fn document() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("docs/http-api.md")).unwrap()
}

/// The blocks of a language.
fn blocks<'a>(section: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    section.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// The steps of a section, in their order.
fn steps(section: &str) -> Vec<Step> {
    let exchanges = blocks(section, "http").into_iter();
    let mut steps: Vec<Step> =
        exchanges.map(|block| Step::Exchange(Exchange::read(block))).collect();
    for block in blocks(section, "webhook") {
        steps.push(Step::Webhooks(block.lines().map(str::to_owned).collect()));
    }
    steps
}

fn check_webhooks(expected: &[String], hooks: &Hooks) {
    // Two may arrive in another order than they were sent in.
    let mut found: Vec<String> = expected
        .iter()
        .map(|_| {
            let mut body = hooks.next().body;
            body.sort_all_objects();
            body.to_string()
        })
        .collect();
    found.sort_by_key(|body| !body.contains("\"processing\""));
    for (expected, found) in expected.iter().zip(&found) {
        assert!(fits(expected, found), "--- the document\n{expected}\n--- the server\n{found}");
    }
}

fn counter() -> Sandbox {
    Sandbox::new("conform")
}

#[test]
fn the_documents_transcripts_are_true() {
    let document = document();
    let here = counter();
    let hooks = Hooks::listen(0);
    let server = Server::ready(&here, &["serve"], &[("CONFORM", "counter")]);
    let mut count = 0;
    for section in document.split("\n## ").filter(|it| !it.starts_with("Authorization\n")) {
        for step in steps(section) {
            count += 1;
            match step {
                Step::Exchange(exchange) => exchange.check(&server, &hooks.url),
                Step::Webhooks(expected) => check_webhooks(&expected, &hooks),
            }
        }
    }
    assert!(count > 25, "{count} steps");
}

#[test]
fn the_documents_transcripts_about_the_token_are_true() {
    let document = document();
    let here = counter();
    let variables = [("CONFORM", "counter"), ("COG_TRAIN_TOKEN", "s3cret")];
    let server = Server::start(&here, &["serve"], &variables);
    let section = document.split("\n## ").find(|it| it.starts_with("Authorization\n")).unwrap();
    let steps = steps(section);
    assert_eq!(steps.len(), 2);
    for step in steps {
        let Step::Exchange(exchange) = step else { panic!("a webhook") };
        exchange.check(&server, "");
    }
}

#[test]
fn the_documents_trainer_is_the_one_that_answers() {
    let code = include_str!("../fixtures/conform/counter.rs");
    assert_eq!(blocks(&document(), "rust"), [code.trim_end()]);
}

#[test]
fn transcripts_that_differ_are_seen() {
    for (expected, found, fit) in [
        ("{}", "{}", true),
        ("{}", "{ }", false),
        ("{\"id\":\"pred_[..]\",\"a\":1}", "{\"id\":\"pred_12\",\"a\":1}", true),
        ("{\"id\":\"pred_[..]\",\"a\":1}", "{\"id\":\"pred_12\",\"a\":2}", false),
        ("a\n...", "a\nb\nc", true),
        ("a[..]b[..]c", "a-b-", false),
    ] {
        assert_eq!(fits(expected, found), fit, "{expected} ~ {found}");
    }
}
