//! Fine-tunes an encoder to give texts a label, in full or with LoRA, and labels texts.
//!
//! ```console
//! cargo run --example classify
//! COG_WEIGHTS=weights/model cargo run --example classify -- predict -i text="the room was not bad at all"
//! ```

mod rows;

use std::collections::BTreeMap;

use cog_train::candle_core::{Device, Tensor};
use cog_train::data::{Batching, Loader};
use cog_train::engine::{
    EvalScores, Evaluation, Loss, Objective, Params, Schedule, StepContext, Training,
    TrainingConfig, Warmup, fit,
};
use cog_train::hub;
use cog_train::lora::{LoraConfig, Modules};
use cog_train::metrics::ConfusionMatrix;
use cog_train::models::{Head, Pretrained, SequenceClassifier, Tokens};
use cog_train::nn::{Init, cross_entropy, softmax};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use cog_train::text::Tokenizer;
use rows::{Encoder, Example, LabelledRows};

/// Fine-tunes an encoder to give texts a label
#[derive(Debug, TrainInputs)]
struct Inputs {
    /// The encoder: a folder, or `org/name` of a hub
    #[input(default = "examples/classify/base")]
    base_model: String,
    /// Rows with `text` and `label`: JSONL, JSON, CSV, TSV
    #[input(default = "examples/classify/data/reviews.jsonl")]
    train_data: Path,
    /// Rows to evaluate on; without it, a fifth of `train_data`
    eval_data: Option<Path>,
    /// Trains an adapter of this rank and the head; without it, the whole model
    #[input(ge = 1, le = 1024)]
    lora_rank: Option<u16>,
    /// Peak of the learning rate; 5e-5 suits a whole BERT of full size, and 5e-4 an adapter
    #[input(default = 3e-3, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    /// Passes over the rows
    #[input(default = 6, ge = 1, le = 1000)]
    epochs: u32,
    /// Rows in each step
    #[input(default = 16, ge = 1, le = 4096)]
    batch_size: usize,
    /// The most tokens of a text, at most as many as the model sees; the rest is cut off
    #[input(default = 256, ge = 3)]
    max_length: usize,
    /// Seed of the new tensors and of the order of the rows
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    /// The classifier, with an adapter merged into it.
    model: Path,
    /// The adapter in PEFT's format.
    adapter: Option<Path>,
    /// Of the rows that were held out, before and after.
    accuracy_before: f64,
    accuracy: f64,
    macro_f1_before: f64,
    macro_f1: f64,
    weighted_f1: f64,
}

struct Classify;

impl Trainer for Classify {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(_setup: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, inputs: Inputs, job: &mut Job) -> Result<TrainingOutput> {
        let cancel = job.cancel_token();
        let folder = hub::resolve(&inputs.base_model, &cancel, job)?;
        let base = Pretrained::open(&folder)?.with_head(Head::SequenceClassification)?;
        let tokenizer = Tokenizer::open(&folder)?;
        tokenizer.check_embedding(base.config().vocabulary())?;
        let rows = LabelledRows::open(&inputs.train_data, inputs.eval_data.as_deref(), &cancel)?;
        let labels = rows.labels(base.config().labels(), &cancel)?;
        let encoder = Encoder::new(&tokenizer, &labels, base.config(), inputs.max_length);
        let (train, eval) = rows.encode(&encoder, &cancel)?;
        job.line(format_args!(
            "rows: {} to train on, {} held out; labels: {}",
            train.len(),
            eval.len(),
            labels.names().join(", ")
        ));

        let base = base.with_labels(labels);
        let model = |init: &Init| SequenceClassifier::new(init, base.config());
        let loaded = base.load(job.device(), job.rng("init"), model)?;
        job.line(&loaded);
        let tensors = loaded.into_tensors();
        let lora = |rank: u16| {
            let lora = LoraConfig::new(rank.into())
                .alpha(2.0 * f64::from(rank))
                .targets(Modules::AllLinear);
            // The task makes it train the head in full and save it with the adapter.
            lora.task_type("SEQ_CLS").base_model(&inputs.base_model).on(model)
        };
        let adapter = inputs.lora_rank.map(lora).transpose()?;
        let params = match &adapter {
            None => Params::new(tensors)?,
            Some(adapter) => adapter.draw_params(tensors, job.rng("lora"))?,
        };
        let init = match &adapter {
            None => Init::from_tensors(params.tensors()),
            Some(adapter) => adapter.init(params.tensors()),
        };
        let classifier = Classifier(init.build(model)?);

        let pad = tokenizer.pad_id();
        let sample: Vec<Example> =
            (0..eval.len().min(32)).map(|at| eval.item(at)).collect::<Result<_, _>>()?;
        let batches = move |rows, size| {
            Loader::new(rows, move |rows: Vec<Example>, batch| {
                Batch::new(&rows, pad, batch.device())
            })
            .batch(Batching::Rows(size))
        };
        let training = Training {
            config: TrainingConfig {
                epochs: inputs.epochs.into(),
                learning_rate: inputs.learning_rate,
                schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
                ..TrainingConfig::default()
            },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: batches(train, inputs.batch_size),
            eval: Some(batches(eval, 64)),
        };
        let summary = fit(training, &classifier, job)?;

        let folder = job.dir().join("model");
        let adapter = match adapter {
            None => {
                base.save(&folder, params.masters())?;
                None
            }
            Some(adapter) => {
                let tokens = Batch::new(&sample, pad, job.device())?.tokens;
                let scores = |init: &Init| init.build(model)?.logits(&tokens);
                let merged = adapter.merge(&params.masters(), 1e-3, scores)?;
                job.line(merged.difference());
                base.save(&folder, merged.tensors().clone())?;
                let beside = job.dir().join("adapter");
                adapter.save(&beside, &params.masters())?;
                tokenizer.save(&beside)?;
                // Beside an adapter Python looks for the labels here.
                std::fs::copy(folder.join("config.json"), beside.join("config.json"))?;
                Some(beside.into())
            }
        };
        let score =
            |of: &Option<Evaluation>, name| of.as_ref().map_or(f64::NAN, |it| it.metrics[name]);
        Ok(TrainingOutput {
            model: folder.into(),
            adapter,
            accuracy_before: score(&summary.initial_eval, "accuracy"),
            accuracy: score(&summary.final_eval, "accuracy"),
            macro_f1_before: score(&summary.initial_eval, "macro_f1"),
            macro_f1: score(&summary.final_eval, "macro_f1"),
            weighted_f1: score(&summary.final_eval, "weighted_f1"),
        })
    }
}

/// Rows side by side.
struct Batch {
    tokens: Tokens,
    /// `[B]`
    labels: Tensor,
}

impl Batch {
    fn new(rows: &[Example], pad: u32, device: &Device) -> Result<Self> {
        let ids: Vec<Vec<u32>> = rows.iter().map(|row| row.ids.clone()).collect();
        let labels: Vec<u32> = rows.iter().map(|row| row.label).collect();
        Ok(Self {
            tokens: Tokens::padded(&ids, pad, device)?,
            labels: Tensor::new(labels, device)?,
        })
    }
}

struct Classifier(SequenceClassifier);

impl Objective<Batch> for Classifier {
    fn loss(&self, batch: &Batch, _context: &StepContext) -> Result<Loss> {
        Ok(Loss::sum(self.0.loss(&batch.tokens, &batch.labels)?, batch.labels.dim(0)?)?)
    }

    fn evaluate(&self, batch: &Batch, _context: &StepContext) -> Result<EvalScores> {
        let logits = self.0.logits(&batch.tokens)?;
        let sum = cross_entropy(&logits, &batch.labels)?;
        let scores = EvalScores::new(&Loss::sum(sum, batch.labels.dim(0)?)?)?;
        Ok(scores.with_confusion(ConfusionMatrix::of(&logits, &batch.labels)?))
    }
}

/// Labels a text
#[derive(Debug, PredictInputs)]
struct Question {
    /// The text
    text: String,
}

#[derive(Debug, PredictOutput)]
struct Answer {
    /// The most probable label.
    label: String,
    /// The probability of each label.
    scores: BTreeMap<String, f64>,
}

struct Labeller {
    model: SequenceClassifier,
    encoder: Encoder,
    device: Device,
}

impl Predictor for Labeller {
    type Inputs = Question;
    type Output = Answer;

    fn setup(setup: &Setup, weights: Option<&Weights>) -> Result<Self> {
        let weights = weights.context(
            "there is no classifier\nhint: train one, and set `COG_WEIGHTS` to the folder `model` of its output",
        )?;
        let base = Pretrained::open(weights.path())?;
        let model = |init: &Init| SequenceClassifier::new(init, base.config());
        let tensors = base.tensors_of(setup.device(), model)?;
        let tokenizer = Tokenizer::open(base.folder())?;
        let encoder = Encoder::new(&tokenizer, base.config().labels(), base.config(), usize::MAX);
        let model = Init::from_tensors(tensors).build(model)?;
        Ok(Self { model, encoder, device: setup.device().clone() })
    }

    fn predict(&mut self, inputs: Question, _job: &mut Job) -> Result<Answer> {
        let ids = self.encoder.ids(&inputs.text)?;
        let logits = self.model.logits(&Tokens::padded(&[ids], 0, &self.device)?)?;
        let scores: Vec<f32> = softmax(&logits, 1)?.squeeze(0)?.to_vec1()?;
        let best = scores.iter().zip(self.model.labels().names());
        let best = best.max_by(|a, b| a.0.total_cmp(b.0)).context("there are labels")?;
        Ok(Answer {
            label: best.1.clone(),
            scores: self
                .model
                .labels()
                .names()
                .iter()
                .cloned()
                .zip(scores.iter().map(|it| f64::from(*it)))
                .collect(),
        })
    }
}

cog_train::run!(Classify, predictor = Labeller, config = "cog.yaml");

#[cfg(test)]
mod tests;
