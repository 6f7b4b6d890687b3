//! A trainer inside somebody's own program, without `run!`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use serde_json::{Map, Value};

use super::panics::guarded;
use super::run::{Run, Status, World};
use super::{bring, error_text};
use crate::error::Error;
use crate::input::{self, Unknown, Values};
use crate::job::Setup;
use crate::progress::{CancelToken, Silent};
use crate::trainer::{TrainInputs, Trainer};

/// Trains from inside a program of one's own: set up once, trained many times.
///
/// Inputs are checked like those of the command line, each training gets a folder in `runs/`, and nothing is printed:
/// what the trainer says is in the folder's `log.txt` and `metrics.jsonl`.
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
    /// `None` after a panic: the next training sets it up again.
    trainer: Option<T>,
    cancel: CancelToken,
    save: Arc<AtomicBool>,
}

impl<T: Trainer> Runner<T> {
    /// Sets the trainer up.
    ///
    /// # Errors
    ///
    /// What the trainer's `setup` fails with; a panic in it is [`Error::Panicked`].
    pub fn new(setup: Setup) -> anyhow::Result<Self> {
        let trainer = Some(guarded("setup", || T::setup(&setup))?);
        Ok(Self { setup, trainer, cancel: CancelToken::new(), save: Arc::default() })
    }

    /// The token that stops the training under way and all later ones: give it to another thread.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Trains once. `inputs` is one JSON object; an unknown name is an error.
    ///
    /// # Errors
    ///
    /// [`Error::Inputs`] with all that is wrong with the inputs; else what the trainer fails with. After a panic the
    /// trainer is set up again by the next call.
    #[expect(clippy::needless_pass_by_value, reason = "callers write `json!({...})` in place")]
    pub fn train(&mut self, inputs: Value) -> anyhow::Result<T::Output> {
        let mut values =
            input::check(T::Inputs::TABLE, &inputs, Unknown::Refuse).map_err(Error::from)?.values;
        bring::check(&values).map_err(Error::from)?;
        let name = std::any::type_name::<T>().rsplit("::").next().unwrap_or("trainer");
        let mut run = Run::train(name, None, &values, None)?;
        let mut metrics = Map::new();
        let trained = self.attempt(&mut run, &mut values, &mut metrics);
        let (status, error) = match &trained {
            Ok(_) => (Status::Succeeded, None),
            Err(error) => (Status::of(error), Some(error_text(error))),
        };
        let recorded = run.end(status, &Value::Null, error.as_deref(), &metrics);
        let output = trained?;
        recorded.context("the training succeeded, but its end could not be recorded")?;
        Ok(output)
    }

    fn attempt(
        &mut self,
        run: &mut Run,
        values: &mut Values,
        metrics: &mut Map<String, Value>,
    ) -> anyhow::Result<T::Output> {
        run.bring(T::Inputs::TABLE, values, &self.cancel, &mut Silent)?;
        let inputs = T::Inputs::from_values(values).map_err(Error::from)?;
        let report = Box::new(Silent);
        let mut job =
            run.job(World { setup: &self.setup, cancel: &self.cancel, save: &self.save, report })?;
        let mut trainer = match self.trainer.take() {
            Some(trainer) => trainer,
            None => guarded("setup", || T::setup(&self.setup))?,
        };
        let ended = guarded("train", || trainer.train(inputs, &mut job));
        *metrics = run.metrics(&job);
        let panicked = ended
            .as_ref()
            .is_err_and(|error| matches!(crate::error::find(error), Some(Error::Panicked { .. })));
        if !panicked {
            self.trainer = Some(trainer);
        }
        ended
    }
}
