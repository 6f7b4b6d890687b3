//! The answer of `--dry-run`.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::args::Invocation;
use super::terminal::{Format, Terminal};
use crate::config::Config;
use crate::error::{Error, counted, printable};
use crate::progress::Report;
use crate::run::{Control, DryRun, Request, RoleWorker};
use crate::table::{Align, Table};

/// Prints the plan of a training on standard output.
pub(super) fn plan(
    invocation: &Invocation,
    request: &Request<'_>,
    config: &Config,
    control: &Control,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let run = DryRun::open(request, control, terminal)?;
    let (inputs, seed) = (run.inputs.clone(), run.seed());
    let environment = environment(invocation, config);
    if invocation.format == Format::Text {
        print_table(terminal, &table_of(&inputs, &seed, &environment))?;
    }
    let lines = Rc::default();
    let printer =
        Printer { terminal: terminal.clone(), format: invocation.format, lines: Rc::clone(&lines) };
    let mut worker = RoleWorker::new(request.role, invocation.device, config)
        .local_rank(control.ranks.local_rank());
    let device = run.plan(&mut worker, control, terminal, Box::new(printer))?;
    if invocation.format == Format::Json {
        let lines = lines.take();
        let object = json!({
            "status": "planned", "inputs": inputs, "seed": seed, "device": device,
            "environment": environment, "plan": lines,
        });
        print(terminal, &format!("{object}\n"))?;
    }
    Ok(())
}

/// The variables that are set for the run. Values may be secrets; their names are enough.
fn environment(invocation: &Invocation, config: &Config) -> Map<String, Value> {
    let mut environment = Map::new();
    if let Some(weights) = std::env::var("COG_WEIGHTS").ok().filter(|text| !text.is_empty()) {
        environment.insert("COG_WEIGHTS".to_owned(), crate::fetch::redact(&weights).into());
    }
    for (name, _) in config.environment() {
        environment.entry(name).or_insert_with(|| "set by cog.yaml".into());
    }
    for (name, _) in invocation.env.iter().filter_map(|text| text.split_once('=')) {
        environment.entry(name).or_insert_with(|| "set by -e".into());
    }
    environment
}

/// Returns the inputs with their values and origins, the seed, and the variables.
fn table_of(inputs: &Map<String, Value>, seed: &Value, environment: &Map<String, Value>) -> Table {
    let mut table = Table::new([("", Align::Left), ("", Align::Whole), ("", Align::Whole)]);
    for (name, entry) in inputs {
        let mut value = match &entry["value"] {
            Value::Null => "-".to_owned(),
            Value::String(text) if !text.is_empty() => printable(text),
            other => other.to_string(),
        };
        let files = entry["files"].as_array().map_or(&[][..], Vec::as_slice);
        let bytes: u64 = files.iter().filter_map(|file| file["bytes"].as_u64()).sum();
        if !files.is_empty() {
            let _ = write!(value, " ({})", counted(bytes, "byte"));
        }
        let origin = entry["origin"].as_str().unwrap_or_default();
        let origin = match entry["place"].as_str() {
            Some(place) => format!("{origin} in {}", printable(place)),
            None => origin.replace("absent", "not given"),
        };
        table.row([name.clone(), value, origin]);
    }
    if !inputs.contains_key("seed") {
        let value =
            if seed["value"].is_null() { "-".to_owned() } else { seed["value"].to_string() };
        let origin = seed["origin"].as_str().unwrap_or_default().to_owned();
        table.row(["seed".to_owned(), value, origin]);
    }
    for (name, value) in environment {
        let value = value.as_str().unwrap_or_default().to_owned();
        table.row([name.clone(), value, "environment".to_owned()]);
    }
    table
}

/// Prints a table in the width of standard output.
fn print_table(terminal: &Terminal, table: &Table) -> Result<(), Error> {
    let lines = table.lines(terminal.answer_columns());
    print(terminal, &lines.into_iter().map(|line| line + "\n").collect::<String>())
}

fn print(terminal: &Terminal, text: &str) -> Result<(), Error> {
    let stdout = std::path::Path::new("standard output");
    terminal.result(text).map_err(Error::file("write to", stdout))
}

/// Prints the lines of the plan on standard output: they are the answer.
struct Printer {
    terminal: Terminal,
    format: Format,
    lines: Rc<RefCell<Vec<String>>>,
}

impl Report for Printer {
    fn line(&mut self, text: &str) {
        match self.format {
            // The final answer reports that standard output is gone.
            Format::Text => drop(self.terminal.result(&format!("{text}\n"))),
            Format::Json => self.lines.borrow_mut().push(text.to_owned()),
        }
    }

    fn table(&mut self, table: &Table) {
        let columns = match self.format {
            Format::Text => self.terminal.answer_columns(),
            Format::Json => None,
        };
        table.lines(columns).iter().for_each(|line| self.line(line));
    }

    fn note(&mut self, text: &str) {
        self.terminal.note(text);
    }

    fn metric(&mut self, _name: &str, _step: u64, _value: f64) {}

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        Report::progress(&mut self.terminal, what, done, total);
    }
}
