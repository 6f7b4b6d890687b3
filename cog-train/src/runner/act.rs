//! `train` and `predict` on the command line: what was typed becomes a run, the run becomes files and an answer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::app::App;
use super::args::Act;
use super::folder::RunFolder;
use super::outputs::{Destination, Written};
use super::pairs::Given;
use super::roles::{Actor, Kind, Role};
use super::run::{Run, Status, World};
use super::terminal::{Format, Terminal};
use super::{bring, cog_yaml, env, error_text, signals};
use crate::device::driver_cuda;
use crate::error::Error;
use crate::input::{self, Spec, Values};
use crate::job::Setup;
use crate::output::Output;
use crate::progress::CancelToken;
use crate::weights::Weights;

/// What a run leaves: the files, the value, the numbers.
struct Answer {
    status: Status,
    written: Option<Written>,
    error: Option<String>,
    metrics: Map<String, Value>,
    code: u8,
}

/// Carries out a training or a prediction and answers; the exit code.
pub(crate) fn act(app: &App, role: &Role, act: &Act) -> u8 {
    let terminal = Terminal::new(act.format);
    let answer = attempt(app, role, act, &terminal)
        .unwrap_or_else(|error| Answer::failed(&error, Map::new()));
    terminal.close();
    if let Some(error) = &answer.error {
        terminal.error(error);
    }
    match super::answer(&terminal, &answer.text(act.format, role)) {
        0 => answer.code,
        failed => failed,
    }
}

/// What can be refused is refused before the run has a folder.
fn attempt(app: &App, role: &Role, act: &Act, terminal: &Terminal) -> anyhow::Result<Answer> {
    let variables = env::parse(&act.env)?;
    let config = cog_yaml::load(app, act.config.as_deref(), terminal)?;
    let mut values = read_inputs(role, act)?;
    bring::check(&values).map_err(Error::from)?;
    RunFolder::check(act.run_dir.as_deref())?;
    let destination = Destination::new(role.kind, act.output.as_deref());
    destination.prepare(&(role.output)())?;

    // Variables first: from here on there are threads.
    env::apply(config.environment(), &variables);
    let (cancel, save) = (CancelToken::new(), Arc::<AtomicBool>::default());
    signals::listen(cancel.clone(), Arc::clone(&save), terminal.clone())
        .context("signals cannot be heard")?;
    terminal.take_stdout().context("standard output cannot be set aside")?;

    let mut run = match role.kind {
        Kind::Train => Run::train(role.name, act.run_dir.as_deref(), &values, act.seed)?,
        Kind::Predict => Run::predict(&values, act.seed)?,
    };
    let mut metrics = Map::new();
    let world = Process { role, act, config: &config, cancel: &cancel, save: &save, terminal };
    let ended = world.carry_out(&mut run, &mut values, &destination, &mut metrics);
    let answer = match ended {
        Ok(written) => Answer {
            status: Status::Succeeded,
            written: Some(written),
            error: None,
            metrics,
            code: 0,
        },
        Err(error) => {
            let mut answer = Answer::failed(&error, metrics);
            answer.error = answer.error.map(|text| run.masked(&text));
            answer
        }
    };
    let output = answer.written.as_ref().map_or(&Value::Null, |written| &written.value);
    if let Err(error) = run.end(answer.status, output, answer.error.as_deref(), &answer.metrics) {
        terminal.warning(&format!("the run's end is not recorded: {error}"));
    }
    if role.kind == Kind::Train && answer.status != Status::Succeeded {
        terminal.note(&format!("the run's folder: {}", run.dir().display()));
    }
    Ok(answer)
}

/// The checked inputs. `--seed` stands for an input named `seed` that is not given.
fn read_inputs(role: &Role, act: &Act) -> Result<Values, Error> {
    let mut given = match &act.json {
        Some(text) => Given::from_json(role.table, text, std::io::stdin())?,
        None => Given::from_pairs(role.table, &act.inputs),
    };
    let is_seed =
        |spec: &Spec| spec.name == "seed" && matches!(spec.ty.kind, input::Kind::Integer { .. });
    if let Some(seed) = act.seed.filter(|_| role.table.iter().any(is_seed)) {
        given.fill(Map::from_iter([("seed".to_owned(), seed.into())]));
    }
    Ok(given.check(role.table)?)
}

/// The process around one run.
struct Process<'a> {
    role: &'a Role,
    act: &'a Act,
    config: &'a crate::config::Config,
    cancel: &'a CancelToken,
    save: &'a Arc<AtomicBool>,
    terminal: &'a Terminal,
}

impl Process<'_> {
    fn carry_out(
        &self,
        run: &mut Run,
        values: &mut Values,
        destination: &Destination,
        metrics: &mut Map<String, Value>,
    ) -> anyhow::Result<Written> {
        run.bring(values, self.cancel, &mut self.terminal.clone())?;
        let setup = self.setup()?;
        let mut actor = (self.role.setup)(&setup)?;
        self.cancel.check()?;
        let output = self.call(run, actor.as_mut(), values, &setup, metrics)?;
        Ok(destination.write(&output)?)
    }

    fn setup(&self) -> anyhow::Result<Setup> {
        let (device, said) = self.act.device.open(self.config.gpu())?;
        if device.is_cuda()
            && let Some(driver) = driver_cuda()
        {
            self.config.cuda_runs_on(driver).map_err(Error::from)?;
        }
        if self.role.kind == Kind::Train {
            self.terminal.note(&said);
        }
        let weights = Weights::from_env_with(self.cancel, &mut self.terminal.clone())
            .context("COG_WEIGHTS")?;
        Ok(Setup::new(device, weights, self.config.clone()))
    }

    fn call(
        &self,
        run: &mut Run,
        actor: &mut dyn Actor,
        values: &Values,
        setup: &Setup,
        metrics: &mut Map<String, Value>,
    ) -> anyhow::Result<Output> {
        let report = Box::new(self.terminal.clone());
        let mut job = run.job(World { setup, cancel: self.cancel, save: self.save, report })?;
        let ended = actor.act(values, &mut job);
        *metrics = run.metrics(&job);
        if let Some(lost) = job.take_lost() {
            self.terminal.warning(&format!("some of the run's log is lost: {lost}"));
        }
        ended
    }
}

impl Answer {
    fn failed(error: &anyhow::Error, metrics: Map<String, Value>) -> Self {
        let code = crate::error::find(error).map_or(1, Error::exit_code);
        Self {
            status: Status::of(error),
            written: None,
            error: Some(error_text(error)),
            metrics,
            code,
        }
    }

    /// What goes to standard output.
    fn text(&self, format: Format, role: &Role) -> String {
        if format == Format::Json {
            let output = self.written.as_ref().map_or(&Value::Null, |written| &written.value);
            let error = self.error.as_deref().unwrap_or_default();
            let answer = json!({
                "status": self.status.name(), "output": output, "error": error, "metrics": self.metrics,
            });
            return format!("{answer}\n");
        }
        match &self.written {
            None => String::new(),
            Some(written) if written.paths.is_empty() => match &written.value {
                Value::String(text) => format!("{text}\n"),
                Value::Object(_) | Value::Array(_) => format!("{:#}\n", written.value),
                other => format!("{other}\n"),
            },
            Some(written) => format!("{}\n", sentence(written, role.kind)),
        }
    }
}

/// `weights/ (final_loss 1.25, steps 120)`: where the result is, and the numbers beside it.
fn sentence(written: &Written, kind: Kind) -> String {
    let places: Vec<String> = written
        .paths
        .iter()
        .map(|path| format!("{}{}", path.display(), if path.is_dir() { "/" } else { "" }))
        .collect();
    let values: Vec<String> = match &written.value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| value.is_number() || value.is_boolean())
            .map(|(name, value)| format!("{name} {}", short(value)))
            .collect(),
        _ => Vec::new(),
    };
    let verb = if kind == Kind::Train { "trained" } else { "predicted" };
    let beside =
        if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) };
    format!("{verb}: {}{beside}", places.join(", "))
}

/// A number as a person reads it: four digits after the point are enough, and `output.json` has them all.
fn short(value: &Value) -> String {
    match value.as_f64() {
        Some(float) if !value.is_f64() || float == 0.0 => value.to_string(),
        Some(float) if (1e-2..1e6).contains(&float.abs()) => {
            format!("{float:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Some(float) => format!("{float:.3e}"),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_lose_their_size() {
        for (value, text) in [
            (json!(0.584_171_479), "0.5842"),
            (json!(2.0), "2"),
            (json!(5e-5), "5.000e-5"),
            (json!(123_456_789.5), "1.235e8"),
            (json!(100), "100"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(0.0), "0.0"),
            (json!(true), "true"),
        ] {
            assert_eq!(short(&value), text);
        }
    }
}
