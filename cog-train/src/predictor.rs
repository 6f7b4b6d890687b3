//! The traits of a program that uses trained weights: [`Predictor`], and [`PredictInputs`], which is derived.

use crate::input::{Problems, Spec, Values};
use crate::job::{Job, Setup};
use crate::output::PredictOutput;
use crate::weights::Weights;

/// A model that predicts, with the base weights or with those of a training.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a predictor",
    label = "not a predictor",
    note = "implement `cog_train::Predictor` for it"
)]
pub trait Predictor: Sized + 'static {
    /// The inputs of `predict`: a struct with `#[derive(PredictInputs)]`.
    type Inputs: PredictInputs;
    /// The output of `predict`.
    type Output: PredictOutput;

    /// Loads the model, once per process. `weights` are those that `COG_WEIGHTS` names; without them, load the base.
    ///
    /// # Errors
    ///
    /// Any; the process then predicts nothing.
    fn setup(setup: &Setup, weights: Option<&Weights>) -> anyhow::Result<Self>;

    /// Runs one prediction.
    ///
    /// # Errors
    ///
    /// Any; the prediction has then failed.
    fn predict(&mut self, inputs: Self::Inputs, job: &mut Job) -> anyhow::Result<Self::Output>;

    /// Checks the model's health between predictions.
    ///
    /// # Errors
    ///
    /// Any; the process then reports itself unhealthy.
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
