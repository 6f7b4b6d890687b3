//! A trainer or a predictor without its types: what the command line and the server call.

use super::panics::guarded;
use crate::input::{Spec, Values};
use crate::job::{Job, Setup};
use crate::output::{Output, OutputType, PredictOutput, TrainOutput};
use crate::predictor::{PredictInputs, Predictor};
use crate::trainer::{TrainInputs, Trainer};

/// What a binary does: train or predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Train,
    Predict,
}

/// One of the two types given to `run!`.
#[derive(Clone, Copy)]
pub(crate) struct Role {
    pub(crate) kind: Kind,
    /// The last segment of the type's path.
    pub(crate) name: &'static str,
    /// The doc comment of the inputs.
    pub(crate) about: &'static str,
    pub(crate) table: &'static [Spec],
    pub(crate) output: fn() -> OutputType,
    pub(crate) setup: fn(&Setup) -> anyhow::Result<Box<dyn Actor>>,
}

/// A trainer or predictor that is set up.
pub(crate) trait Actor {
    /// One training or prediction. Values were checked against the role's table.
    fn act(&mut self, values: &Values, job: &mut Job) -> anyhow::Result<Output>;
}

impl Role {
    pub(crate) fn trainer<T: Trainer>(name: &'static str) -> Self {
        Self {
            kind: Kind::Train,
            name,
            about: T::Inputs::ABOUT,
            table: T::Inputs::TABLE,
            output: <T::Output as TrainOutput>::output_type,
            setup: |setup| Ok(Box::new(Training(guarded("setup", || T::setup(setup))?))),
        }
    }

    pub(crate) fn predictor<P: Predictor>(name: &'static str) -> Self {
        Self {
            kind: Kind::Predict,
            name,
            about: P::Inputs::ABOUT,
            table: P::Inputs::TABLE,
            output: <P::Output as PredictOutput>::output_type,
            setup: |setup| {
                Ok(Box::new(Predicting(guarded("setup", || P::setup(setup, setup.weights()))?)))
            },
        }
    }
}

struct Training<T>(T);
struct Predicting<P>(P);

impl<T: Trainer> Actor for Training<T> {
    fn act(&mut self, values: &Values, job: &mut Job) -> anyhow::Result<Output> {
        let inputs = T::Inputs::from_values(values).map_err(crate::Error::from)?;
        Ok(TrainOutput::into_output(guarded("train", || self.0.train(inputs, job))?))
    }
}

impl<P: Predictor> Actor for Predicting<P> {
    fn act(&mut self, values: &Values, job: &mut Job) -> anyhow::Result<Output> {
        let inputs = P::Inputs::from_values(values).map_err(crate::Error::from)?;
        Ok(PredictOutput::into_output(guarded("predict", || self.0.predict(inputs, job))?))
    }
}
