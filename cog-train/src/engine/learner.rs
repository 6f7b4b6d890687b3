//! The tensors that a training changes.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::state::State;
use super::training_config::TrainingConfig;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::optim::{Ema, Optimizer};
use crate::params::{Gradients, Param, Params};
use cog_train_nn::__private::tape::Buffers;

// The tensor files of a checkpoint.
const WEIGHTS: &str = "weights";
const OPTIMIZER: &str = "optimizer";
const EMA: &str = "ema";

/// Parameters, the optimizer's state and the moving average, and memory for gradients.
pub(super) struct Learner<'a> {
    pub(super) params: &'a Params,
    pub(super) optimizer: Optimizer,
    pub(super) ema: Option<Ema>,
    /// Memory for the gradients of a step.
    pub(super) buffers: Buffers,
}

/// The tensors of a checkpoint by file.
pub(super) type Files = BTreeMap<String, BTreeMap<String, Tensor>>;

impl<'a> Learner<'a> {
    /// Allocates the optimizer's state and the average.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for settings that do not fit the parameters; [`Error::Tensor`] when the device has no room.
    pub(super) fn new(
        config: &TrainingConfig,
        params: &'a Params,
        mut optimizer: Optimizer,
    ) -> Result<Self, Error> {
        optimizer.prepare(params)?;
        let mut ema = config.ema.map(|decay| Ema::new(decay).warmup());
        if let Some(ema) = &mut ema {
            ema.prepare(params)?;
        }
        let trained = params.trainable().map(|(_, param)| param.compute());
        let buffers = Buffers::new(trained);
        Ok(Self { params, optimizer, ema, buffers })
    }

    /// Updates the weights and their average by gradients, which are multiplied by `scale`.
    pub(super) fn update(
        &mut self,
        gradients: &Gradients,
        learning_rate: f64,
        scale: f64,
        state: &mut State,
    ) -> Result<(), Error> {
        state.updates += 1;
        self.optimizer.step(self.params, gradients, state.updates, learning_rate, scale)?;
        if let Some(ema) = &mut self.ema {
            state.averaged += 1;
            ema.update(self.params, state.averaged)?;
        }
        Ok(())
    }

    /// Exchanges the weights and their average, if there is one.
    pub(super) fn swap_average(&mut self) -> Result<(), Error> {
        self.ema.as_mut().map_or(Ok(()), |ema| ema.swap(self.params))
    }

    /// Returns the tensors of a checkpoint. Frozen parameters are not among them: the author loads them.
    pub(super) fn files(&self) -> Files {
        let tensor = |(name, param): (&str, &Param)| (name.to_owned(), param.master().detach());
        let mut files = BTreeMap::from([
            (WEIGHTS.to_owned(), self.params.changing().map(tensor).collect()),
            (OPTIMIZER.to_owned(), self.optimizer.state()),
        ]);
        files.extend(self.ema.as_ref().map(|ema| (EMA.to_owned(), ema.state())));
        files
    }

    /// Restores everything from a checkpoint of the same run.
    pub(super) fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let device = self.params.device();
        self.restore_weights(checkpoint, WEIGHTS)?;
        self.optimizer.restore(checkpoint.tensors(OPTIMIZER, device)?)?;
        if let Some(ema) = &mut self.ema {
            ema.restore(checkpoint.tensors(EMA, device)?)?;
        }
        Ok(())
    }

    /// Restores what a checkpoint of a run with other settings has. Returns a sentence for each thing that begins anew.
    ///
    /// A parameter that was frozen then keeps its value, one that is frozen now takes the value that it was trained to.
    pub(super) fn restore_changed(
        &mut self,
        checkpoint: &Checkpoint,
        state: &mut State,
    ) -> Result<Vec<&'static str>, Error> {
        let device = self.params.device();
        let mut anew = Vec::new();
        let weights = checkpoint.tensors(WEIGHTS, device)?;
        for (name, param) in self.params.iter() {
            if let Some(tensor) = weights.get(name) {
                param.set(tensor)?;
            }
        }
        let optimizer = checkpoint.tensors(OPTIMIZER, device)?;
        if self.optimizer.restore(optimizer).is_err() {
            state.updates = 0;
            anew.push("the optimizer's state does not fit and begins anew");
        }
        if let Some(ema) = &mut self.ema {
            let restored = checkpoint.tensors(EMA, device).and_then(|state| ema.restore(state));
            if restored.is_err() {
                ema.prepare(self.params)?;
                state.averaged = 0;
                anew.push("the moving average begins with the weights of the checkpoint");
            }
        }
        Ok(anew)
    }

    /// Puts the weights of an evaluation, which its checkpoint holds, in place of the present ones.
    pub(super) fn restore_evaluated(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.restore_weights(checkpoint, if self.ema.is_some() { EMA } else { WEIGHTS })
    }

    fn restore_weights(&self, checkpoint: &Checkpoint, file: &str) -> Result<(), Error> {
        let device = self.params.device();
        let mut tensors = checkpoint.tensors(file, device)?;
        if file != WEIGHTS && self.params.iter().any(|(_, param)| param.is_buffer()) {
            // The average is of trained parameters alone.
            let weights = checkpoint.tensors(WEIGHTS, device)?;
            let is_buffer = |name: &String| self.params.get(name).is_some_and(Param::is_buffer);
            tensors.extend(weights.into_iter().filter(|(name, _)| is_buffer(name)));
        }
        for (name, param) in self.params.changing() {
            let tensor = tensors.get(name).filter(|it| it.dims() == param.master().dims());
            let Some(tensor) = tensor else {
                return Err(Error::Checkpoint {
                    location: checkpoint.path().display().to_string(),
                    reason: format!("it has no `{name}` of shape {:?}", param.master().dims()),
                });
            };
            param.set(tensor)?;
        }
        Ok(())
    }
}
