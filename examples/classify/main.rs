//! Fine-tunes an encoder to give texts a label, in full or with LoRA, and labels texts.

use cog_train::engine::{
    Classification, Precision, Schedule, StepContext, Training, TrainingConfig, Warmup, fit,
};
use cog_train::lora::{LoraConfig, Modules, Tuning};
use cog_train::models::{Head, Pretrained, SequenceClassifier};
use cog_train::nn::{CrossEntropy, Init};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use cog_train::text::{LabelScores, LabelledBatch, LabelledTexts, TextClassifier, Tokenizer};

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    /// The classifier, with an adapter merged into it.
    model: Path,
    /// The adapter in PEFT's format.
    adapter: Option<Path>,
    /// Of the rows that were held out, before and after.
    accuracy_before: f64,
    accuracy: f64,
    macro_f1: f64,
}

/// Fine-tunes an encoder to give texts a label
#[cog_train::train]
fn classify(
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
    /// Whether rare labels count for as much as frequent ones
    #[input(default = false)]
    balanced: bool,
    /// The share of each label that goes to all labels alike
    #[input(default = 0.0, ge = 0.0, le = 1.0)]
    label_smoothing: f64,
    /// Type to compute in; trained values are kept in 32 bits
    #[input(default = Precision::F32)]
    precision: Precision,
    /// Compute the activations of each layer twice instead of keeping them: less memory, more time
    #[input(default = false)]
    checkpoint_layers: bool,
    /// Seed of the new tensors and of the order of the rows
    #[input(default = 42)]
    seed: i64,
    job: &mut Job,
) -> Result<TrainingOutput> {
    let cancel = job.cancel_token();
    let folder = cog_train::hub::resolve(&base_model, &cancel, job)?;
    let base = Pretrained::open(&folder)?.with_head(Head::SequenceClassification)?;
    let tokenizer = Tokenizer::open(&folder)?;
    let texts = LabelledTexts::open(&train_data, eval_data.as_deref(), &cancel)?;
    let data = texts.tokenize(&tokenizer, base.config(), max_length, &cancel)?;
    job.line(&data);

    let base = base.with_labels(data.labels.clone());
    let model = |init: &Init| SequenceClassifier::new(init, base.config());
    let loaded = base.load(job.device(), job.rng("init"), model)?;
    job.line(&loaded);
    let lora = |rank: u16| {
        let lora = LoraConfig::new(rank.into()).alpha(2.0 * f64::from(rank));
        lora.targets(Modules::AllLinear).task_type("SEQ_CLS").base_model(&base_model).on(model)
    };
    let (adapter, rng) = (lora_rank.map(lora).transpose()?, job.rng("lora"));
    let tuning = Tuning::new(loaded.into_tensors(), adapter, precision, rng)?;
    let classifier = tuning.build(model)?.checkpoint_layers(checkpoint_layers);

    let loss = CrossEntropy::new().label_smoothing(label_smoothing);
    let loss = if balanced { loss.balanced(&data.counts) } else { loss };
    let classify = |batch: &LabelledBatch, _: &StepContext| {
        Ok((classifier.logits(&batch.tokens)?, batch.labels.clone()))
    };
    let objective = Classification::new(classify).cross_entropy(loss).labels(data.labels.names());
    let training = Training {
        config: TrainingConfig {
            epochs: epochs.into(),
            learning_rate,
            schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
            ..TrainingConfig::default()
        },
        params: tuning.params(),
        optimizer: Optimizer::new(AdamW::default()),
        train: data.train.loader(batch_size),
        eval: Some(data.eval.loader(64)),
    };
    let summary = fit(training, &objective, job)?;

    let (folder, beside) = (job.dir().join("model"), job.dir().join("adapter"));
    let sample = data.eval.first(32, job.device())?.tokens;
    let merged =
        tuning.save_merged(&base, &folder, 1e-3, |init| init.build(model)?.logits(&sample))?;
    if let Some(difference) = merged {
        job.line(difference);
        tuning.save(&base, &beside)?;
    }
    let (before, after) = summary.initial_eval.zip(summary.final_eval).context("a dry run")?;
    Ok(TrainingOutput {
        model: folder.into(),
        adapter: merged.map(|_| beside.into()),
        accuracy_before: before.metrics["accuracy"],
        accuracy: after.metrics["accuracy"],
        macro_f1: after.metrics["macro_f1"],
    })
}

/// Labels a text
#[derive(Debug, PredictInputs)]
struct Question {
    /// The text
    text: String,
}

struct Labeller(TextClassifier);

impl Predictor for Labeller {
    type Inputs = Question;
    type Output = LabelScores;

    fn setup(setup: &Setup, weights: Option<&Weights>) -> Result<Self> {
        let weights =
            weights.context("no classifier\nhint: set `COG_WEIGHTS` to `weights/model`")?;
        Ok(Self(TextClassifier::open(weights.path(), setup.device())?))
    }

    fn predict(&mut self, inputs: Question, _job: &mut Job) -> Result<LabelScores> {
        Ok(self.0.classify(&inputs.text)?)
    }
}

cog_train::run!(classify, predictor = Labeller, config = "cog.yaml");

#[cfg(test)]
mod tests;
