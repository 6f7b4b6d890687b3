//! `train` and `predict`: the command line becomes a request, its outcome becomes an answer.
#![expect(unsafe_code, reason = "the environment is set before the process has other threads")]

use anyhow::Context;

use super::app::App;
use super::args::Invocation;
use super::pairs;
use super::terminal::{Format, Terminal, print_answer};
use super::{answer, cog_yaml, compute, env, inputs_file, next, plan, signals};
use crate::error::Error;
use crate::run::{
    Control, Destination, FileRules, Given, Kind, Outcome, Request, Role, RoleWorker, Status,
    execute, shown,
};

/// Executes a training or a prediction and prints its answer; the exit code.
pub(super) fn invoke(app: &App, role: &Role, invocation: &Invocation) -> u8 {
    let terminal = Terminal::new(invocation.format);
    let outcome = match outcome(app, role, invocation, &terminal) {
        Ok(outcome) => outcome,
        Err(error) => Some(Outcome::refused(error)),
    };
    terminal.close();
    // A dry run has printed its plan.
    let Some(outcome) = outcome else { return 0 };
    if let Some(error) = &outcome.unrecorded {
        terminal.warning(&format!("the run's end is not recorded: {error}"));
    }
    let resume = resume_hint(&outcome);
    if let (Some(dir), None) = (outcome.run_dir.as_deref(), &resume)
        && outcome.status() != Status::Succeeded
    {
        terminal.note(&format!("the run's folder: {}", shown(dir)));
    }
    if let Some(error) = &outcome.error {
        terminal.error(error);
        for frame in &outcome.frames {
            terminal.note(&format!("  {frame}"));
        }
    }
    if let Some(hint) = resume.filter(|_| invocation.format == Format::Text) {
        terminal.note(&hint);
    }
    let code = match print_answer(&terminal, &answer::text(&outcome, invocation.format, role.kind))
    {
        0 => answer::exit_code(&outcome),
        failed => failed,
    };
    next::show(&terminal, invocation.format, &outcome);
    code
}

/// The command that resumes a cancelled training.
fn resume_hint(outcome: &Outcome) -> Option<String> {
    let dir = outcome.run_dir.as_deref()?;
    let resumable =
        outcome.status() == Status::Canceled && dir.join(crate::job::CHECKPOINTS).is_dir();
    resumable.then(|| format!("note: `--resume --run-dir {}` resumes it", shown(dir)))
}

/// Prepares the process and executes the request; `None` for a dry run.
fn outcome(
    app: &App,
    role: &Role,
    invocation: &Invocation,
    terminal: &Terminal,
) -> anyhow::Result<Option<Outcome>> {
    let variables = env::parse(&invocation.env)?;
    let config = cog_yaml::load(app, invocation.config.as_deref(), terminal)?;
    let destination = Destination::new(role.kind, invocation.output.as_deref(), invocation.force);
    // `--json` asks for the answer, and `--format json` only prints it.
    let answers = invocation.json.is_some() && invocation.output.is_some();
    let destination = if answers { destination.with_answer() } else { destination };
    let request = Request {
        role,
        inputs: read_inputs(role, invocation)?,
        seed: invocation.seed,
        run_dir: invocation.run_dir.as_deref(),
        resume: invocation.resume,
        destination: Some(&destination),
        files: FileRules::default(),
    };
    // SAFETY: (1) `main` has started no thread, and the first one starts below.
    unsafe {
        env::apply(config.environment(), &variables);
        compute::prepare();
    }
    let control = Control::default();
    signals::listen(control.clone(), terminal.clone()).context("cannot listen for signals")?;
    terminal.take_stdout().context("cannot redirect standard output")?;
    if role.kind == Kind::Predict && invocation.output.is_none() {
        terminal.stream_output();
    }
    if invocation.dry_run && role.kind == Kind::Train {
        plan::plan(invocation, &request, &config, &control, terminal)?;
        return Ok(None);
    }
    let mut worker = RoleWorker::new(role, invocation.device, &config);
    Ok(Some(execute(&request, &mut worker, &control, terminal)))
}

/// Reads the inputs; `None` when the command line has none at all.
fn read_inputs(role: &Role, invocation: &Invocation) -> Result<Option<Given>, Error> {
    if let Some(text) = &invocation.json {
        return pairs::from_json(role.table, text, std::io::stdin()).map(Some);
    }
    let given = pairs::from_pairs(role.table, &invocation.inputs);
    match &invocation.inputs_file {
        Some(file) => Ok(Some(given.or(inputs_file::read(role.name, role.table, file)?))),
        None => Ok((!invocation.inputs.is_empty()).then_some(given)),
    }
}
