//! The lifecycle of a run in one function.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::check::{check, check_destination, find_previous};
use super::error_text::error_text;
use super::lifecycle::Run;
use super::lifecycle::follower::Lead;
use super::next_command::next_command;
use super::observer::Observer;
use super::outputs::Published;
use super::previous::PreviousRun;
use super::request::{Control, Request};
use super::role::Kind;
use super::status::Status;
use super::trace::frames_of;
use super::worker::{Prepared, Worker};
use crate::error::Error;
use crate::input::Values;
use crate::parallel::Ranks;
use crate::report;

/// Says that a finished run was published without training.
const PUBLISHED_AGAIN: &str = "nothing is trained; its output was written again";

/// The result of a run, and what its caller reports beside it.
pub(crate) struct Outcome {
    /// The published output; `None` when the worker keeps it.
    pub(crate) result: anyhow::Result<Option<Published>>,
    /// The text of the error, without secrets.
    pub(crate) error: Option<String>,
    /// The author's frames of the error's backtrace, when `RUST_BACKTRACE` asks for them.
    pub(crate) frames: Vec<String>,
    pub(crate) metrics: Map<String, Value>,
    /// The folder of a training whose `run.json` is about this run.
    pub(crate) run_dir: Option<PathBuf>,
    /// Why the end of the run could not be recorded.
    pub(crate) unrecorded: Option<Error>,
    /// The command that tries what was trained.
    pub(crate) next: Option<String>,
}

impl Outcome {
    /// The outcome of a request that was refused before the run had a folder.
    pub(crate) fn refused(error: anyhow::Error) -> Self {
        let text = error_text(&error);
        Self { error: Some(text), ..Self::of(Err(error), Map::new()) }
    }

    fn of(result: anyhow::Result<Option<Published>>, metrics: Map<String, Value>) -> Self {
        let frames = match &result {
            Err(error) if Status::of(&result) == Status::Failed => frames_of(error),
            _ => Vec::new(),
        };
        Self { result, error: None, frames, metrics, run_dir: None, unrecorded: None, next: None }
    }

    pub(crate) fn status(&self) -> Status {
        Status::of(&self.result)
    }

    /// The published output as JSON; null without one.
    pub(crate) fn output(&self) -> &Value {
        self.result.as_ref().ok().and_then(Option::as_ref).map_or(&Value::Null, |it| &it.value)
    }
}

/// Executes a request from its inputs to its recorded end.
pub(crate) fn execute(
    request: &Request<'_>,
    worker: &mut dyn Worker,
    control: &Control,
    observer: &dyn Observer,
) -> Outcome {
    let (mut run, mut values) = match open(request, &control.ranks, observer) {
        Ok(Opened::Run(run, values)) => (*run, values),
        Ok(Opened::Finished(outcome)) => return *outcome,
        Err(error) => return Outcome::refused(error.into()),
    };
    run.register(&control.active);
    let result = work(&mut run, &mut values, request, worker, control, observer);
    let error = result.as_ref().err().map(|error| run.masked(&error_text(error)));
    let mut outcome = Outcome { error, ..Outcome::of(result, run.metrics().clone()) };
    let (status, error) = (outcome.status(), outcome.error.as_deref());
    outcome.unrecorded = run.end(status, outcome.output(), error).err();
    outcome.run_dir =
        (request.role.kind == Kind::Train && run.has_begun()).then(|| run.dir().to_owned());
    let published = outcome.result.as_ref().ok().and_then(Option::as_ref);
    outcome.next = published.and_then(|published| next_command(request.role, published));
    if let Some(dir) = outcome.run_dir.as_deref().filter(|_| outcome.unrecorded.is_none())
        && let Err(error) = report::write(dir, outcome.next.as_deref())
    {
        observer.warning(&format!("the run has no report: {error}"));
    }
    outcome
}

enum Opened {
    Run(Box<Run>, Values),
    /// A finished run that was published again.
    Finished(Box<Outcome>),
}

/// Opens the run: rank 0 as the request says, the other ranks as rank 0 did.
fn open(request: &Request<'_>, ranks: &Ranks, observer: &dyn Observer) -> Result<Opened, Error> {
    if ranks.is_follower() {
        return follow(Lead::share(None, ranks)?, request);
    }
    let opened = lead(request, observer)?;
    let lead = match &opened {
        Opened::Run(run, _) => Some(run.lead(request)),
        Opened::Finished(_) => None,
    };
    Lead::share(lead.as_ref(), ranks)?;
    Ok(opened)
}

fn follow(lead: Option<Lead>, request: &Request<'_>) -> Result<Opened, Error> {
    let Some(lead) = lead else {
        return Ok(Opened::Finished(Box::new(Outcome::of(Ok(None), Map::new()))));
    };
    let (run, values) = lead.follow(request)?;
    Ok(Opened::Run(Box::new(run), values))
}

fn lead(request: &Request<'_>, observer: &dyn Observer) -> Result<Opened, Error> {
    let mut previous = find_previous(request, true, observer)?;
    if let Some(finished) = previous.as_ref().filter(|run| run.is_finished())
        && request.inputs.is_none()
        && request.seed.is_none()
    {
        check_destination(request)?;
        return publish_again(finished, request, observer)
            .map(|outcome| Opened::Finished(Box::new(outcome)));
    }
    let values = check(request, previous.as_mut())?;
    let force = request.is_forced();
    let run = match (request.role.kind, previous) {
        (Kind::Predict, _) => Run::predict(&values, request.seed)?,
        (Kind::Train, Some(previous)) => Run::resume(previous, &values, request.seed, force),
        (Kind::Train, None) => {
            Run::train(request.role.name, request.run_dir, &values, request.seed)?
        }
    };
    Ok(Opened::Run(Box::new(run), values))
}

/// Publishes the output of a finished run once more.
fn publish_again(
    finished: &PreviousRun,
    request: &Request<'_>,
    observer: &dyn Observer,
) -> Result<Outcome, Error> {
    let output = finished.saved_output()?;
    let published = match &request.destination {
        Some(destination) => {
            Some(destination.write(&output, &finished.dir, &finished.metrics())?)
        }
        None => None,
    };
    observer.note(PUBLISHED_AGAIN);
    Ok(Outcome::of(Ok(published), finished.metrics()))
}

fn work(
    run: &mut Run,
    values: &mut Values,
    request: &Request<'_>,
    worker: &mut dyn Worker,
    control: &Control,
    observer: &dyn Observer,
) -> anyhow::Result<Option<Published>> {
    let table = request.role.table;
    run.fetch_inputs(table, values, request.files, &control.cancel, observer.report().as_mut())?;
    let saved = if control.ranks.is_follower() { None } else { run.saved_output()? };
    let is_finished = control.ranks.share(vec![u8::from(saved.is_some())])? == [1];
    let output = if is_finished {
        observer.note(PUBLISHED_AGAIN);
        saved
    } else {
        let Prepared { setup, instance } = worker.prepare(&control.cancel, observer)?;
        control.cancel.check()?;
        let mut job = run.job(setup, control, observer.report())?;
        let ended = instance.call(values, &mut job);
        run.take_metrics(&job);
        if let Some(lost) = job.take_lost() {
            observer.warning(&format!("some of the run's log is lost: {lost}"));
        }
        if run.is_resumed() && !job.was_resume_read() && (ended.is_ok() || job.has_stepped()) {
            observer.warning(
                "the trainer looks for no checkpoint: it started over\n\
                     hint: `Job::resume_from` gives a loop of one's own its checkpoint",
            );
        }
        let output = ended?;
        if let Some(output) = &output {
            run.save_output(output);
        }
        output
    };
    match (&request.destination, output) {
        (Some(destination), Some(output)) => {
            Ok(Some(destination.write(&output, run.dir(), run.metrics())?))
        }
        _ => Ok(None),
    }
}
