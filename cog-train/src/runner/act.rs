//! `train` and `predict` on the command line: what was typed becomes a run, the run becomes files and an answer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::app::App;
use super::args::{Act, Resume};
use super::earlier::Earlier;
use super::folder::{RunFolder, shown};
use super::outputs::Destination;
use super::pairs::Given;
use super::process::Process;
use super::roles::{Kind, Role};
use super::run::{OpenRun, Run, Status};
use super::terminal::{Format, Terminal};
use super::{bring, cog_yaml, compute, env, plan, signals};
use crate::error::Error;
use crate::input::{self, Spec, Values};
use crate::job::{CHECKPOINTS, Places};
use crate::progress::CancelToken;

/// Carries out a training or a prediction and answers; the exit code.
pub(crate) fn act(app: &App, role: &Role, act: &Act) -> u8 {
    let terminal = Terminal::new(act.format);
    let answer = attempt(app, role, act, &terminal)
        .unwrap_or_else(|error| Some(Answer::failed(&error, Map::new())));
    terminal.close();
    // A plan has said all there is to say.
    let Some(answer) = answer else { return 0 };
    if let Some(error) = &answer.error {
        terminal.error(error);
    }
    if let Some(note) = answer.note.as_ref().filter(|_| act.format == Format::Text) {
        terminal.note(&format!("note: {note}"));
    }
    match super::answer(&terminal, &answer.text(act.format, role)) {
        0 => answer.code,
        failed => failed,
    }
}

/// What can be refused is refused before the run has a folder.
fn attempt(
    app: &App,
    role: &Role,
    act: &Act,
    terminal: &Terminal,
) -> anyhow::Result<Option<Answer>> {
    let variables = env::parse(&act.env)?;
    let config = cog_yaml::load(app, act.config.as_deref(), terminal)?;
    let destination = Destination::new(role.kind, act.output.as_deref());
    let mut earlier = find_earlier(role, act, terminal)?;
    if let Some(finished) = earlier.as_ref().filter(|run| run.finished())
        && !act.plan
        && act.inputs.is_empty()
        && act.json.is_none()
        && act.seed.is_none()
    {
        destination.prepare(&(role.output)())?;
        return write_again(finished, &destination, terminal).map(Some);
    }
    let mut values = read_inputs(role, act, earlier.as_mut())?;
    bring::check(&values).map_err(Error::from)?;
    if earlier.is_none() {
        RunFolder::check(act.run_dir.as_deref())?;
    }
    let run_dir = earlier.as_ref().map(|run| run.dir.as_path()).or(act.run_dir.as_deref());
    let planned = act.plan.then(|| RunFolder::probe(run_dir)).transpose()?;
    destination.prepare(&(role.output)())?;

    // Variables first: from here on there are threads.
    env::apply(config.environment(), &variables);
    compute::prepare();
    let (cancel, save) = (CancelToken::new(), Arc::<AtomicBool>::default());
    let open = OpenRun::default();
    signals::listen(cancel.clone(), Arc::clone(&save), terminal.clone(), open.clone())
        .context("signals cannot be heard")?;
    terminal.take_stdout().context("standard output cannot be set aside")?;

    let process = Process { role, act, config: &config, cancel: &cancel, save: &save, terminal };
    let force = act.resume == Some(Resume::Force);
    if let Some(run) = planned {
        let places = Places { run, output: destination.parent() };
        let run = Run::plan(earlier, &values, act.seed, force, places)?;
        plan::plan(&process, run, &mut values)?;
        return Ok(None);
    }
    let mut run = match (role.kind, earlier) {
        (Kind::Predict, _) => Run::predict(&values, act.seed)?,
        (Kind::Train, Some(earlier)) => Run::resume(earlier, &values, act.seed, force),
        (Kind::Train, None) => Run::train(role.name, act.run_dir.as_deref(), &values, act.seed)?,
    };
    run.tell(&open);
    let mut metrics = Map::new();
    let ended = process.carry_out(&mut run, &mut values, &destination, &mut metrics);
    let mut answer = match ended {
        Ok(written) => Answer::succeeded(written, metrics),
        Err(error) => {
            let mut answer = Answer::failed(&error, metrics);
            answer.error = answer.error.map(|text| run.masked(&text));
            answer
        }
    };
    if let Err(error) =
        run.end(answer.status, answer.output(), answer.error.as_deref(), &answer.metrics)
    {
        terminal.warning(&format!("the run's end is not recorded: {error}"));
    }
    if role.kind == Kind::Train && answer.status != Status::Succeeded && run.has_begun() {
        let dir = shown(run.dir());
        if answer.status == Status::Canceled && run.dir().join(CHECKPOINTS).is_dir() {
            answer.note = Some(format!("`--resume --run-dir {dir}` goes on from there"));
        } else {
            terminal.note(&format!("the run's folder: {dir}"));
        }
    }
    Ok(Some(answer))
}

/// The run that `--resume` means. That there is none is said, for a person may have meant one.
fn find_earlier(role: &Role, act: &Act, terminal: &Terminal) -> Result<Option<Earlier>, Error> {
    if act.resume.is_none() || role.kind != Kind::Train {
        return Ok(None);
    }
    let Some(mut earlier) = Earlier::find(role.name, act.run_dir.as_deref())? else {
        let place = act.run_dir.as_deref().map_or_else(|| "runs".to_owned(), shown);
        terminal.note(&format!("nothing to resume in `{place}`: the run starts at step 0"));
        return Ok(None);
    };
    if !act.plan {
        earlier.lock()?;
    }
    let dir = earlier.shown();
    terminal.note(&if earlier.finished() {
        format!("`{dir}` is finished")
    } else if earlier.inputs().is_none() {
        format!("`{dir}` was stopped before its inputs were recorded: the run starts at step 0")
    } else if earlier.checkpoints().is_none() {
        format!("`{dir}` has no checkpoint yet: the run starts at step 0")
    } else {
        format!("resuming `{dir}`")
    });
    Ok(Some(earlier))
}

/// Writes the output of a finished run once more.
fn write_again(
    finished: &Earlier,
    destination: &Destination,
    terminal: &Terminal,
) -> anyhow::Result<Answer> {
    let written = destination.write(&finished.returned()?)?;
    terminal.note(OUTPUT_AGAIN);
    let metrics = finished.fields.get("metrics").and_then(Value::as_object).cloned();
    Ok(Answer::succeeded(written, metrics.unwrap_or_default()))
}

/// What is said when nothing is trained.
pub(super) const OUTPUT_AGAIN: &str = "nothing is trained; its output was written again";

/// The checked inputs. `--seed` stands for an input named `seed` that is not given.
fn read_inputs(role: &Role, act: &Act, earlier: Option<&mut Earlier>) -> Result<Values, Error> {
    let mut given = match &act.json {
        Some(text) => Given::from_json(role.table, text, std::io::stdin())?,
        None => Given::from_pairs(role.table, &act.inputs),
    };
    let is_seed =
        |spec: &Spec| spec.name == "seed" && matches!(spec.ty.kind, input::Kind::Integer { .. });
    if let Some(seed) = act.seed.filter(|_| role.table.iter().any(is_seed)) {
        given.fill(Map::from_iter([("seed".to_owned(), seed.into())]));
    }
    if let Some(earlier) = earlier {
        earlier.fill(role.table, &mut given);
    }
    Ok(given.check(role.table)?)
}
