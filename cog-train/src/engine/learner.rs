//! The tensors that a training changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::owners::Owners;
use super::pass_time::PassTime;
use super::ranks::{LEAD, Ranks};
use super::state::State;
use super::training_config::TrainingConfig;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::optim::{Ema, Optimizer, Slot, check_state};
use crate::params::{Gradients, Param, Params, Precision, RowRange};
use cog_train_nn::__private::tape::Buffers;

// The tensor files of a checkpoint.
const WEIGHTS: &str = "weights";
const OPTIMIZER: &str = "optimizer";
const EMA: &str = "ema";

/// Parameters, the optimizer's state and the moving average, and memory for gradients. Of the state and the average, each rank
/// has those of the rows that it owns.
pub(super) struct Learner<'a> {
    pub(super) params: &'a Params,
    pub(super) optimizer: Optimizer,
    pub(super) ema: Option<Ema>,
    /// Memory for the gradients of a micro-batch.
    pub(super) buffers: Buffers,
    pub(super) ranks: Ranks,
    pub(super) owners: Arc<Owners>,
    /// Whether the buckets are in the order in which a backward pass completes their gradients.
    pub(super) is_ordered: bool,
    /// The time of the passes so far.
    pub(super) passes: PassTime,
}

/// The tensors of a checkpoint's file by name.
type Tensors = BTreeMap<String, Tensor>;

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
        ranks: &Ranks,
    ) -> Result<Self, Error> {
        let owners = Owners::new(params, &optimizer, ranks.world());
        optimizer.prepare_rows(params, |name, _| owners.rows(name, ranks.rank()))?;
        let ema = config.ema.map(|decay| Ema::new(decay).warmup());
        let trained = params.trainable().map(|(_, param)| param.compute());
        let buffers = Buffers::new(trained);
        let (owners, ranks) = (Arc::new(owners), ranks.clone());
        let (is_ordered, passes) = (ranks.is_alone(), PassTime::default());
        let mut learner =
            Self { params, optimizer, ema, buffers, ranks, owners, is_ordered, passes };
        learner.begin_average()?;
        Ok(learner)
    }

    /// Begins the moving average with the weights as they are.
    fn begin_average(&mut self) -> Result<(), Error> {
        let Some(ema) = &mut self.ema else { return Ok(()) };
        let (owners, rank) = (&self.owners, self.ranks.rank());
        ema.prepare_rows(self.params, |name, _| owners.rows(name, rank))
    }

    /// Gives all ranks the weights of the first. Each keeps the masters of the rows that it owns.
    pub(super) fn align(&mut self) -> Result<(), Error> {
        if self.ranks.is_alone() {
            return Ok(());
        }
        for (name, param) in self.params.trainable() {
            param.hold(param.all_rows())?;
            let weights = self.ranks.broadcast(&param.master().detach(), LEAD)?;
            if !self.ranks.leads() {
                param.set(&weights)?;
            }
            param.hold(self.owners.rows(name, self.ranks.rank()))?;
        }
        self.begin_average()
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
        self.owners.publish(self.params, &self.ranks)
    }

    /// Takes the memory of a gradient back for the next one of its parameter.
    pub(super) fn recycle(&mut self, name: &str, gradient: Tensor) {
        if let Some(param) = self.params.get(name) {
            self.buffers.recycle(param.compute(), gradient);
        }
    }

    /// Exchanges the weights and their average, if there is one.
    pub(super) fn swap_average(&mut self) -> Result<(), Error> {
        let Some(ema) = &mut self.ema else { return Ok(()) };
        ema.swap(self.params)?;
        self.owners.publish(self.params, &self.ranks)
    }

    /// Gives every rank all weights, as the training leaves them.
    pub(super) fn publish_weights(&self) -> Result<(), Error> {
        if self.params.computes_in() == Precision::F32 {
            return Ok(()); // the model computes with them
        }
        self.params.trainable().try_for_each(|(_, param)| param.hold(param.all_rows()))?;
        self.owners.publish_masters(self.params, &self.ranks)
    }

    /// Returns the names of the files of a checkpoint.
    pub(super) fn files(&self) -> Vec<&'static str> {
        [WEIGHTS, OPTIMIZER].into_iter().chain(self.ema.as_ref().map(|_| EMA)).collect()
    }

    /// Hands each tensor of a checkpoint to `write(file, name, tensor)` on the first rank, one at a time. Frozen parameters are
    /// not among them: the author loads them. Every rank calls it; a failure of `write` does not keep it from its part in what
    /// follows.
    pub(super) fn write_to(
        &self,
        mut write: impl FnMut(&str, &str, &Tensor) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut written = Ok(());
        let mut hand = |file: &str, name: &str, tensor: Option<Tensor>| {
            if let Some(tensor) = tensor
                && written.is_ok()
            {
                written = write(file, name, &tensor);
            }
        };
        for (name, param) in self.params.changing() {
            let own = |rows: &RowRange| param.rows(rows);
            let tensor =
                self.owners.gather(name, param, (param.dims(), DType::F32), own, &self.ranks)?;
            hand(WEIGHTS, name, tensor);
        }
        for (file, slots) in self.slots() {
            for Slot { name, param: of, dims, dtype, var, .. } in slots {
                let Some(param) = self.params.get(&of) else { continue };
                // Its owner has a variable.
                let own = |_: &RowRange| {
                    var.as_ref()
                        .map_or_else(|| self.zeros(&dims, dtype), |it| Ok(it.as_detached_tensor()))
                };
                hand(
                    file,
                    &name,
                    self.owners.gather(&of, param, (&dims, dtype), own, &self.ranks)?,
                );
            }
        }
        written
    }

    fn zeros(&self, dims: &[usize], dtype: DType) -> Result<Tensor, Error> {
        Ok(Tensor::zeros(dims, dtype, self.params.device())?)
    }

    /// Returns the state beside the weights, by file.
    fn slots(&self) -> Vec<(&'static str, Vec<Slot>)> {
        let of_ema = self.ema.as_ref().map(|ema| (EMA, ema.slots()));
        std::iter::once((OPTIMIZER, self.optimizer.slots())).chain(of_ema).collect()
    }

    /// Restores everything from a checkpoint of the same run, which the first rank has.
    pub(super) fn restore(&mut self, checkpoint: Option<&Checkpoint>) -> anyhow::Result<()> {
        self.restore_weights(checkpoint, WEIGHTS)?;
        for (file, slots) in self.slots() {
            let state = self.read(checkpoint, file);
            let state = state.and_then(|state| checked(file, &slots, state));
            self.distribute(slots, self.ranks.all_done(state)?)?;
        }
        Ok(())
    }

    /// Restores what a checkpoint of a run with other settings has. Returns a sentence for each thing that begins anew.
    ///
    /// A parameter that was frozen then keeps its value, one that is frozen now takes the value that it was trained to.
    pub(super) fn restore_changed(
        &mut self,
        checkpoint: Option<&Checkpoint>,
        state: &mut State,
    ) -> anyhow::Result<Vec<&'static str>> {
        let mut anew = Vec::new();
        let mut weights = self.ranks.all_done(self.read(checkpoint, WEIGHTS))?;
        let known = weights.as_ref().map(|weights| weights.keys().cloned().collect());
        let known: Vec<String> = self.ranks.on_lead(|| Ok(known.unwrap_or_default()))?;
        for name in known {
            if let Some(param) = self.params.get(&name) {
                let own = weights.as_mut().and_then(|weights| weights.remove(&name));
                param.set(&self.of_lead(own, param.dims(), DType::F32)?)?;
            }
        }
        for (file, slots) in self.slots() {
            let found = self.read(checkpoint, file).and_then(|it| checked(file, &slots, it));
            let fits = self.ranks.on_lead(|| Ok(found.is_ok()))?;
            if let (true, Ok(found)) = (fits, found) {
                self.distribute(slots, found)?;
            } else if file == OPTIMIZER {
                state.updates = 0;
                anew.push("the optimizer's state does not fit and begins anew");
            } else {
                self.begin_average()?;
                state.averaged = 0;
                anew.push("the moving average begins with the weights of the checkpoint");
            }
        }
        Ok(anew)
    }

    /// Puts the weights of an evaluation, which its checkpoint holds, in place of the present ones.
    pub(super) fn restore_evaluated(&self, checkpoint: Option<&Checkpoint>) -> anyhow::Result<()> {
        self.restore_weights(checkpoint, if self.ema.is_some() { EMA } else { WEIGHTS })
    }

    fn restore_weights(&self, checkpoint: Option<&Checkpoint>, file: &str) -> anyhow::Result<()> {
        let mut tensors = self.ranks.all_done(self.read_weights(checkpoint, file))?;
        for (name, param) in self.params.changing() {
            let own = tensors.as_mut().and_then(|tensors| tensors.remove(name));
            param.set(&self.of_lead(own, param.dims(), DType::F32)?)?;
        }
        Ok(())
    }

    /// Reads the weights of a checkpoint, and checks their shapes.
    fn read_weights(
        &self,
        checkpoint: Option<&Checkpoint>,
        file: &str,
    ) -> Result<Option<Tensors>, Error> {
        let Some(checkpoint) = checkpoint else { return Ok(None) };
        let device = self.params.device();
        let mut tensors = checkpoint.tensors(file, device)?;
        if file != WEIGHTS && self.params.iter().any(|(_, param)| param.is_buffer()) {
            // The average is of trained parameters alone.
            let weights = checkpoint.tensors(WEIGHTS, device)?;
            let is_buffer = |name: &String| self.params.get(name).is_some_and(Param::is_buffer);
            tensors.extend(weights.into_iter().filter(|(name, _)| is_buffer(name)));
        }
        for (name, param) in self.params.changing() {
            if tensors.get(name).is_none_or(|tensor| tensor.dims() != param.dims()) {
                return Err(Error::Checkpoint {
                    location: checkpoint.path().display().to_string(),
                    reason: format!("it has no `{name}` of shape {:?}", param.dims()),
                });
            }
        }
        Ok(Some(tensors))
    }

    /// Reads a file of a checkpoint, where there is one.
    fn read(&self, checkpoint: Option<&Checkpoint>, file: &str) -> Result<Option<Tensors>, Error> {
        checkpoint.map(|it| it.tensors(file, self.params.device())).transpose()
    }

    /// Hands a state of the first rank to the owners.
    fn distribute(&self, slots: Vec<Slot>, mut state: Option<Tensors>) -> Result<(), Error> {
        for slot in slots {
            // Each is freed once it is written.
            let own = state.as_mut().and_then(|state| state.remove(&slot.name));
            let holders =
                self.params.get(&slot.param).map(|it| self.owners.holders(&slot.param, it));
            let here = holders.is_some_and(|it| it.iter().all(|holder| holder.rank == LEAD));
            let values = if here { own } else { Some(self.of_lead(own, &slot.dims, slot.dtype)?) };
            if let Some(values) = values {
                slot.set(&values)?;
            }
        }
        Ok(())
    }

    /// Returns a tensor of the first rank, which has it, on all ranks.
    fn of_lead(&self, own: Option<Tensor>, dims: &[usize], dtype: DType) -> Result<Tensor, Error> {
        let tensor = match own {
            Some(tensor) => tensor.to_dtype(dtype)?,
            None => self.zeros(dims, dtype)?,
        };
        if self.ranks.is_alone() { Ok(tensor) } else { self.ranks.broadcast(&tensor, LEAD) }
    }
}

/// Returns a state that has the names and shapes of `slots`.
fn checked(file: &str, slots: &[Slot], state: Option<Tensors>) -> Result<Option<Tensors>, Error> {
    let what = if file == EMA { "moving average" } else { file };
    if let Some(state) = &state {
        check_state(what, slots, state)?;
    }
    Ok(state)
}
