//! A trainer or predictor type without its type parameters.

use super::panics::guarded;
use crate::input::{Spec, Values};
use crate::job::{Job, Setup};
use crate::output::{Output, OutputType, PredictOutput, TrainOutput};
use crate::predictor::{PredictInputs, Predictor};
use crate::trainer::{TrainInputs, Trainer};

/// The two kinds of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Train,
    Predict,
}

/// A trainer or predictor type.
#[derive(Clone, Copy)]
pub(crate) struct Role {
    pub(crate) kind: Kind,
    /// The last segment of the type's path.
    pub(crate) name: &'static str,
    /// The doc comment of the inputs.
    pub(crate) about: &'static str,
    pub(crate) table: &'static [Spec],
    pub(crate) output: fn() -> OutputType,
    /// The inputs of the program's predictor, which may try what a trainer has made.
    pub(crate) predictor: Option<&'static [Spec]>,
    /// The command of a program of several trainers that selects this one.
    pub(crate) command: Option<&'static str>,
    instantiate: fn(&Setup) -> anyhow::Result<Box<dyn Instance>>,
}

/// A trainer or predictor that is set up.
pub(crate) trait Instance {
    /// Trains or predicts once. `values` were checked against the role's table. `None` when the instance keeps the output
    /// itself.
    fn call(&mut self, values: &Values, job: &mut Job) -> anyhow::Result<Option<Output>>;

    /// Checks the health between two calls.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "a server asks for it"))]
    fn healthcheck(&mut self) -> anyhow::Result<()>;
}

impl Role {
    pub(crate) fn trainer<T: Trainer>(name: &'static str) -> Self {
        Self {
            kind: Kind::Train,
            name,
            about: T::Inputs::ABOUT,
            table: T::Inputs::TABLE,
            output: <T::Output as TrainOutput>::output_type,
            predictor: None,
            command: None,
            instantiate: |setup| {
                Ok(Box::new(TrainerInstance(guarded("setup", || T::setup(setup))?)))
            },
        }
    }

    pub(crate) fn predictor<P: Predictor>(name: &'static str) -> Self {
        Self {
            kind: Kind::Predict,
            name,
            about: P::Inputs::ABOUT,
            table: P::Inputs::TABLE,
            output: <P::Output as PredictOutput>::output_type,
            predictor: None,
            command: None,
            instantiate: |setup| {
                let predictor = guarded("setup", || P::setup(setup, setup.weights()))?;
                Ok(Box::new(PredictorInstance(predictor)))
            },
        }
    }

    /// A trainer that no worker sets up, with these inputs.
    #[cfg(all(any(test, fuzzing), feature = "serve"))]
    pub(crate) fn without_code(table: &'static [Spec]) -> Self {
        Self {
            kind: Kind::Train,
            name: "Trainer",
            about: "",
            table,
            output: <u64 as TrainOutput>::output_type,
            predictor: None,
            command: None,
            instantiate: |_| anyhow::bail!("it has no code"),
        }
    }

    /// Calls the type's `setup`.
    pub(crate) fn instantiate(&self, setup: &Setup) -> anyhow::Result<Box<dyn Instance>> {
        (self.instantiate)(setup)
    }
}

struct TrainerInstance<T>(T);
struct PredictorInstance<P>(P);

impl<T: Trainer> Instance for TrainerInstance<T> {
    fn call(&mut self, values: &Values, job: &mut Job) -> anyhow::Result<Option<Output>> {
        let inputs = T::Inputs::from_values(values).map_err(crate::Error::from)?;
        let output = guarded("train", || self.0.train(inputs, job))?;
        Ok(Some(TrainOutput::into_output(output)))
    }

    fn healthcheck(&mut self) -> anyhow::Result<()> {
        guarded("healthcheck", || self.0.healthcheck())
    }
}

impl<P: Predictor> Instance for PredictorInstance<P> {
    fn call(&mut self, values: &Values, job: &mut Job) -> anyhow::Result<Option<Output>> {
        let inputs = P::Inputs::from_values(values).map_err(crate::Error::from)?;
        let output = guarded("predict", || self.0.predict(inputs, job))?;
        Ok(Some(PredictOutput::into_output(output)))
    }

    fn healthcheck(&mut self) -> anyhow::Result<()> {
        guarded("healthcheck", || self.0.healthcheck())
    }
}
