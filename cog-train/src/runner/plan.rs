//! `--plan`: what a training would do, told without doing it.
//!
//! Inputs are resolved and files fetched as for a run, into a temporary folder. Then `setup` and `train` are called with a
//! job in a dry run: the engine reports what the training would take and returns, and a loop of the author's own is
//! cancelled where it reports its first number. What the author's code does after that does not count.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::process::Process;
use super::run::Run;
use super::terminal::{Format, Terminal};
use crate::error::Error;
use crate::input::Values;
use crate::job::DryRun;
use crate::progress::Report;

/// Said of a trainer with a loop of its own.
const UNKNOWN: &str = "the trainer has a loop of its own: nothing else is known of the run";

/// Tells the plan on standard output.
pub(super) fn plan(process: &Process<'_>, mut run: Run, values: &mut Values) -> anyhow::Result<()> {
    let (role, act, terminal) = (process.role, process.act, process.terminal);
    let inputs = run.bring(role.table, values, process.cancel, &mut terminal.clone())?;
    let mut settings = Map::new();
    settings.insert("seed".to_owned(), seed(&run));
    let mut environment = Map::new();
    if let Some(weights) = std::env::var("COG_WEIGHTS").ok().filter(|text| !text.is_empty()) {
        environment.insert("COG_WEIGHTS".to_owned(), crate::fetch::redact(&weights).into());
    }
    // Values may be secrets; their names say enough.
    for (name, _) in process.config.environment() {
        environment.entry(name).or_insert_with(|| "set by cog.yaml".into());
    }
    for (name, _) in act.env.iter().filter_map(|text| text.split_once('=')) {
        environment.entry(name).or_insert_with(|| "set by -e".into());
    }
    if act.format == Format::Text {
        say(terminal, &text_of(&inputs, &settings, &environment))?;
    }

    let setup = process.setup()?;
    settings.insert(
        "device".to_owned(),
        format!("{:?}", setup.device().location()).to_lowercase().into(),
    );
    let mut actor = (role.setup)(&setup)?;
    process.cancel.check()?;
    let lines = Rc::default();
    let report =
        Teller { terminal: terminal.clone(), format: act.format, lines: Rc::clone(&lines) };
    let mut job = process.job(&mut run, &setup, Box::new(report))?;
    let ended = actor.act(values, &mut job);
    match (job.dry_run(), ended) {
        (DryRun::Reported, _) => {}
        (DryRun::Started, Err(error)) => return Err(error),
        (DryRun::Started | DryRun::OwnLoop { .. }, _) => {
            job.open_dry_run_report();
            job.line(UNKNOWN);
        }
    }
    if act.format == Format::Json {
        let (seed, device) = (&settings["seed"], &settings["device"]);
        let lines = lines.take();
        let object = json!({
            "status": "planned", "inputs": inputs, "seed": seed, "device": device,
            "environment": environment, "plan": lines,
        });
        say(terminal, &format!("{object}\n"))?;
    }
    Ok(())
}

/// A seed that is drawn is another one when the run starts.
fn seed(run: &Run) -> Value {
    match run.seed() {
        (_, "drawn") if !run.is_resumed() => json!({"value": null, "origin": "drawn"}),
        (seed, _) if run.is_resumed() => json!({"value": seed, "origin": "run.json"}),
        (seed, origin) => json!({"value": seed, "origin": origin}),
    }
}

fn text_of(
    inputs: &Map<String, Value>,
    settings: &Map<String, Value>,
    environment: &Map<String, Value>,
) -> String {
    let mut rows: Vec<(String, String, String)> = Vec::new();
    for (name, entry) in inputs {
        let mut value = match &entry["value"] {
            Value::Null => "-".to_owned(),
            Value::String(text) if !text.is_empty() => text.escape_debug().to_string(),
            other => other.to_string(),
        };
        let files = entry["files"].as_array().map_or(&[][..], Vec::as_slice);
        let bytes: u64 = files.iter().filter_map(|file| file["bytes"].as_u64()).sum();
        if !files.is_empty() {
            let _ = write!(value, " ({bytes} bytes)");
        }
        let origin = entry["origin"].as_str().unwrap_or_default();
        rows.push((name.clone(), value, origin.replace("absent", "not given")));
    }
    if !inputs.contains_key("seed") {
        let seed = &settings["seed"];
        let value =
            if seed["value"].is_null() { "-".to_owned() } else { seed["value"].to_string() };
        rows.push((
            "seed".to_owned(),
            value,
            seed["origin"].as_str().unwrap_or_default().to_owned(),
        ));
    }
    for (name, value) in environment {
        let value = value.as_str().unwrap_or_default().to_owned();
        rows.push((name.clone(), value, "environment".to_owned()));
    }
    let width = |of: fn(&(String, String, String)) -> &String| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or_default().min(40)
    };
    let (first, second) = (width(|row| &row.0), width(|row| &row.1));
    rows.iter().fold(String::new(), |mut text, (name, value, origin)| {
        let _ = writeln!(text, "{name:first$}  {value:second$}  {origin}");
        text
    })
}

fn say(terminal: &Terminal, text: &str) -> Result<(), Error> {
    let stdout = std::path::Path::new("standard output");
    terminal.result(text).map_err(Error::file("write to", stdout))
}

/// What is told goes to standard output: it is the answer.
struct Teller {
    terminal: Terminal,
    format: Format,
    lines: Rc<RefCell<Vec<String>>>,
}

impl Report for Teller {
    fn line(&mut self, text: &str) {
        match self.format {
            // A reader that has gone away is told nothing more.
            Format::Text => drop(self.terminal.result(&format!("{text}\n"))),
            Format::Json => self.lines.borrow_mut().push(text.to_owned()),
        }
    }

    fn note(&mut self, text: &str) {
        self.terminal.note(text);
    }

    fn metric(&mut self, _name: &str, _step: u64, _value: f64) {}

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        Report::progress(&mut self.terminal, what, done, total);
    }
}
