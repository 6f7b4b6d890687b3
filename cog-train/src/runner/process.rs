//! The process around one run: its device, its weights, the author's methods.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use serde_json::{Map, Value};

use super::act::OUTPUT_AGAIN;
use super::args::Act;
use super::outputs::{Destination, Written};
use super::roles::{Actor, Kind, Role};
use super::run::{Run, World};
use super::terminal::Terminal;
use crate::device::driver_cuda;
use crate::error::Error;
use crate::input::Values;
use crate::job::{Job, Setup};
use crate::output::Output;
use crate::progress::{CancelToken, Report};
use crate::weights::Weights;

pub(crate) struct Process<'a> {
    pub(crate) role: &'a Role,
    pub(crate) act: &'a Act,
    pub(crate) config: &'a crate::config::Config,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) save: &'a Arc<AtomicBool>,
    pub(crate) terminal: &'a Terminal,
}

impl Process<'_> {
    /// From checked inputs to a written output.
    pub(crate) fn carry_out(
        &self,
        run: &mut Run,
        values: &mut Values,
        destination: &Destination,
        metrics: &mut Map<String, Value>,
    ) -> anyhow::Result<Written> {
        run.bring(self.role.table, values, self.cancel, &mut self.terminal.clone())?;
        if let Some(ended) = run.returned()? {
            *metrics = ended.metrics;
            let written = destination.write(&ended.output)?;
            self.terminal.note(OUTPUT_AGAIN);
            return Ok(written);
        }
        let setup = self.setup()?;
        let mut actor = (self.role.setup)(&setup)?;
        self.cancel.check()?;
        let output = self.call(run, actor.as_mut(), values, &setup, metrics)?;
        run.keep(&output);
        Ok(destination.write(&output)?)
    }

    /// What the author's `setup` is given.
    pub(crate) fn setup(&self) -> anyhow::Result<Setup> {
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
        let mut job = self.job(run, setup, Box::new(self.terminal.clone()))?;
        let ended = actor.act(values, &mut job);
        *metrics = run.metrics(&job);
        if let Some(lost) = job.take_lost() {
            self.terminal.warning(&format!("some of the run's log is lost: {lost}"));
        }
        if run.is_resumed() && !job.was_resume_read() {
            self.terminal.warning(
                "the trainer looks for no checkpoint: it started over\n\
                 hint: `Job::resume_from` says where a loop of one's own goes on from",
            );
        }
        ended
    }

    pub(crate) fn job(
        &self,
        run: &mut Run,
        setup: &Setup,
        report: Box<dyn Report>,
    ) -> Result<Job, Error> {
        run.job(World { setup, cancel: self.cancel, save: self.save, report })
    }
}
