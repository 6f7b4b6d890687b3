//! A trainer inside an author's own program, without `run!`.

use anyhow::Context;
use serde_json::Value;

use super::execute::execute;
use super::given::Given;
use super::observer::Observer;
use super::panics::{guarded, panicked};
use super::request::{Control, FileRules, Request};
use super::role::{Instance, Role};
use super::worker::{Prepared, Worker};
use crate::error::Error;
use crate::input::{self, Unknown, Values};
use crate::job::{Job, Setup};
use crate::output::Output;
use crate::progress::{CancelToken, Silent};
use crate::trainer::{TrainInputs, Trainer};

/// Trains from inside a program of one's own: set up once, trained many times.
///
/// Inputs are checked like those of the command line, each training gets a folder in `runs/`, and nothing is printed:
/// the trainer's lines and metrics are in the folder's `log.txt` and `metrics.jsonl`.
///
/// ```
/// use cog_train::{Runner, prelude::*};
///
/// #[derive(TrainInputs)]
/// struct Inputs {
///     #[input(ge = 1)]
///     steps: u64,
/// }
///
/// struct Counter;
///
/// impl Trainer for Counter {
///     type Inputs = Inputs;
///     type Output = u64;
///
///     fn setup(_setup: &Setup) -> Result<Self> {
///         Ok(Self)
///     }
///
///     fn train(&mut self, inputs: Inputs, _job: &mut Job) -> Result<u64> {
///         Ok(2 * inputs.steps)
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # std::env::set_current_dir(&dir)?;
/// let mut runner = Runner::<Counter>::new(Setup::for_test())?;
/// assert_eq!(runner.train(cog_train::serde_json::json!({"steps": 3}))?, 6);
/// let error = runner.train(cog_train::serde_json::json!({"steps": 0})).unwrap_err();
/// assert!(error.to_string().contains("`steps`: 0 is less than the minimum of 1"));
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct Runner<T: Trainer> {
    setup: Setup,
    slot: Slot<T>,
    control: Control,
}

/// The trainer and its last output.
struct Slot<T: Trainer> {
    /// `None` after a panic: the next training sets it up again.
    trainer: Option<T>,
    output: Option<T::Output>,
}

impl<T: Trainer> Runner<T> {
    /// Sets the trainer up.
    ///
    /// # Errors
    ///
    /// The error of the trainer's `setup`; a panic in it is [`Error::Panicked`].
    pub fn new(setup: Setup) -> anyhow::Result<Self> {
        let trainer = Some(guarded("setup", || T::setup(&setup))?);
        let slot = Slot { trainer, output: None };
        Ok(Self { setup, slot, control: Control::default() })
    }

    /// Returns the token that cancels the current training and all later ones: give it to another thread.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        self.control.cancel.clone()
    }

    /// Trains once. `inputs` is one JSON object; an unknown name is an error.
    ///
    /// # Errors
    ///
    /// [`Error::Inputs`] with every problem of the inputs; else the trainer's error. After a panic the next call sets the
    /// trainer up again.
    #[expect(
        clippy::missing_panics_doc,
        reason = "inputs that are no object are refused, and a success has an output"
    )]
    pub fn train(&mut self, inputs: Value) -> anyhow::Result<T::Output> {
        let Value::Object(inputs) = inputs else {
            let refused = input::check(T::Inputs::TABLE, &inputs, Unknown::Refuse);
            return Err(refused.map(drop).map_err(Error::from).unwrap_err().into());
        };
        let role = Role::trainer::<T>(name_of::<T>());
        let request = Request {
            role: &role,
            inputs: Some(Given::new(inputs, Vec::new())),
            seed: None,
            run_dir: None,
            resume: None,
            destination: None,
            files: FileRules::default(),
        };
        let mut worker = RunnerWorker { setup: &self.setup, slot: &mut self.slot };
        let outcome = execute(&request, &mut worker, &self.control, &Silent);
        let output = self.slot.output.take();
        outcome.result?;
        if let Some(error) = outcome.unrecorded {
            return Err(error).context("the training succeeded, but its end could not be recorded");
        }
        Ok(output.expect("a training that succeeded left its output"))
    }
}

/// The last segment of a type's path, without its parameters.
fn name_of<T>() -> &'static str {
    let path = std::any::type_name::<T>().split('<').next().unwrap_or_default();
    path.rsplit("::").next().unwrap_or("trainer")
}

struct RunnerWorker<'a, T: Trainer> {
    setup: &'a Setup,
    slot: &'a mut Slot<T>,
}

impl<T: Trainer> Worker for RunnerWorker<'_, T> {
    fn prepare(
        &mut self,
        _cancel: &CancelToken,
        _observer: &dyn Observer,
    ) -> anyhow::Result<Prepared<'_>> {
        if self.slot.trainer.is_none() {
            self.slot.trainer = Some(guarded("setup", || T::setup(self.setup))?);
        }
        Ok(Prepared { setup: self.setup, instance: self.slot })
    }
}

impl<T: Trainer> Instance for Slot<T> {
    fn call(&mut self, values: &Values, job: &mut Job) -> anyhow::Result<Option<Output>> {
        let inputs = T::Inputs::from_values(values).map_err(Error::from)?;
        let mut trainer = self.trainer.take().context("the trainer is not set up")?;
        let ended = guarded("train", || trainer.train(inputs, job));
        if !panicked(&ended) {
            self.trainer = Some(trainer);
        }
        self.output = Some(ended?);
        Ok(None)
    }

    fn healthcheck(&mut self) -> anyhow::Result<()> {
        self.trainer.as_mut().map_or(Ok(()), Trainer::healthcheck)
    }
}
