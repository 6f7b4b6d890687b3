//! The supplier of the author's instance: its device, its weights, its `setup`.

use std::path::Path;

use anyhow::Context;

use super::observer::Observer;
use super::panics::panicked;
use super::role::{Instance, Kind, Role};
use crate::config::Config;
use crate::device::{DeviceChoice, driver_cuda};
use crate::error::Error;
use crate::input::Values;
use crate::job::{Job, Setup};
use crate::output::Output;
use crate::progress::CancelToken;
use crate::weights::Weights;

/// Supplies the instance that a run calls.
pub(crate) trait Worker {
    /// Sets the instance up, unless it is. Called once the inputs are fetched.
    fn prepare(
        &mut self,
        cancel: &CancelToken,
        observer: &dyn Observer,
    ) -> anyhow::Result<Prepared<'_>>;
}

/// An instance and the process that it was set up in.
pub(crate) struct Prepared<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) instance: &'a mut dyn Instance,
}

/// Sets a role up on the requested device with the weights of `COG_WEIGHTS`, once for all runs.
pub(crate) struct RoleWorker<'a> {
    role: &'a Role,
    device: DeviceChoice,
    local_rank: usize,
    config: &'a Config,
    setup: Option<Setup>,
    slot: Slot,
}

/// An instance, until it panics: the next run sets up another one.
#[derive(Default)]
struct Slot(Option<Box<dyn Instance>>);

impl<'a> RoleWorker<'a> {
    pub(crate) fn new(role: &'a Role, device: DeviceChoice, config: &'a Config) -> Self {
        Self { role, device, local_rank: 0, config, setup: None, slot: Slot::default() }
    }

    /// Sets the number of this process among those of its machine, each of which has a GPU of its own.
    pub(crate) fn local_rank(mut self, local_rank: usize) -> Self {
        self.local_rank = local_rank;
        self
    }

    /// Asks the instance for its health. One that is not set up is healthy.
    #[cfg(feature = "serve")]
    pub(crate) fn healthcheck(&mut self) -> anyhow::Result<()> {
        self.slot.healthcheck()
    }

    fn open(&self, cancel: &CancelToken, observer: &dyn Observer) -> anyhow::Result<Setup> {
        let (device, description) = self.device.open(self.config.gpu(), self.local_rank)?;
        if device.is_cuda()
            && let Some(driver) = driver_cuda()
        {
            self.config.cuda_runs_on(driver).map_err(Error::from)?;
        }
        if self.role.kind == Kind::Train {
            observer.note(&description);
        }
        check_weights_path()?;
        let weights =
            Weights::from_env_with(cancel, observer.report().as_mut()).context("COG_WEIGHTS")?;
        Ok(Setup::new(device, weights, self.config.clone()))
    }
}

/// Refuses a `COG_WEIGHTS` without the extension of the file that is there: `-o weights` writes `weights.safetensors`.
fn check_weights_path() -> anyhow::Result<()> {
    let source = std::env::var("COG_WEIGHTS").unwrap_or_default();
    let file = format!("{source}.safetensors");
    if source.is_empty() || Path::new(&source).exists() || !Path::new(&file).is_file() {
        return Ok(());
    }
    let reason =
        format!("no such file or folder\nhint: `{file}` is there: set `COG_WEIGHTS={file}`");
    Err(Error::Weights { location: source, reason }).context("COG_WEIGHTS")
}

impl Worker for RoleWorker<'_> {
    fn prepare(
        &mut self,
        cancel: &CancelToken,
        observer: &dyn Observer,
    ) -> anyhow::Result<Prepared<'_>> {
        if self.setup.is_none() {
            self.setup = Some(self.open(cancel, observer)?);
        }
        let setup = self.setup.as_ref().context("the process is set up")?;
        if self.slot.0.is_none() {
            self.slot.0 = Some(self.role.instantiate(setup)?);
        }
        Ok(Prepared { setup, instance: &mut self.slot })
    }
}

impl Instance for Slot {
    fn call(&mut self, values: &Values, job: &mut Job) -> anyhow::Result<Option<Output>> {
        let instance = self.0.as_mut().context("the instance is set up")?;
        let ended = instance.call(values, job);
        if panicked(&ended) {
            self.0 = None;
        }
        ended
    }

    fn healthcheck(&mut self) -> anyhow::Result<()> {
        self.0.as_mut().map_or(Ok(()), |instance| instance.healthcheck())
    }
}
