//! Trains a small transformer encoder to say how a review is meant, and labels reviews.
//!
//! ```console
//! cargo run --example text_classifier
//! COG_WEIGHTS=weights cargo run --example text_classifier -- predict -i text="the room was not bad at all"
//! ```
mod model;

use candle_core::{D, DType, Device};
use cog_train::candle_core;
use cog_train::data::{Batching, Dataset, Jsonl, Loader, Rows, split};
use cog_train::engine::{
    EvalScores, Loss, Objective, Params, StepContext, Training, TrainingConfig, fit,
};
use cog_train::nn::{self, Init};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use cog_train::serde_json;
use model::{Batch, Encoder, LABELS, Review};

/// Trains a classifier of reviews
#[derive(Debug, TrainInputs)]
struct Inputs {
    /// JSONL file with a review on each line: `{"text": "...", "label": "positive"}`; bundled ones without it
    reviews: Option<Path>,
    /// Passes over the reviews
    #[input(default = 8, ge = 1, le = 1000)]
    epochs: u32,
    /// Reviews in each step
    #[input(default = 16, ge = 1, le = 1024)]
    batch_size: usize,
    /// Peak of the learning rate
    #[input(default = 2e-3, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    /// Seed of the initial weights and of the order of the reviews
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    weights: Weights,
    /// The share of held-out reviews whose label is found.
    accuracy: f64,
}

struct TextClassifier;

impl Trainer for TextClassifier {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(_setup: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, inputs: Inputs, job: &mut Job) -> Result<TrainingOutput> {
        let (train, eval) = split(reviews(inputs.reviews.as_deref(), job)?, 0.2, 0)?;
        job.line(format_args!("reviews: {} to train on, {} held out", train.len(), eval.len()));
        let init = Init::random(job.rng("init"), job.device());
        let params = Params::new(init.tensors_of(Encoder::new)?)?;
        let encoder = Init::from_tensors(params.tensors()).build(Encoder::new)?;
        let training = Training {
            config: TrainingConfig {
                epochs: inputs.epochs.into(),
                learning_rate: inputs.learning_rate,
                ..TrainingConfig::default()
            },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: Loader::new(train, |rows: Vec<_>, batch| Batch::new(&rows, batch.device()))
                .batch(Batching::Rows(inputs.batch_size)),
            eval: Some(Loader::new(eval, |rows: Vec<_>, batch| Batch::new(&rows, batch.device()))),
        };
        let summary = fit(training, &encoder, job)?;
        let weights = Weights::save(params.masters(), job.dir().join("weights.safetensors"))?;
        let eval = summary.final_eval.context("there are held-out reviews")?;
        Ok(TrainingOutput { weights, accuracy: eval.metrics["accuracy"] })
    }
}

/// The reviews of a file, or those that are bundled.
fn reviews(file: Option<&std::path::Path>, job: &Job) -> Result<Box<dyn Dataset<Item = Review>>> {
    let Some(file) = file else {
        let lines = include_str!("data/reviews.jsonl").lines();
        let rows = lines.map(serde_json::from_str).collect::<Result<Vec<Review>, _>>()?;
        return Ok(Box::new(Rows::new(rows).named("reviews")));
    };
    let check = |review: &Review| match review.class() {
        Some(_) => Ok(()),
        None => Err(format!("the label `{}` is none of {LABELS:?}", review.label)),
    };
    Ok(Box::new(Jsonl::open_checked(file, &job.cancel_token(), check)?))
}

impl Objective<Batch> for Encoder {
    fn loss(&self, batch: &Batch, _context: &StepContext) -> Result<Loss> {
        let sum = nn::cross_entropy(&self.scores(batch)?, &batch.labels)?;
        Ok(Loss::sum(sum, batch.labels.elem_count())?)
    }

    fn evaluate(&self, batch: &Batch, context: &StepContext) -> Result<EvalScores> {
        let found = self.scores(batch)?.argmax(D::Minus1)?.eq(&batch.labels)?;
        let found = found.to_dtype(DType::F64)?.sum_all()?.to_scalar()?;
        let loss = self.loss(batch, context)?;
        Ok(EvalScores::new(&loss)?.with("accuracy", found, loss.weight()))
    }
}

/// Labels a review
#[derive(Debug, PredictInputs)]
struct Question {
    /// The review
    text: String,
}

struct Classifier(Encoder, Device);

impl Predictor for Classifier {
    type Inputs = Question;
    type Output = String;

    fn setup(setup: &Setup, weights: Option<&Weights>) -> Result<Self> {
        let weights = weights.context(
            "there are no weights\nhint: train first, then set COG_WEIGHTS to what training wrote",
        )?;
        let tensors = weights.tensors(setup.device())?;
        Ok(Self(Init::from_tensors(tensors).build(Encoder::new)?, setup.device().clone()))
    }

    fn predict(&mut self, inputs: Question, _job: &mut Job) -> Result<String> {
        let review = Review { text: inputs.text, label: String::new() };
        let batch = Batch::new(&[review], &self.1)?;
        let class = self.0.scores(&batch)?.argmax(D::Minus1)?.squeeze(0)?.to_scalar::<u32>()?;
        Ok(LABELS[class as usize].to_owned())
    }
}

cog_train::run!(TextClassifier, predictor = Classifier, config = "cog.yaml");

#[cfg(test)]
mod tests;
