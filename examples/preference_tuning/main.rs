//! Tunes a language model on preferences, by DPO or ORPO: of two answers to a prompt, one is chosen and the other rejected.
//!
//! ```console
//! cargo run --example preference_tuning
//! COG_WEIGHTS=weights cargo run --example preference_tuning -- predict -i prompt="Where is the cat?"
//! ```

#![expect(unreachable_pub, reason = "the modules of a program")]

mod base;
mod rows;

use std::ops::ControlFlow;

use cog_train::candle_core::DType;
use cog_train::data::{Batching, Loader};
use cog_train::engine::{
    EvalScores, Evaluation, Loss, Objective, Precision, Schedule, StepContext, Training,
    TrainingConfig, Warmup, fit,
};
use cog_train::lora::{Adapter, LoraConfig, Modules, Tuning};
use cog_train::models::{CausalLm, Generation, PreferenceBatch, PreferenceLoss};
use cog_train::nn::Init;
use cog_train::optim::{AdamW, Clip, Optimizer};
use cog_train::prelude::*;
use cog_train::text::{Preference, PreferenceReport, Preferences};

use base::Base;

/// A loss of preferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum Method {
    /// Direct preference optimization: prefer the chosen answer by more than the model did before.
    Dpo,
    /// Odds ratio preference optimization: learn the chosen answer too. There is no model to compare with.
    Orpo,
}

/// Tunes a language model on preferences
#[derive(Debug, TrainInputs)]
struct Inputs {
    /// Rows with `chosen` and `rejected`, and perhaps `prompt`, as texts or lists of messages; without it, the model learns to
    /// answer like a pirate rather than as it did
    train_data: Option<Path>,
    /// Rows to measure on; without it, a tenth of `train_data`
    eval_data: Option<Path>,
    /// Model to tune: a folder or `org/name` on a hub; without it, a small one that is built in
    base_model: Option<String>,
    /// Loss
    #[input(default = Method::Dpo)]
    method: Method,
    /// DPO: how much a preference counts against staying near the model before. ORPO: its weight beside the chosen answers
    #[input(default = 0.1, ge = 0.001, le = 10.0)]
    beta: f64,
    /// Rank of the adapter; 0 trains all weights
    #[input(default = 8, ge = 0, le = 1024)]
    lora_rank: usize,
    /// Peak learning rate
    #[input(default = 2e-3, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    /// Passes over the rows
    #[input(default = 2, ge = 1, le = 100)]
    epochs: u32,
    /// Pairs in each step
    #[input(default = 8, ge = 1, le = 256)]
    batch_size: usize,
    /// Most tokens of a prompt with its answer; without it, as many as the model sees
    #[input(ge = 2)]
    max_length: Option<usize>,
    /// Seed of the adapter and of the order of the rows: the same inputs and seed give the same weights
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    /// A folder: the adapter in PEFT's format, or the model.
    weights: Path,
    /// The share of pairs of which the model prefers the chosen answer more than it did, before and after.
    reward_accuracy_before: f64,
    reward_accuracy: f64,
    /// The mean difference of the rewards of the two answers.
    reward_margin: f64,
}

struct PreferenceTuning;

impl Trainer for PreferenceTuning {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(_setup: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, inputs: Inputs, job: &mut Job) -> Result<TrainingOutput> {
        let cancel = job.cancel_token();
        let base = Base::open(inputs.base_model.as_deref(), &cancel, job)?;
        let (pretrained, tokenizer) = (&base.lm.pretrained, &base.lm.tokenizer);
        let context = pretrained.config().max_positions();
        let length = inputs.max_length.unwrap_or(context);
        ensure!(
            length <= context,
            "`max_length` is {length}, and the model sees at most {context} tokens"
        );
        let builder = base.lm.examples(length);
        let (train, eval) =
            rows::open(inputs.train_data.as_deref(), inputs.eval_data.as_deref(), &cancel)?;
        let mut train = builder.preferences(train, &cancel)?;
        let mut eval = builder.preferences(eval, &cancel)?;
        job.line(PreferenceReport::new(tokenizer, &train, Some(&eval))?);

        let tensors = pretrained.tensors_of(job.device(), |init| base.lm.build(init))?;
        let pad = tokenizer.pad_id();
        let adapter = inputs.adapter(&base, job)?;
        let tuning = Tuning::new(tensors, adapter, Precision::F32, job.rng("lora"))?;
        let model = tuning.build(|init| base.lm.build(init))?;
        if tuning.adapter().is_none() && inputs.method == Method::Dpo {
            // An adapter is switched off for the reference; without one, it is computed once and kept.
            train = train.with_reference(&model, pad, &cancel)?;
            eval = eval.with_reference(&model, pad, &cancel)?;
        }
        let truncated = train.counts().truncated;
        let batches = |pairs: Preferences| {
            Loader::new(pairs, move |pairs: Vec<Preference>, batch| {
                Ok(Preference::batch(&pairs, pad, batch.device())?)
            })
            .batch(Batching::Rows(inputs.batch_size))
        };
        let training = Training {
            config: TrainingConfig {
                epochs: inputs.epochs.into(),
                learning_rate: inputs.learning_rate,
                schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
                clip: Clip::Norm(1.0),
                ..TrainingConfig::default()
            },
            params: tuning.params(),
            optimizer: Optimizer::new(AdamW { weight_decay: 0.0, ..AdamW::default() }),
            train: batches(train).truncated(truncated),
            eval: Some(batches(eval)),
        };
        let objective = Preferring { model, method: inputs.method, beta: inputs.beta };
        let summary = fit(training, &objective, job)?;

        let folder = job.dir().join("weights");
        tuning.save(pretrained, &folder)?;
        let metric = |eval: &Option<Evaluation>, name: &str| {
            let eval = eval.as_ref().context("there are held-out rows")?;
            Ok::<_, anyhow::Error>(eval.metrics[name])
        };
        Ok(TrainingOutput {
            weights: folder.into(),
            reward_accuracy_before: metric(&summary.initial_eval, "reward_accuracy")?,
            reward_accuracy: metric(&summary.final_eval, "reward_accuracy")?,
            reward_margin: metric(&summary.final_eval, "reward_margin")?,
        })
    }
}

impl Inputs {
    /// The adapter, if one is trained. What is quantized in a GGUF file stays so beside it.
    fn adapter(&self, base: &Base, job: &Job) -> Result<Option<Adapter>> {
        let pretrained = &base.lm.pretrained;
        if self.lora_rank == 0 {
            let quantized = pretrained.names().find(|name| pretrained.is_quantized(name));
            if let Some(name) = quantized {
                bail!(
                    "the base is quantized (`{name}`), and what is quantized is not trained in full\n\
                     hint: give `lora_rank`, to train an adapter beside it"
                );
            }
            return Ok(None);
        }
        #[expect(clippy::cast_precision_loss, reason = "a rank is small")]
        let alpha = 2.0 * self.lora_rank as f64;
        let config = LoraConfig::new(self.lora_rank).alpha(alpha).targets(Modules::AllLinear);
        let config = config.task_type("CAUSAL_LM").base_model(&base.name);
        let adapter = config.on(|init| base.lm.build(init))?;
        Ok(Some(adapter.quantized(pretrained.quantized(job.device())?)?))
    }
}

struct Preferring {
    model: CausalLm,
    method: Method,
    beta: f64,
}

impl Preferring {
    fn preference(&self, batch: &PreferenceBatch) -> Result<PreferenceLoss> {
        Ok(match self.method {
            Method::Dpo => self.model.dpo_loss(batch, self.beta)?,
            Method::Orpo => self.model.orpo_loss(batch, self.beta)?,
        })
    }
}

impl Objective<PreferenceBatch> for Preferring {
    fn loss(&self, batch: &PreferenceBatch, _context: &StepContext) -> Result<Loss> {
        Ok(Loss::sum(self.preference(batch)?.sum, batch.pairs())?)
    }

    #[expect(clippy::cast_precision_loss, reason = "the pairs of a batch")]
    fn evaluate(&self, batch: &PreferenceBatch, _context: &StepContext) -> Result<EvalScores> {
        let (found, pairs) = (self.preference(batch)?, batch.pairs() as f64);
        Ok(EvalScores::new(&Loss::sum(found.sum.clone(), batch.pairs())?)?
            .with("reward_accuracy", found.agreements()? as f64, pairs)
            .with("reward_margin", found.margin_sum()?, pairs))
    }
}

/// Answers a prompt
#[derive(Debug, PredictInputs)]
struct Question {
    /// A question
    prompt: String,
    /// Most tokens of the answer
    #[input(default = 40, ge = 1, le = 1000)]
    max_tokens: usize,
    /// 0 takes the likeliest token each time, 1 draws from the model's own distribution
    #[input(default = 0.0, ge = 0.0, le = 5.0)]
    temperature: f64,
    /// Decides the draws
    #[input(default = 42)]
    seed: i64,
}

struct Answers {
    base: Base,
    model: CausalLm,
}

impl Predictor for Answers {
    type Inputs = Question;
    type Output = String;

    /// Without weights the base answers.
    fn setup(setup: &Setup, weights: Option<&Weights>) -> Result<Self> {
        let (base, adapter) = Base::of_weights(weights.map(Weights::path))?;
        let lm = &base.lm;
        let mut tensors = lm.pretrained.tensors_of(setup.device(), |init| lm.build(init))?;
        for tensor in tensors.values_mut() {
            *tensor = tensor.to_dtype(DType::F32)?;
        }
        let blocks = lm.pretrained.quantized(setup.device())?;
        let init = match adapter {
            Some(folder) => {
                let adapter = LoraConfig::open(&folder)?.on(|init| lm.build(init))?;
                let adapter = adapter.quantized(blocks)?;
                adapter.init(adapter.tensors(tensors, adapter.load(&folder)?)?)
            }
            None => Init::from_tensors(tensors).quantized(blocks),
        };
        Ok(Self { model: init.build(|init| lm.build(init))?, base })
    }

    fn predict(&mut self, inputs: Question, job: &mut Job) -> Result<String> {
        let prompt = self.base.lm.prompt(&inputs.prompt)?;
        let ends = self.base.lm.tokenizer.special().stop.clone();
        let options = Generation::new(inputs.max_tokens)
            .temperature(inputs.temperature)
            .seed(job.seed())
            .end_tokens(ends);
        let found = self.model.generate(&prompt, &options, |_| {
            if job.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        job.check_cancelled()?;
        Ok(self.base.lm.tokenizer.decode(&found.tokens)?.trim().to_owned())
    }
}

cog_train::run!(PreferenceTuning, predictor = Answers, config = "cog.yaml");

#[cfg(test)]
mod tests;
