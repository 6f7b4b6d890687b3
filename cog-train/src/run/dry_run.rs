//! `--dry-run`: the plan of a training, without the training.
//!
//! Inputs are resolved and files fetched as for a run, into a folder that is removed again. Then `setup` and `train` are
//! called with a job in a dry run: the engine reports what the training would take and returns, and a loop of the author's
//! own is cancelled where it reports its first number. The output and the errors of the code after that are dropped.

use serde_json::{Map, Value, json};

use super::check::{check, find_previous};
use super::folder::RunFolder;
use super::lifecycle::Run;
use super::lifecycle::follower::Lead;
use super::observer::Observer;
use super::publisher::Publisher;
use super::request::{Control, Request};
use super::worker::{Prepared, Worker};
use crate::error::Error;
use crate::input::Values;
use crate::job::{DryRun as Progress, TargetDirs};
use crate::progress::Report;

/// Printed for a trainer with a loop of its own.
const UNKNOWN: &str = "the trainer has a loop of its own: nothing else is known of the run";

/// A run whose inputs are resolved and that trains nothing.
pub(crate) struct DryRun {
    run: Run,
    values: Values,
    /// The inputs as `run.json` would record them.
    pub(crate) inputs: Map<String, Value>,
}

fn lead(request: &Request<'_>, observer: &dyn Observer) -> Result<(Run, Values), Error> {
    let mut previous = find_previous(request, false, observer)?;
    let values = check(request, previous.as_mut())?;
    let run_dir = previous.as_ref().map(|run| run.dir.as_path()).or(request.run_dir);
    let targets = TargetDirs {
        run: RunFolder::probe(run_dir)?,
        output: request.destination.map_or_else(|| ".".into(), Publisher::parent),
    };
    let run = Run::dry_run(previous, &values, request.seed, request.is_forced(), targets)?;
    Ok((run, values))
}

impl DryRun {
    /// Resolves the inputs of a request.
    pub(crate) fn open(
        request: &Request<'_>,
        control: &Control,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let (mut run, mut values) = if control.ranks.is_follower() {
            let lead = Lead::share(None, &control.ranks)?.ok_or(Error::Cancelled)?;
            let (run, values) = lead.follow(request)?;
            (run.into_dry_run(), values)
        } else {
            let (run, values) = lead(request, observer)?;
            Lead::share(Some(&run.lead(request)), &control.ranks)?;
            (run, values)
        };
        run.register(&control.active);
        let (table, mut report) = (request.role.table, observer.report());
        let inputs =
            run.fetch_inputs(table, &mut values, request.files, &control.cancel, report.as_mut())?;
        Ok(Self { run, values, inputs })
    }

    /// Returns the seed and its origin. A seed that is drawn is another one when the run starts.
    pub(crate) fn seed(&self) -> Value {
        match self.run.seed() {
            (_, "drawn") if !self.run.is_resumed() => json!({"value": null, "origin": "drawn"}),
            (seed, _) if self.run.is_resumed() => json!({"value": seed, "origin": "run.json"}),
            (seed, origin) => json!({"value": seed, "origin": origin}),
        }
    }

    /// Sends the lines of the plan to `report`. Returns the device.
    pub(crate) fn plan(
        mut self,
        worker: &mut dyn Worker,
        control: &Control,
        observer: &dyn Observer,
        report: Box<dyn Report>,
    ) -> anyhow::Result<String> {
        let Prepared { setup, instance } = worker.prepare(&control.cancel, observer)?;
        let device = format!("{:?}", setup.device().location()).to_lowercase();
        control.cancel.check()?;
        let mut job = self.run.job(setup, control, report)?;
        let ended = instance.call(&self.values, &mut job);
        match (job.dry_run(), ended) {
            (Progress::Reported, _) => {}
            (Progress::Started, Err(error)) => return Err(error),
            (Progress::Started | Progress::OwnLoop { .. }, _) => {
                job.open_dry_run_report();
                job.line(UNKNOWN);
            }
        }
        Ok(device)
    }
}
