//! The page for people: its routes, its headers, and what a run's texts may do in them.

#![expect(clippy::float_cmp, reason = "extremes are points of the curve")]

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use crate::server::{Answer, Server};

/// Text that is markup to whoever takes it for some.
const MARKUP: &str = "<img src=x onerror=alert(1)></script><script>alert(2)</script>";

fn sandbox() -> Sandbox {
    Sandbox::new("page")
}

/// Starts the page for the runs on disk.
fn shown(here: &Sandbox, folder: &str) -> Server {
    Server::spawn(here.command(&["ui", folder, "--port", "0"]))
}

#[track_caller]
fn is_guarded(answer: &Answer) {
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'"), "{answer:?}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

/// Returns an array's numbers.
fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
}

#[test]
fn a_run_is_listed_and_read_while_it_trains_and_after_it() {
    let here = sandbox();
    let server = Server::ready(&here, &["serve"], &[]);
    assert_eq!(server.get("/ui/runs").expect(200).json()["runs"], json!([]));
    let body =
        json!({"input": {"steps": 100_000, "pause": 5, "token": "hunter22", "prompt": MARKUP}});
    server.put_async("/trainings/one", &body.to_string()).expect(202);
    let metrics =
        |query: &str| server.get(&format!("/ui/runs/one/metrics?{query}")).expect(200).json();
    let first = server.poll(|| {
        let answer = server.get("/ui/runs/one/metrics?width=4");
        let is_there = answer.status == 200 && answer.json()["last"].as_f64() >= Some(20.0);
        if is_there { Ok(answer.json()) } else { Err(answer.body) }
    });
    let loss = &first["series"]["loss"];
    assert!(loss["x"].as_array().unwrap().len() <= 8, "{loss}");
    assert_eq!(first["restarted"], false);

    let list = server.get("/ui/runs").expect(200).json();
    assert_eq!(list["server"], true);
    let run = &list["runs"][0];
    assert_eq!(
        (&run["id"], &run["status"], &run["live"]),
        (&"one".into(), &"running".into(), &true.into())
    );
    assert_eq!(run["inputs"]["token"], "**********");
    assert!(run["loss"].as_f64().is_some() && run["step"].as_f64() >= Some(20.0), "{run}");

    server.post("/trainings/one/cancel", "").expect(200);
    server.ended("one");
    // The points after the first answer are those that it lacks.
    let rest = metrics(&format!("width=4000&after={}", first["cursor"].as_str().unwrap()));
    let all = metrics("width=100000");
    let count = |answer: &Value| answer["series"]["loss"]["count"].as_u64().unwrap();
    assert_eq!(count(&first) + count(&rest), count(&all));
    let end = metrics(&format!("after={}", all["cursor"].as_str().unwrap()));
    assert_eq!((&end["lines"], &end["series"]), (&0.into(), &json!({})));

    let whole = server.get("/ui/runs/one").expect(200).json();
    assert_eq!((&whole["status"], &whole["live"]), (&"canceled".into(), &false.into()));
    assert_eq!(whole["record"]["inputs"]["prompt"], json!({"value": MARKUP, "origin": "given"}));
    assert_eq!(whole["record"]["inputs"]["learning_rate"]["origin"], "default");
    let clock = server.get("/ui/runs/one/clock").expect(200).json();
    assert_eq!(numbers(&clock["step"]).last().copied(), all["last"].as_f64());
    assert!(numbers(&clock["time"]).is_sorted());

    let samples = server.get("/ui/runs/one/samples").expect(200).json();
    let samples = samples["samples"].as_array().unwrap();
    assert_eq!(samples[0], json!({"step": 0, "name": "secret", "text": "the token is **********"}));
    assert_eq!(samples[1]["text"], format!("{MARKUP} after 10 steps"));
    let file = samples[2]["image"].as_str().unwrap();
    let stored = fs::read(here.path(&format!("runs/one/samples/{file}"))).unwrap();
    assert!(stored.starts_with(b"\x89PNG"));
}

#[test]
fn what_a_client_names_never_becomes_a_path() {
    let here = sandbox();
    for name in ["runs/a/run.json", "run.json", "runs/a/samples/secret.png", "outside/run.json"] {
        here.file(name, r#"{"status":"succeeded"}"#);
    }
    let server = shown(&here, "runs");
    server.get("/ui/runs/a").expect(200);
    for id in [
        "..",
        "%2e%2e",
        "..%2foutside",
        "%2e%2e%2foutside",
        "a%2f..%2f..%2foutside",
        "a%2f",
        "a%2f.",
        "%2fetc",
        "a%00",
        "a%5c..",
        ".",
        "none",
        "..%5coutside",
    ] {
        for rest in ["", "/metrics", "/log", "/clock", "/samples", "/samples/run.json"] {
            let answer = server.get(&format!("/ui/runs/{id}{rest}"));
            assert_eq!(answer.status, 404, "{id}{rest}: {answer:?}");
            assert!(!answer.body.contains("succeeded"), "{id}{rest}: {answer:?}");
        }
    }
    let digest = "0".repeat(32);
    for file in [
        "..%2frun.json".to_owned(),
        "run.json".to_owned(),
        "secret.png".to_owned(),
        format!("{digest}.svg"),
        format!("{digest}.png%2f..%2fsecret.png"),
        format!("{digest}.png"),
    ] {
        server.get(&format!("/ui/runs/a/samples/{file}")).expect(404);
    }
    for query in ["width=a", "from=-", "until=-1", "to=%00"] {
        let answer = server.get(&format!("/ui/runs/a/metrics?{query}")).expect(400);
        assert!(answer.json()["error"].as_str().unwrap().contains("is not a number"), "{answer:?}");
    }
    server.send("POST", "/ui/runs", &[], "").expect(405);
    server.send("POST", "/trainings/a/cancel", &[], "").expect(404);
}

#[test]
fn the_page_lets_nothing_run_but_itself_and_texts_of_runs_are_data() {
    let here = sandbox();
    let record = json!({"status": "failed", "trainer": MARKUP, "error": MARKUP, "inputs": {MARKUP: {"value": MARKUP, "origin": "given"}}});
    // A folder's name takes everything but a slash.
    let id = MARKUP.replace('/', "|");
    here.file(&format!("runs/{id}/run.json"), record.to_string());
    here.file(&format!("runs/{id}/log.txt"), format!("{MARKUP}\n"));
    here.file(&format!("runs/{id}/metrics.jsonl"), format!("{}\n", json!({"step": 1, MARKUP: 2})));
    let server = shown(&here, "runs");
    let page = server.get("/ui").expect(200);
    is_guarded(&page);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert_eq!(policy.matches("'sha256-").count(), 2, "one script and one style: {policy}");
    assert!(
        policy.contains("frame-ancestors 'none'") && policy.contains("connect-src 'self'"),
        "{policy}"
    );
    for outside in [
        "http://",
        "https://",
        "//cdn",
        "@import",
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ] {
        let found = page.body.replace("http://www.w3.org/2000/svg", "").contains(outside);
        assert!(!found, "the page has `{outside}` in it");
    }
    let path: Vec<String> = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = path.concat();
    for rest in ["", "/metrics", "/log", "/samples", "/clock"] {
        let answer = server.get(&format!("/ui/runs/{path}{rest}")).expect(200);
        is_guarded(&answer);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(server.get("/ui/runs").json()["runs"][0]["id"], id);
    assert_eq!(server.get(&format!("/ui/runs/{path}/log")).json()["text"], format!("{MARKUP}\n"));
    is_guarded(&server.get("/ui/runs/%3cimg%3e").expect(404));
}

#[test]
fn the_page_needs_no_token_and_its_data_does() {
    let here = sandbox();
    let server = Server::start(&here, &["serve"], &[("COG_TRAIN_TOKEN", "s3cret")]);
    server.get("/ui").expect(200);
    for path in ["/ui/runs", "/ui/runs/a", "/ui/runs/a/log", "/trainings", "/ui/none"] {
        server.get(path).expect(401);
    }
    let token = [("Authorization", "Bearer s3cret")];
    server.send("GET", "/ui/runs", &token, "").expect(200);
    server.send("GET", "/ui/runs/a", &token, "").expect(404);
}

#[test]
fn a_resumed_run_begins_its_curves_again_and_ends_with_those_of_a_straight_one() {
    let here = sandbox();
    let inputs = ["-i", "steps=60", "-i", "save_at=31", "-i", "pause=1", "--seed", "7"];
    here.run(&[&["--run-dir", "runs/straight"], &inputs[..]].concat()).expect(0);
    let mut command = here.command(&[&["--run-dir", "runs/resumed"], &inputs[..]].concat());
    let failed = command.env("PAGE_PANIC_AT", "47").output().unwrap();
    assert!(!failed.status.success());
    let server = shown(&here, "runs");
    let read =
        |run: &str, rest: &str| server.get(&format!("/ui/runs/{run}/{rest}")).expect(200).json();
    let before = read("resumed", "metrics?width=1000");
    assert_eq!(before["last"], 47.0);
    let log = read("resumed", "log");
    here.run(&["--resume", "--run-dir", "runs/resumed"]).expect(0);

    let after = |answer: &Value| format!("after={}", answer["cursor"].as_str().unwrap());
    let follow = read("resumed", &format!("metrics?width=1000&{}", after(&before)));
    assert_eq!(follow["restarted"], true, "the file was cut back to step 31 and has grown again");
    let straight = read("straight", "metrics?width=1000");
    assert_eq!(follow["series"]["loss"], straight["series"]["loss"]);
    assert_eq!(
        numbers(&straight["series"]["loss"]["x"]),
        (1..=60).map(f64::from).collect::<Vec<_>>()
    );
    // Equal runs have equal lines: what the cursor stands behind is there again.
    let log = read("resumed", &format!("log?{}", after(&log)));
    assert_eq!(log["restarted"], false);
    let texts = |run: &str| here.read(&format!("runs/{run}/log.txt"));
    assert_eq!(texts("resumed"), texts("straight"));
    assert_eq!(read("resumed", "samples")["samples"], read("straight", "samples")["samples"]);
    let images = |run: &str| {
        let files = fs::read_dir(here.path(&format!("runs/{run}/samples"))).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(images("resumed"), images("straight"));
}

#[test]
fn runs_on_disk_are_running_interrupted_or_damaged_by_what_is_there() {
    let here = sandbox();
    here.file("runs/damaged/run.json", "{\"status\": ");
    here.file(
        "runs/killed/run.json",
        r#"{"status":"running","started_at":"2026-11-23T22:03:11Z"}"#,
    );
    here.file("runs/no run/notes.txt", "");
    let mut training = here
        .command(&["-i", "steps=100000", "-i", "pause=5", "--run-dir", "runs/trains"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let server = shown(&here, "runs");
    let status = |id: &str| {
        let list = server.get("/ui/runs").expect(200).json();
        let runs = list["runs"].as_array().unwrap();
        runs.iter()
            .find(|run| run["id"] == id)
            .map(|run| run["status"].as_str().unwrap().to_owned())
    };
    server.poll(|| match status("trains") {
        Some(status) if status == "running" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(server.get("/ui/runs").json()["runs"].as_array().unwrap().len(), 3);
    training.kill().unwrap();
    training.wait().unwrap();
    for (id, expected) in
        [("trains", "interrupted"), ("killed", "interrupted"), ("damaged", "damaged")]
    {
        assert_eq!(status(id).as_deref(), Some(expected), "{id}");
    }
    let damaged = server.get("/ui/runs/damaged").expect(200).json();
    assert!(damaged["problem"].as_str().unwrap().contains("run.json` is not whole"), "{damaged}");
    assert_eq!(server.get("/ui/runs/killed/metrics").expect(200).json()["series"], json!({}));
}

/// A law on a bounded time: a second for a million points on a machine that does nothing else, here with room for others.
#[test]
fn a_million_points_are_read_in_one_pass_to_their_extremes() {
    use std::fmt::Write as _;
    let here = sandbox();
    let mut text = String::with_capacity(40 << 20);
    for step in 1..=1_000_000_u32 {
        let loss = match step {
            1 => 17.5,
            654_321 => -3.25,
            step => f64::from(step % 1000) / 1000.0,
        };
        writeln!(text, "{{\"step\":{step},\"loss\":{loss}}}").unwrap();
    }
    here.file("runs/long/run.json", r#"{"status":"succeeded"}"#);
    here.file("runs/long/metrics.jsonl", &text);
    let server = shown(&here, "runs");
    let started = std::time::Instant::now();
    let answer = server.get("/ui/runs/long/metrics?width=800").expect(200);
    let took = started.elapsed();
    assert!(answer.body.len() < 200_000, "{} bytes", answer.body.len());
    let loss = &answer.json()["series"]["loss"];
    assert_eq!(loss["count"], 1_000_000);
    assert!((800..=1600).contains(&numbers(&loss["x"]).len()));
    assert_eq!(numbers(&loss["max"]).into_iter().fold(f64::MIN, f64::max), 17.5);
    assert_eq!(numbers(&loss["min"]).into_iter().fold(f64::MAX, f64::min), -3.25);
    assert!(took < Duration::from_secs(20), "{took:?}");
    let part = server.get("/ui/runs/long/metrics?width=800&from=654300&to=654340").json();
    assert_eq!(numbers(&part["series"]["loss"]["mean"])[21], -3.25, "a part has its own points");
}

#[test]
fn ui_refuses_a_folder_without_runs_by_name() {
    let here = sandbox();
    let outcome = here.run(&["ui"]).expect(2);
    assert_eq!(
        outcome.err,
        "error: `runs` is not a folder\nhint: name the folder of runs: `ui runs`\n"
    );
    here.run(&["ui", "--port", "x"]).expect(2);
    here.file("runs/one/run.json", "{}");
    let outcome = here.run(&["ui", "runs/one"]).expect(2);
    assert_eq!(
        outcome.err,
        "error: `runs/one` is a run\nhint: name the folder that it is in: `ui runs`\n"
    );
}
