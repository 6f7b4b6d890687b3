//! `train` and `predict`: the command line becomes a request, its outcome becomes an answer.
#![expect(unsafe_code, reason = "the environment is set before the process has other threads")]

use std::time::Duration;

use anyhow::Context;

use super::app::App;
use super::args::Invocation;
use super::gpus::{self, Gpus};
use super::pairs;
use super::terminal::{Format, Terminal, print_answer};
use super::{answer, cog_yaml, compute, env, guard, inputs_file, next, plan, signals};
use crate::error::Error;
use crate::parallel::{End, Launch, Ranks};
use crate::run::{
    Control, Destination, FileRules, Given, Kind, Outcome, Request, Role, RoleWorker, Status,
    execute, shown,
};

/// Executes a training or a prediction and prints its answer; the exit code.
pub(super) fn invoke(app: &App, role: &Role, invocation: &Invocation) -> u8 {
    let launch = match role.kind {
        Kind::Train => Launch::from_env(),
        Kind::Predict => Ok(None),
    };
    let rank = launch.as_ref().ok().and_then(Option::as_ref).map_or(0, |launch| launch.rank);
    let terminal = match rank {
        0 => Terminal::new(invocation.format),
        _ => Terminal::silent(invocation.format),
    };
    if let Some(gpus) = invocation.gpus.filter(|_| !gpus::is_supervised()) {
        match start(gpus, &launch, &terminal) {
            Ok(None) => {}
            Ok(Some(code)) => return code,
            Err(error) => {
                terminal.error(&error.to_string());
                return error.exit_code();
            }
        }
    }
    let mut control = Control::default();
    let ended = outcome(app, role, invocation, launch, &mut control, &terminal);
    let outcome = ended.unwrap_or_else(|error| Some(Outcome::refused(error)));
    terminal.close();
    if rank > control.ranks.rank() {
        // The ranks did not meet. What stops all of them is printed by rank 0, and its launcher ends this process.
        std::thread::sleep(Duration::from_secs(2));
    }
    let end = end_of(outcome.as_ref(), rank);
    control.ranks.end(&end, |errors| {
        report(&terminal, invocation, outcome.as_ref(), errors);
        // A rank whose own part has succeeded has no answer for a training that failed.
        if let Some(outcome) = outcome.as_ref().filter(|it| rank == 0 && it.error.is_some()) {
            print_answer(&terminal, &answer::text(outcome, invocation.format, role.kind, None));
        }
        outcome.as_ref().map_or(1, answer::exit_code)
    });
    // A dry run has printed its plan.
    let Some(outcome) = outcome else { return 0 };
    let error = outcome.error.iter().filter(|_| !control.ranks.is_follower());
    let errors: Vec<String> = error
        .map(|text| if rank > 0 { format!("rank {rank}: {text}") } else { text.clone() })
        .collect();
    report(&terminal, invocation, Some(&outcome), &errors);
    let columns = terminal.answer_columns();
    let text = answer::text(&outcome, invocation.format, role.kind, columns);
    let code = match print_answer(&terminal, &text) {
        0 => answer::exit_code(&outcome),
        failed => failed,
    };
    next::show(&terminal, invocation.format, &outcome);
    code
}

/// Returns the end that this rank sends to the others.
fn end_of(outcome: Option<&Outcome>, rank: usize) -> End {
    let Some(outcome) = outcome else { return End::Succeeded };
    let error = outcome.error.clone().unwrap_or_default();
    match outcome.status() {
        Status::Succeeded => End::Succeeded,
        Status::Canceled => End::Cancelled,
        // Rank 0 has no folder for the run: nothing was begun on any rank.
        Status::Failed if rank == 0 && outcome.run_dir.is_none() => End::Refused(error),
        Status::Failed => End::Failed(error),
    }
}

/// Trains on several GPUs by processes of its own; the exit code, or `None` when one GPU is enough.
fn start(
    gpus: Gpus,
    launch: &Result<Option<Launch>, Error>,
    terminal: &Terminal,
) -> Result<Option<u8>, Error> {
    match launch {
        Ok(Some(launch)) if launch.world_size > 1 => Err(Error::Arguments {
            reason: format!(
                "`--gpus`, and {} has started {} processes already\nhint: leave one of them out",
                launch.launcher, launch.world_size
            ),
        }),
        _ => gpus::train(gpus, terminal),
    }
}

/// Prints the errors of a run, and how to resume it.
fn report(
    terminal: &Terminal,
    invocation: &Invocation,
    outcome: Option<&Outcome>,
    errors: &[String],
) {
    if let Some(error) = outcome.and_then(|outcome| outcome.unrecorded.as_ref()) {
        terminal.warning(&format!("the run's end is not recorded: {error}"));
    }
    let resume = outcome.and_then(resume_hint);
    if let Some(outcome) = outcome
        && let (Some(dir), None) = (outcome.run_dir.as_deref(), &resume)
        && outcome.status() != Status::Succeeded
    {
        terminal.note(&format!("the run's folder: {}", shown(dir)));
    }
    for error in errors {
        terminal.error(error);
    }
    for frame in outcome.iter().flat_map(|outcome| &outcome.frames) {
        terminal.note(&format!("  {frame}"));
    }
    if let Some(hint) = resume.filter(|_| invocation.format == Format::Text) {
        terminal.note(&hint);
    }
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
    launch: Result<Option<Launch>, Error>,
    control: &mut Control,
    terminal: &Terminal,
) -> anyhow::Result<Option<Outcome>> {
    let launch = launch?;
    let variables = env::parse(&invocation.env)?;
    let config = cog_yaml::load(app, invocation.config.as_deref(), terminal)?;
    // SAFETY: (1) `main` has started no thread, and the first one starts below.
    unsafe {
        env::apply(config.environment(), &variables);
        compute::prepare();
    }
    control.ranks = Ranks::open(launch)?;
    control.reduce = invocation.reduce;
    let destination = Destination::new(role.kind, invocation.output.as_deref(), invocation.force);
    // `--json` asks for the answer, and `--format json` only prints it.
    let answers = invocation.json.is_some() && invocation.output.is_some();
    let destination = if answers { destination.with_answer() } else { destination };
    guard::start(control, terminal, invocation.format)?;
    // Rank 0 reads and writes for all.
    let leads = !control.ranks.is_follower();
    let request = Request {
        role,
        inputs: if leads { read_inputs(role, invocation)? } else { None },
        seed: invocation.seed,
        run_dir: invocation.run_dir.as_deref().filter(|_| leads),
        resume: invocation.resume,
        destination: if leads { Some(&destination) } else { None },
        files: FileRules::default(),
    };
    signals::listen(control.clone(), terminal.clone()).context("cannot listen for signals")?;
    terminal.take_stdout().context("cannot redirect standard output")?;
    if role.kind == Kind::Predict && invocation.output.is_none() {
        terminal.stream_output();
    }
    if invocation.dry_run && role.kind == Kind::Train {
        plan::plan(invocation, &request, &config, control, terminal)?;
        return Ok(None);
    }
    let mut worker =
        RoleWorker::new(role, invocation.device, &config).local_rank(control.ranks.local_rank());
    Ok(Some(execute(&request, &mut worker, control, terminal)))
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
