//! A training by `fit`, watched.

use std::cell::RefCell;
use std::time::Instant;

use cog_train::anyhow::{Result, bail, ensure};
use cog_train::engine::{Params, StepContext, Training, TrainingConfig, fit};
use cog_train::optim::{AdamW, Group, Optimizer};
use cog_train::serde_json::{Map, Value, json};
use cog_train::{Job, engine};

use crate::data::{Batch, Batches};
use crate::models::Model;
use crate::process::{age, peak_mib};

/// First steps that no figure counts.
const WARM: usize = 3;
/// Of every trainable tensor, biases and norms too.
const WEIGHT_DECAY: f64 = 0.01;

#[derive(Clone, Copy)]
pub struct Settings {
    pub steps: u64,
    pub learning_rate: f64,
}

/// The results.
#[derive(Default)]
pub struct Trained {
    /// The mean loss of each step, before its update.
    pub losses: Vec<f64>,
    /// The beginnings of the steps, and the end of the last.
    begun: Vec<Instant>,
    /// Seconds from the start of the process to the end of its first step.
    first: f64,
    peak_mib: f64,
}

/// Says to `fit` that all steps are taken. Its last checkpoint is left out: the other side saves nothing either.
#[derive(Debug, thiserror::Error)]
#[error("all steps are taken")]
struct Enough;

/// Trains for as many steps as the settings say.
pub fn train(
    params: &Params,
    batches: Batches,
    model: &dyn Model,
    settings: Settings,
) -> Result<Trained> {
    let dir = tempfile::tempdir()?;
    let mut job = Job::for_test(dir.path());
    let train = batches.loader(settings.steps + 1);
    let optimizer = Optimizer::new(AdamW { weight_decay: WEIGHT_DECAY, ..AdamW::default() });
    let training = Training {
        config: TrainingConfig {
            learning_rate: settings.learning_rate,
            ..TrainingConfig::default()
        },
        params,
        optimizer: optimizer.group("*", Group::new().weight_decay(WEIGHT_DECAY)),
        train,
        eval: None,
    };
    let trained = RefCell::new(Trained::default());
    let objective = |batch: &Batch, context: &StepContext| -> Result<engine::Loss> {
        let mut trained = trained.borrow_mut();
        trained.begun.push(Instant::now());
        if context.step() == 1 {
            trained.first = age()?;
        }
        if context.step() == settings.steps {
            trained.peak_mib = peak_mib()?;
            bail!(Enough);
        }
        let loss = model.loss(batch)?;
        trained.losses.push(loss.value()? / loss.weight());
        Ok(loss)
    };
    match fit(training, &objective, &mut job) {
        Err(error) if error.is::<Enough>() => {}
        Err(error) => return Err(error),
        Ok(fitted) => bail!("{} steps, and `fit` came to its end", fitted.steps),
    }
    let trained = trained.into_inner();
    ensure!(trained.losses.iter().all(|loss| loss.is_finite()), "{:?}", trained.losses);
    Ok(trained)
}

impl Trained {
    pub fn record(&self) -> Map<String, Value> {
        let all: Vec<f64> =
            self.begun.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect();
        let mut times = all[WARM..].to_vec();
        times.sort_unstable_by(f64::total_cmp);
        let middle = times.len() / 2;
        let median = f64::midpoint(times[middle], times[(times.len() - 1) / 2]);
        [
            ("step_ms", json!(median)),
            ("min_ms", json!(times[0])),
            ("times_ms", json!(all)),
            ("peak_rss_mb", json!(self.peak_mib)),
            ("first_step_s", json!(self.first)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}
