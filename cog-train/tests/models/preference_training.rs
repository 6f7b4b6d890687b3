//! Trainings on preferences against TRL. `tests/python/preferences.py` makes the fixture.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::data::{Batching, Collate, Loader, Rows};
use cog_train::engine::{
    EvalScores, Loss, Objective, Params, Precision, StepContext, StepReport, Training,
    TrainingConfig, TrainingSummary, fit,
};
use cog_train::lora::{Adapter, Bias, LoraConfig, Modules};
use cog_train::models::{CausalLm, PreferenceBatch, PreferenceLoss, Pretrained};
use cog_train::nn::{self, Init, Rng};
use cog_train::optim::{AdamW, Clip, Optimizer};
use cog_train::text::{ExampleBuilder, Preference, Preferences, TextRows, Tokenizer};
use cog_train::{CancelToken, Error, Job};
use serde::Deserialize;

use crate::support::{LOSSES, bits};

const BETA: f64 = 0.3;
const PAD: u32 = 4;

type Tensors = BTreeMap<String, Tensor>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[derive(Deserialize)]
struct Golden {
    dpo: Trl,
    full: Trl,
    orpo: Vec<f64>,
}

/// The log of TRL's trainer: each value is of the batch before the step.
#[derive(Deserialize)]
struct Trl {
    losses: Vec<f64>,
    accuracies: Vec<f64>,
    margins: Vec<f64>,
}

fn golden() -> Golden {
    let text = std::fs::read_to_string(fixture("preferences/golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn pairs() -> Preferences {
    let tokenizer = Tokenizer::open(fixture("preferences")).unwrap();
    let cancel = CancelToken::new();
    let rows = TextRows::open(fixture("preferences/rows.jsonl"), &cancel).unwrap();
    ExampleBuilder::new(&tokenizer, 64).preferences(rows, &cancel).unwrap()
}

struct Base(Pretrained);

impl Base {
    fn open() -> Self {
        Self(Pretrained::open(fixture("lora/base")).unwrap())
    }

    fn tensors(&self) -> Tensors {
        self.0.tensors(&Device::Cpu).unwrap()
    }

    fn model(&self, init: &Init) -> Result<CausalLm, Error> {
        CausalLm::new(init, self.0.config())
    }

    /// The adapter of the fixture, with `B` of zeros: it changes nothing yet.
    fn adapter(&self) -> (Adapter, Tensors) {
        let config = LoraConfig::open(fixture("lora/plain")).unwrap();
        let adapter = config.on(|init| self.model(init)).unwrap();
        let mut trained = adapter.load(fixture("lora/plain")).unwrap();
        for (name, tensor) in &mut trained {
            if name.ends_with("lora_B.weight") {
                *tensor = tensor.zeros_like().unwrap();
            }
        }
        (adapter, trained)
    }
}

type LossOf = fn(&CausalLm, &PreferenceBatch) -> Result<PreferenceLoss, Error>;

fn dpo(model: &CausalLm, batch: &PreferenceBatch) -> Result<PreferenceLoss, Error> {
    model.dpo_loss(batch, BETA)
}

fn orpo(model: &CausalLm, batch: &PreferenceBatch) -> Result<PreferenceLoss, Error> {
    model.orpo_loss(batch, BETA)
}

struct Tuning<'a> {
    model: &'a CausalLm,
    loss: LossOf,
    losses: RefCell<Vec<f64>>,
    /// The step in which the run is cancelled.
    stop: Option<(u64, CancelToken)>,
}

impl Objective<PreferenceBatch> for Tuning<'_> {
    fn loss(
        &self,
        batch: &PreferenceBatch,
        context: &StepContext,
    ) -> cog_train::anyhow::Result<Loss> {
        if let Some((step, token)) = &self.stop
            && *step == context.step()
        {
            token.cancel();
        }
        Ok(Loss::sum((self.loss)(self.model, batch)?.sum, batch.pairs())?)
    }

    fn evaluate(
        &self,
        batch: &PreferenceBatch,
        _context: &StepContext,
    ) -> cog_train::anyhow::Result<EvalScores> {
        let loss = (self.loss)(self.model, batch)?;
        let pairs = f64::from(u32::try_from(batch.pairs())?);
        let right = f64::from(u32::try_from(loss.agreements()?)?);
        Ok(EvalScores::new(&Loss::sum(loss.sum.clone(), batch.pairs())?)?
            .with("reward_accuracy", right, pairs)
            .with("reward_margin", loss.margin_sum()?, pairs))
    }

    fn on_step(&self, report: &StepReport) -> ControlFlow<()> {
        self.losses.borrow_mut().push(report.loss);
        ControlFlow::Continue(())
    }
}

/// A training of 20 steps with one batch of all pairs.
#[derive(Clone)]
struct Run {
    loss: LossOf,
    learning_rate: f64,
    micro_batch: Option<usize>,
    stop: Option<u64>,
}

impl Run {
    fn new(loss: LossOf, learning_rate: f64) -> Self {
        Self { loss, learning_rate, micro_batch: None, stop: None }
    }

    fn fit(
        &self,
        model: &CausalLm,
        params: &Params,
        pairs: &[Preference],
        job: &mut Job,
    ) -> cog_train::anyhow::Result<(Vec<f64>, TrainingSummary)> {
        let collate = |pairs: Vec<Preference>, batch: &Collate<'_>| {
            Ok(Preference::batch(&pairs, PAD, batch.device())?)
        };
        let loader = || Loader::new(Rows::new(pairs.to_vec()), collate).batch(Batching::Rows(4));
        let config = TrainingConfig {
            epochs: 20,
            learning_rate: self.learning_rate,
            micro_batch: self.micro_batch,
            clip: Clip::None,
            ..TrainingConfig::default()
        };
        let training = Training {
            config,
            params,
            optimizer: Optimizer::new(AdamW { weight_decay: 0.0, ..AdamW::default() }),
            train: loader(),
            eval: Some(loader()),
        };
        let stop = self.stop.map(|step| (step, job.cancel_token()));
        let tuning = Tuning { model, loss: self.loss, losses: RefCell::default(), stop };
        let summary = fit(training, &tuning, job)?;
        Ok((tuning.losses.take(), summary))
    }

    /// Trains the adapter. Returns the losses, the evaluations and the trained tensors.
    fn adapt(
        &self,
        job: &mut Job,
    ) -> cog_train::anyhow::Result<(Vec<f64>, TrainingSummary, Tensors)> {
        let base = Base::open();
        let (adapter, trained) = base.adapter();
        let params = adapter.params(base.tensors(), trained, Precision::F32)?;
        let model = adapter.init(params.tensors()).build(|init| base.model(init))?;
        let (losses, summary) = self.fit(&model, &params, pairs().all(), job)?;
        let mut masters = params.masters();
        masters.retain(|name, _| adapter.trained().any(|trained| trained == name));
        Ok((losses, summary, masters))
    }
}

fn follow(losses: &[f64], expected: &[f64], name: &str) {
    assert_eq!((losses.len(), expected.len()), (20, 20), "{name}");
    for (step, (loss, expected)) in (1..).zip(losses.iter().zip(expected)) {
        let apart = (loss - expected).abs() / expected;
        assert!(apart < LOSSES, "{name}: step {step}: {loss}, and TRL's {expected}");
    }
}

/// The first evaluation is of TRL's batch before the first step.
fn evaluations_are_trls(summary: &TrainingSummary, trl: &Trl, name: &str) {
    let first = summary.initial_eval.as_ref().unwrap();
    assert!((first.metrics["reward_accuracy"] - trl.accuracies[0]).abs() < 1e-9, "{name}");
    assert!((first.metrics["reward_margin"] - trl.margins[0]).abs() < 1e-6, "{name}");
    let last = summary.final_eval.as_ref().unwrap();
    assert!((last.metrics["reward_accuracy"] - 1.0).abs() < 1e-9, "{name}");
    assert!(last.metrics["reward_margin"] > trl.margins[19], "{name}");
    assert!(last.loss < trl.losses[19], "{name}");
}

#[test]
fn dpo_of_an_adapter_follows_trls_losses() {
    let (dir, golden) = (tempfile::tempdir().unwrap(), golden().dpo);
    let mut job = Job::for_test(dir.path());
    let (losses, summary, _) = Run::new(dpo, 1e-2).adapt(&mut job).unwrap();
    follow(&losses, &golden.losses, "dpo");
    evaluations_are_trls(&summary, &golden, "dpo");
}

#[test]
fn orpo_of_an_adapter_follows_the_losses_with_trls_odds_ratio() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    let (losses, ..) = Run::new(orpo, 1e-2).adapt(&mut job).unwrap();
    follow(&losses, &golden().orpo, "orpo");
}

/// The reference is computed before the training and kept beside each pair.
#[test]
fn dpo_of_all_weights_follows_trls_losses() {
    let (dir, base) = (tempfile::tempdir().unwrap(), Base::open());
    let params = Params::new(base.tensors()).unwrap();
    let model = Init::from_tensors(params.tensors()).build(|init| base.model(init)).unwrap();
    let pairs = pairs().with_reference(&model, PAD, &CancelToken::new()).unwrap();
    let mut job = Job::for_test(dir.path());
    let run = Run::new(dpo, 1e-3);
    let (losses, summary) = run.fit(&model, &params, pairs.all(), &mut job).unwrap();
    let golden = golden().full;
    follow(&losses, &golden.losses, "full");
    evaluations_are_trls(&summary, &golden, "full");
}

/// The stored log-probabilities of a pair equal those of the model with its adapter switched off, also while dropout is on.
#[test]
fn kept_references_equal_those_of_the_adapter_switched_off() {
    let base = Base::open();
    let (adapter, mut trained) = base.adapter();
    let frozen = Init::from_tensors(base.tensors()).build(|init| base.model(init)).unwrap();
    let kept = pairs().with_reference(&frozen, PAD, &CancelToken::new()).unwrap();
    for tensor in trained.values_mut() {
        *tensor = (&*tensor + 0.3).unwrap();
    }
    let config = LoraConfig::new(3).alpha(5.0).dropout(0.4);
    let dropping = config.targets(Modules::named(["q_proj", "v_proj"]));
    let dropping = dropping.on(|init| base.model(init)).unwrap();
    for adapter in [&adapter, &dropping] {
        let tensors = adapter.tensors(base.tensors(), trained.clone()).unwrap();
        let model = adapter.init(tensors).build(|init| base.model(init)).unwrap();
        let loss = |pairs: &[Preference]| {
            let batch = Preference::batch(pairs, PAD, &Device::Cpu).unwrap();
            let loss = nn::training(7, 3, || model.dpo_loss(&batch, BETA)).unwrap();
            loss.sum.to_scalar::<f32>().unwrap()
        };
        let mut switched_off = kept.all().to_vec();
        for pair in &mut switched_off {
            pair.reference = None;
        }
        let (of_kept, of_base) = (loss(kept.all()), loss(&switched_off));
        assert_eq!(of_kept.to_bits(), of_base.to_bits());
        assert!((of_kept - 4.0 * std::f32::consts::LN_2).abs() > 1e-3, "the adapter has an effect");
        // In another batch, up to the rounding of its sums.
        for (kept, switched_off) in kept.all().iter().zip(&switched_off) {
            let [one, other] = [kept, switched_off].map(|pair| loss(std::slice::from_ref(pair)));
            assert!((one - other).abs() < 1e-5, "{one} and {other}");
        }
    }
}

#[test]
fn micro_batches_give_the_losses_of_one_batch() {
    for loss in [dpo as LossOf, orpo] {
        let whole = Run::new(loss, 1e-2);
        let dir = tempfile::tempdir().unwrap();
        let job = |name: &str| Job::for_test(dir.path().join(name));
        let (losses, ..) = whole.adapt(&mut job("whole")).unwrap();
        for rows in [1, 3] {
            let parts = Run { micro_batch: Some(rows), ..whole.clone() };
            let (found, ..) = parts.adapt(&mut job(&rows.to_string())).unwrap();
            for (found, expected) in found.iter().zip(&losses) {
                assert!((found - expected).abs() < 1e-5 * expected, "{found} and {expected}");
            }
        }
    }
}

#[test]
fn resume_of_preference_tuning_equals_straight_run() {
    let dir = tempfile::tempdir().unwrap();
    let values = |tensors: &Tensors| tensors.values().flat_map(bits).collect::<Vec<u32>>();
    for (kind, loss) in [("dpo", dpo as LossOf), ("orpo", orpo)] {
        let run = Run { micro_batch: Some(3), ..Run::new(loss, 1e-2) };
        let path = |name: &str| dir.path().join(format!("{kind}-{name}"));
        let (.., straight) = run.adapt(&mut Job::for_test(path("straight"))).unwrap();
        let stopping = Run { stop: Some(11), ..run.clone() };
        let error = stopping.adapt(&mut Job::for_test(path("stopped"))).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Error::Cancelled)));
        let (losses, _, resumed) = run.adapt(&mut Job::for_test_resumed(path("stopped"))).unwrap();
        assert!(losses.len() < 20, "{kind} began again");
        assert_eq!(values(&resumed), values(&straight), "{kind}");
    }
}

/// The whole training holds the base once, in the type that it computes in, and the adapter.
#[test]
fn the_reference_costs_no_second_copy_of_the_weights() {
    let base = Base::open();
    let count = |tensors: &Tensors| tensors.values().map(Tensor::elem_count).sum::<usize>();
    for (precision, dtype, frozen, trained) in
        [(Precision::F32, DType::F32, 4, 4), (Precision::Bf16, DType::BF16, 2, 6)]
    {
        let stored = |(name, tensor): (String, Tensor)| (name, tensor.to_dtype(dtype).unwrap());
        let tensors: Tensors = base.tensors().into_iter().map(stored).collect();
        let (adapter, values) = base.adapter();
        let bytes = frozen * count(&tensors) + trained * count(&values);
        let loaded = tensors.clone();
        let params = adapter.params(tensors, values, precision).unwrap();
        assert_eq!(params.bytes(), bytes);
        // The model, which is also the reference, has the storage that was loaded.
        let storage = |tensor: &Tensor| {
            let (storage, _) = tensor.storage_and_layout();
            std::ptr::from_ref(&*storage).cast::<()>()
        };
        let used = params.tensors();
        for (name, tensor) in &loaded {
            assert_eq!(storage(tensor), storage(&used[name]), "{name}");
        }
        let model = adapter.init(used).build(|init| base.model(init)).unwrap();
        let batch = Preference::batch(pairs().all(), PAD, &Device::Cpu).unwrap();
        assert!(batch.reference().is_none() && model.dpo_loss(&batch, BETA).is_ok());
    }
}

/// With the adapter switched off, a model of which more is trained is not the one before the training.
#[test]
fn a_reference_that_would_change_with_the_training_is_refused() {
    let base = Base::open();
    let error = |model: &CausalLm| {
        let batch = Preference::batch(pairs().all(), PAD, &Device::Cpu).unwrap();
        model.dpo_loss(&batch, BETA).unwrap_err().to_string()
    };
    let params = Params::new(base.tensors()).unwrap();
    let full = Init::from_tensors(params.tensors()).build(|init| base.model(init)).unwrap();
    let text = error(&full);
    assert!(text.contains("the model has no adapter to switch off"), "{text}");
    assert!(text.contains("hint: compute what the reference gives the answers before"), "{text}");

    let config = LoraConfig::new(2).targets(Modules::named(["q_proj"]));
    for (config, name) in [
        (config.clone().modules_to_save(["lm_head"]), "lm_head.weight"),
        (config.bias(Bias::Adapted), "model.layers.0.self_attn.q_proj.bias"),
    ] {
        let adapter = config.on(|init| base.model(init)).unwrap();
        let drawn = adapter.draw(&base.tensors(), Rng::new(1, "lora")).unwrap();
        for precision in [Precision::F32, Precision::Bf16] {
            let params = adapter.params(base.tensors(), drawn.clone(), precision).unwrap();
            let model = adapter.init(params.tensors()).build(|init| base.model(init)).unwrap();
            let text = error(&model);
            assert!(text.contains(&format!("`{name}` is trained beside the adapter")), "{text}");
        }
    }
}

#[test]
fn batches_that_are_no_pairs_are_refused() {
    let (device, ignored) = (Device::Cpu, nn::IGNORED);
    let new = |inputs: &[Vec<u32>], targets: &[Vec<u32>]| {
        PreferenceBatch::new(inputs, targets, 0, &device).unwrap_err().to_string()
    };
    let row = || vec![1, 2];
    assert!(new(&[row()], &[row()]).contains("1 row of inputs and 1 of targets cannot be split"));
    assert!(new(&[row(), row()], &[row(), vec![1]]).contains("row 1 has 2 inputs and 1 targets"));
    let text = new(&[row(), row()], &[vec![ignored; 2], row()]);
    assert!(text.contains("the answer in row 0 has no token"), "{text}");
    let batch = Preference::batch(pairs().all(), PAD, &device).unwrap();
    let model = Base::open();
    let model = Init::from_tensors(model.tensors()).build(|init| model.model(init)).unwrap();
    let reference = model.reference_log_probs(&batch).unwrap();
    let one = Preference::batch(&pairs().all()[..1], PAD, &device).unwrap();
    let text = one.with_reference(reference).unwrap_err().to_string();
    assert!(text.contains("the reference has log-probabilities [4] for 1 pair"), "{text}");
}
