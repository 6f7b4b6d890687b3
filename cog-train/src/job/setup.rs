//! The process that the author's methods run in.

use candle_core::Device;

use crate::config::Config;
use crate::weights::Weights;

/// The process that a trainer or predictor is set up in.
#[derive(Debug)]
pub struct Setup {
    device: Device,
    weights: Option<Weights>,
    config: Config,
}

impl Setup {
    /// A process with this device, these weights and this `cog.yaml`.
    #[must_use]
    pub fn new(device: Device, weights: Option<Weights>, config: Config) -> Self {
        Self { device, weights, config }
    }

    /// On the CPU, without weights, with an empty `cog.yaml`: for a trainer's own tests.
    #[must_use]
    pub fn for_test() -> Self {
        Self::new(Device::Cpu, None, Config::default())
    }

    /// Returns the device to compute on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the weights that `COG_WEIGHTS` names, opened and checked.
    #[must_use]
    pub fn weights(&self) -> Option<&Weights> {
        self.weights.as_ref()
    }

    /// The project's `cog.yaml`.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}
