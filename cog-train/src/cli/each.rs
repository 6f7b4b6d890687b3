//! `predict --each`: one prediction for each row of a file, with one setup.
#![expect(unsafe_code, reason = "the environment is set before the process has other threads")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::app::App;
use super::args::Invocation;
use super::terminal::Terminal;
use super::{cog_yaml, compute, env, pairs, signals};
use crate::durable::parent_of;
use crate::error::{Error, counted, find};
use crate::partial;
use crate::run::{
    Control, Destination, FileRules, Kind, Observer, Request, Role, RoleWorker, Worker, execute,
    holds_file, refuse_special,
};

/// Predicts for each row of `rows`, a file of JSON lines or `-`; the exit code, which is 1 if a row has failed.
pub(super) fn each(app: &App, role: &Role, invocation: &Invocation, rows: &str) -> u8 {
    let terminal = Terminal::new(invocation.format);
    let ended = predict(app, role, invocation, rows, &terminal);
    terminal.close();
    match ended {
        Ok(Counts { failed: 0, .. }) => 0,
        Ok(Counts { failed, all }) => {
            terminal.error(&format!("{failed} of {} failed", counted(all, "row")));
            1
        }
        Err(error) => {
            terminal.error(&format!("{error:#}"));
            find(&error).map_or(1, Error::exit_code)
        }
    }
}

struct Counts {
    failed: usize,
    all: usize,
}

fn predict(
    app: &App,
    role: &Role,
    invocation: &Invocation,
    rows: &str,
    terminal: &Terminal,
) -> anyhow::Result<Counts> {
    let variables = env::parse(&invocation.env)?;
    let config = cog_yaml::load(app, invocation.config.as_deref(), terminal)?;
    let (reader, total) = open(rows)?;
    let output = invocation.output.as_deref().filter(|path| !matches!(*path, "" | "-"));
    let files = folder_of_files(role, output)?;
    let mut answers = Answers::open(output, rows)?;
    // SAFETY: (1) `main` has started no thread, and the first one starts below.
    unsafe {
        env::apply(config.environment(), &variables);
        compute::prepare();
    }
    let control = Control::default();
    signals::listen(control.clone(), terminal.clone()).context("cannot listen for signals")?;
    terminal.take_stdout().context("cannot redirect standard output")?;
    let mut worker = RoleWorker::new(role, invocation.device, &config);
    // What fails here would fail for each row.
    worker.prepare(&control.cancel, terminal)?;
    let mut progress = terminal.report();
    let mut counts = Counts { failed: 0, all: 0 };
    for row in reader.split(b'\n') {
        let row = row.with_context(|| format!("cannot read `{rows}`"))?;
        if row.trim_ascii().is_empty() {
            continue;
        }
        counts.all += 1;
        let folder = files.as_ref().map(|folder| format!("{}/{}/", folder.display(), counts.all));
        let target = folder.as_deref().unwrap_or("-");
        let destination = Destination::new(Kind::Predict, Some(target), invocation.force);
        let line = match inputs(role, &row) {
            Err(error) => json!({"error": error.to_string()}),
            Ok(inputs) => {
                let request = Request {
                    role,
                    inputs: Some(inputs),
                    seed: None,
                    run_dir: None,
                    resume: None,
                    destination: Some(&destination),
                    files: FileRules::default(),
                };
                let outcome = execute(&request, &mut worker, &control, terminal);
                control.cancel.check()?;
                match &outcome.error {
                    Some(error) => json!({"error": error}),
                    None => json!({"output": outcome.output()}),
                }
            }
        };
        counts.failed += usize::from(line.get("error").is_some());
        answers.add(terminal, &line)?;
        // 0 while it is not known; a file may have grown since its rows were counted.
        let total = if total == 0 { 0 } else { total.max(counts.all) };
        progress.progress("rows", counts.all as u64, total as u64);
    }
    answers.finish()?;
    Ok(counts)
}

/// Opens the rows, and counts them where they can be read twice: 0 where not.
fn open(rows: &str) -> Result<(Box<dyn BufRead>, usize), Error> {
    if rows == "-" {
        return Ok((Box::new(BufReader::new(io::stdin())), 0));
    }
    let path = Path::new(rows);
    let open = || File::open(path).map_err(Error::file("open", path));
    let file = open()?;
    // What is read from a pipe is gone.
    if !file.metadata().is_ok_and(|it| it.is_file()) {
        return Ok((Box::new(BufReader::new(file)), 0));
    }
    let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    let count = lines.filter(|line| !line.trim_ascii().is_empty()).count();
    Ok((Box::new(BufReader::new(open()?)), count))
}

fn inputs(role: &Role, row: &[u8]) -> Result<crate::run::Given, Error> {
    let row = str::from_utf8(row).map_err(|error| {
        let at = error.valid_up_to();
        let reason = format!("the row is not UTF-8 text: byte {at} does not belong to a character");
        Error::Arguments { reason }
    })?;
    // Not a file that the row names.
    if !row.trim_start().starts_with('{') {
        let reason = "the row is not a JSON object of the inputs".to_owned();
        return Err(Error::Arguments { reason });
    }
    pairs::from_json(role.table, row, io::empty()).map_err(|error| match error {
        Error::Arguments { reason } => {
            Error::Arguments { reason: reason.trim_start_matches("`--json`: ").to_owned() }
        }
        other => other,
    })
}

/// Returns the folder for files of the outputs: `out` for `-o out.jsonl`, with a folder for each row; `None` for values.
fn folder_of_files(role: &Role, output: Option<&str>) -> Result<Option<PathBuf>, Error> {
    if !holds_file(&(role.output)()) {
        return Ok(None);
    }
    let Some(output) = output else {
        let reason =
            "the outputs are files\nhint: `-o out.jsonl` writes them into the folder `out`";
        return Err(Error::Arguments { reason: reason.to_owned() });
    };
    let folder = Path::new(output).with_extension("");
    Ok(Some(if folder == Path::new(output) { folder.with_extension("files") } else { folder }))
}

/// The destination of the lines: standard output, or a file that appears whole.
enum Answers {
    Stdout,
    File { staged: BufWriter<tempfile::NamedTempFile>, path: PathBuf },
}

impl Answers {
    fn open(output: Option<&str>, rows: &str) -> Result<Self, Error> {
        let Some(output) = output else { return Ok(Self::Stdout) };
        let path = PathBuf::from(output);
        let same =
            fs::canonicalize(&path).ok().is_some_and(|it| fs::canonicalize(rows).ok() == Some(it));
        if same || path.is_dir() {
            let what = if same { "the file of the rows" } else { "a folder" };
            let reason = format!("`-o {output}` is {what}\nhint: name another file");
            return Err(Error::Arguments { reason });
        }
        refuse_special(&path)?;
        let parent = parent_of(&path);
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        let staged = partial::file(parent, ".each-").map_err(Error::file("create", &path))?;
        Ok(Self::File { staged: BufWriter::new(staged), path })
    }

    fn add(&mut self, terminal: &Terminal, line: &Value) -> Result<(), Error> {
        match self {
            Self::Stdout => terminal
                .piece(&format!("{line}\n"))
                .map_err(Error::file("write", Path::new("standard output"))),
            Self::File { staged, path } => {
                writeln!(staged, "{line}").map_err(Error::file("write", path))
            }
        }
    }

    fn finish(self) -> Result<(), Error> {
        let Self::File { staged, path } = self else { return Ok(()) };
        let failed = |error| Error::file("write", &path)(error);
        let staged = staged.into_inner().map_err(|error| failed(error.into_error()))?;
        staged.as_file().sync_all().map_err(failed)?;
        staged.persist(&path).map(drop).map_err(|error| failed(error.error))
    }
}
