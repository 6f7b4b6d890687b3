//! The supplier of the author's instance: its device, its weights, its `setup`.

use std::path::Path;

use anyhow::Context;

use super::observer::Observer;
use super::role::{Instance, Kind, Role};
use crate::config::Config;
use crate::device::{DeviceChoice, driver_cuda};
use crate::error::Error;
use crate::job::Setup;
use crate::progress::CancelToken;
use crate::weights::Weights;

/// Supplies the instance that a run calls.
pub(crate) trait Worker {
    /// Sets the instance up. Called once the inputs are fetched.
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

/// Sets a role up on the requested device with the weights of `COG_WEIGHTS`.
pub(crate) struct RoleWorker<'a> {
    role: &'a Role,
    device: DeviceChoice,
    config: &'a Config,
    setup: Option<Setup>,
    instance: Option<Box<dyn Instance>>,
}

impl<'a> RoleWorker<'a> {
    pub(crate) fn new(role: &'a Role, device: DeviceChoice, config: &'a Config) -> Self {
        Self { role, device, config, setup: None, instance: None }
    }

    fn setup(&self, cancel: &CancelToken, observer: &dyn Observer) -> anyhow::Result<Setup> {
        let (device, description) = self.device.open(self.config.gpu())?;
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
        let setup = self.setup(cancel, observer)?;
        let setup = self.setup.insert(setup);
        let instance = self.role.instantiate(setup)?;
        Ok(Prepared { setup, instance: self.instance.insert(instance).as_mut() })
    }
}
