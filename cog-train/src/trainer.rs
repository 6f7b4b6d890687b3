//! The traits of a program that trains: [`Trainer`], and [`TrainInputs`], which is derived.

use crate::input::{Problems, Spec, Values};
use crate::job::{Job, Setup};
use crate::output::TrainOutput;

/// A fine-tuning job.
///
/// `setup` and every later call run on one thread, so the type need not be `Send`. After a panic in `train` the trainer
/// is dropped and set up again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a trainer",
    label = "not a trainer",
    note = "implement `cog_train::Trainer` for it, or put `#[cog_train::train]` on a function"
)]
pub trait Trainer: Sized + 'static {
    /// The inputs of `train`: a struct with `#[derive(TrainInputs)]`.
    type Inputs: TrainInputs;
    /// The output of `train`.
    type Output: TrainOutput;

    /// Loads expensive, shared state, once per process.
    ///
    /// # Errors
    ///
    /// Any; the process then trains nothing.
    fn setup(setup: &Setup) -> anyhow::Result<Self>;

    /// Runs one training.
    ///
    /// # Errors
    ///
    /// Any; the training has then failed and its output is discarded.
    fn train(&mut self, inputs: Self::Inputs, job: &mut Job) -> anyhow::Result<Self::Output>;

    /// Checks the trainer's health between trainings.
    ///
    /// # Errors
    ///
    /// Any; the process then reports itself unhealthy.
    fn healthcheck(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The inputs of a training: a table of what may be passed, and a constructor from checked values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of training inputs",
    label = "needs `#[derive(TrainInputs)]`",
    note = "put `#[derive(TrainInputs)]` on the struct `{Self}`"
)]
pub trait TrainInputs: Sized + 'static {
    /// The struct's own doc comment, shown by `--help`.
    const ABOUT: &'static str = "";

    /// The table: one row for each field, in their order.
    const TABLE: &'static [Spec];

    /// Creates the struct from values that were checked against [`Self::TABLE`].
    ///
    /// # Errors
    ///
    /// The fields whose values do not fit.
    fn from_values(values: &Values) -> Result<Self, Problems>;
}
