//! What an author implements to train: [`Trainer`], and [`TrainInputs`], which is derived.

use crate::input::{Problems, Spec, Values};
use crate::job::{Job, Setup};
use crate::output::TrainOutput;

/// A fine-tuning job.
///
/// `setup` and every later call run on one thread, so nothing here needs to be `Send`. After a panic in `train` the
/// trainer is dropped and set up again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a trainer",
    label = "not a trainer",
    note = "implement `cog_train::Trainer` for it, or put `#[cog_train::train]` on a function"
)]
pub trait Trainer: Sized + 'static {
    /// What `train` is given; a struct with `#[derive(TrainInputs)]`.
    type Inputs: TrainInputs;
    /// What `train` returns.
    type Output: TrainOutput;

    /// Once per process: load what is costly and shared.
    ///
    /// # Errors
    ///
    /// Any; the process then trains nothing.
    fn setup(setup: &Setup) -> anyhow::Result<Self>;

    /// Once per training.
    ///
    /// # Errors
    ///
    /// Any; the training has then failed and nothing of its output is kept.
    fn train(&mut self, inputs: Self::Inputs, job: &mut Job) -> anyhow::Result<Self::Output>;

    /// Asked between trainings.
    ///
    /// # Errors
    ///
    /// Any; the process then says that it is unhealthy.
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
    /// What the inputs are for as a whole, in the author's words: the struct's own doc comment, shown by `--help`.
    const ABOUT: &'static str = "";

    /// One row for each field, in the order of the fields.
    const TABLE: &'static [Spec];

    /// The struct, from values that were checked against [`Self::TABLE`].
    ///
    /// # Errors
    ///
    /// The fields whose values do not fit.
    fn from_values(values: &Values) -> Result<Self, Problems>;
}
