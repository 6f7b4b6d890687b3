//! What an author implements to use trained weights: [`Predictor`], and [`PredictInputs`], which is derived.

use crate::input::{Problems, Spec, Values};
use crate::job::{Job, Setup};
use crate::output::PredictOutput;
use crate::weights::Weights;

/// A model that answers, from the base or from what a training made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a predictor",
    label = "not a predictor",
    note = "implement `cog_train::Predictor` for it"
)]
pub trait Predictor: Sized + 'static {
    /// What `predict` is given; a struct with `#[derive(PredictInputs)]`.
    type Inputs: PredictInputs;
    /// What `predict` returns.
    type Output: PredictOutput;

    /// Once per process: load the model. `weights` is what `COG_WEIGHTS` names; without it, use the base.
    ///
    /// # Errors
    ///
    /// Any; the process then predicts nothing.
    fn setup(setup: &Setup, weights: Option<&Weights>) -> anyhow::Result<Self>;

    /// Once per prediction.
    ///
    /// # Errors
    ///
    /// Any; the prediction has then failed.
    fn predict(&mut self, inputs: Self::Inputs, job: &mut Job) -> anyhow::Result<Self::Output>;

    /// Asked between predictions.
    ///
    /// # Errors
    ///
    /// Any; the process then says that it is unhealthy.
    fn healthcheck(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The inputs of a prediction: the same grammar as training inputs, under a name of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of prediction inputs",
    label = "needs `#[derive(PredictInputs)]`",
    note = "put `#[derive(PredictInputs)]` on the struct `{Self}`"
)]
pub trait PredictInputs: Sized + 'static {
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
