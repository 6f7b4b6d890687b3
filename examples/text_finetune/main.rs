//! Fine-tunes a small Llama on texts of your own, and talks with what came out.
//!
//! ```console
//! cargo run --example text_finetune -- -i epochs=3
//! COG_WEIGHTS=weights cargo run --example text_finetune -- predict -i prompt="How are you today?"
//! ```

#![expect(unreachable_pub, reason = "the modules of a program")]

mod base;
mod data;
mod generate;
mod model;
mod optim;
mod text;

use cog_train::data::{Batching, Dataset, Loader, Rows, split};
use cog_train::engine::{
    Every, Params, Schedule, StepContext, Training, TrainingConfig, Warmup, fit,
};
use cog_train::prelude::*;

use base::Base;
use data::{File, Row};
use generate::{Sampling, generate};
use model::Llama;
use optim::Method;
use text::{Batch, Example};

/// Fine-tunes a small language model on texts of your own
#[derive(Debug, TrainInputs)]
struct Inputs {
    /// JSONL rows with `text`, or `prompt` and `completion`, or a plain text file; without it, the model learns to talk
    /// like a pirate
    train_data: Option<Path>,
    /// Peak learning rate
    #[input(default = 5e-3, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    /// Passes over the data
    #[input(default = 3, ge = 1, le = 100)]
    epochs: u32,
    /// Examples in each step
    #[input(default = 8, ge = 1, le = 256)]
    batch_size: usize,
    /// Stop after this many steps
    #[input(ge = 1)]
    max_steps: Option<u64>,
    /// Optimizer
    #[input(default = Method::AdamW)]
    optimizer: Method,
    /// Seed of the order of the examples: the same inputs and seed give the same weights
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    weights: Path,
    /// The mean over the last epoch.
    final_loss: f64,
    /// On examples that were not trained on, before and after.
    eval_loss_before: f64,
    eval_loss_after: f64,
    steps: u64,
}

struct TextFinetune {
    base: Base,
}

impl Trainer for TextFinetune {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(setup: &Setup) -> Result<Self> {
        Ok(Self { base: Base::load(setup.device(), setup.weights())? })
    }

    fn train(&mut self, inputs: Inputs, job: &mut Job) -> Result<TrainingOutput> {
        let (train, eval) = self.examples(inputs.train_data.as_deref(), job)?;
        job.line(format_args!("examples: {} to train on, {} held out", train.len(), eval.len()));
        let params = Params::new(self.base.tensors().clone())?;
        let model = self.base.model_of(params.tensors())?;

        let config = TrainingConfig {
            epochs: inputs.epochs.into(),
            max_steps: inputs.max_steps,
            learning_rate: inputs.learning_rate,
            schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
            eval_every: Every::Epoch,
            ..TrainingConfig::default()
        };
        let shown = (0..eval.len().min(2)).map(|at| eval.item(at));
        let shown = shown.collect::<Result<Vec<_>, _>>()?;
        self.show(&model, &shown, job)?;

        let truncated = |at: &usize| train.item(*at).is_ok_and(|example| example.cut);
        let truncated = (0..train.len()).filter(truncated).count();
        let batches = |examples: Examples, size| {
            Loader::new(examples, |examples: Vec<Example>, batch| {
                Batch::new(&examples, batch.device())
            })
            .batch(Batching::Rows(size))
        };
        let training = Training {
            config,
            params: &params,
            optimizer: inputs.optimizer.optimizer(),
            train: batches(train, inputs.batch_size).truncated(truncated),
            eval: Some(batches(eval, 16)),
        };
        let summary = fit(training, &|batch: &Batch, _: &StepContext| model.loss(batch), job)?;
        self.show(&model, &shown, job)?;

        let file = job.dir().join("weights.safetensors");
        Weights::save(params.masters(), &file)?;
        Ok(TrainingOutput {
            weights: file.into(),
            final_loss: summary.loss,
            eval_loss_before: summary.initial_eval.context("there are held-out rows")?.loss,
            eval_loss_after: summary.final_eval.context("there are held-out rows")?.loss,
            steps: summary.steps,
        })
    }
}

/// Tokens, in any order, with their lengths.
type Examples = Box<dyn Dataset<Item = Example>>;

impl TextFinetune {
    /// Examples to train on and examples to measure on. Of a file a tenth is measured on, and at most 200.
    fn examples(&self, file: Option<&std::path::Path>, job: &Job) -> Result<(Examples, Examples)> {
        let cancel = job.cancel_token();
        let counted = |examples: Vec<Example>| {
            let rows = Rows::new(examples).named("examples");
            rows.with_tokens_until(&cancel, |example| example.tokens.len() - 1)
        };
        let Some(file) = file else {
            let own = |text| -> Result<Examples> {
                let rows = data::parse(text)?.into_iter().map(Ok);
                Ok(Box::new(counted(self.tokens(rows, job)?)?))
            };
            let eval = include_str!("data/eval.jsonl");
            return Ok((own(include_str!("data/train.jsonl"))?, own(eval)?));
        };
        let examples = match File::open(file, &cancel)? {
            File::Rows(rows) => {
                let row = |at| data::row(&rows.item(at)?).map_err(anyhow::Error::msg);
                self.tokens((0..rows.len()).map(row), job)?
            }
            File::Text(text) => {
                let piece = |at| {
                    job.check_cancelled()?;
                    Ok(text.item(at)?)
                };
                let tokens = self.base.text.encode_pieces((0..text.len()).map(piece))?;
                self.base.text.windows(tokens, self.context())
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "a share of a number of examples")]
        let share = (200.0 / examples.len() as f64).min(0.1);
        let (train, eval) = split(counted(examples)?, share, 0)?;
        Ok((Box::new(train), Box::new(eval)))
    }

    /// Returns the examples of rows. It checks for cancellation between rows.
    fn tokens(&self, rows: impl Iterator<Item = Result<Row>>, job: &Job) -> Result<Vec<Example>> {
        let mut examples = Vec::new();
        for row in rows {
            job.check_cancelled()?;
            examples.extend(self.base.text.examples(&row?, self.context())?);
        }
        Ok(examples)
    }

    /// The most tokens that the model sees.
    fn context(&self) -> usize {
        self.base.config.max_position_embeddings
    }

    /// Logs how the model continues the beginnings of two examples.
    fn show(&self, model: &Llama, examples: &[Example], job: &mut Job) -> Result<()> {
        let sampling = Sampling { max_tokens: 40, temperature: 0.0 };
        for example in examples.iter().take(2) {
            let opening = self.base.text.opening(example)?;
            let mut stream = job.rng("sample").at(0);
            let more = generate(model, &self.base.text, &opening, sampling, &mut stream, || {
                job.check_cancelled()
            })?;
            job.line(format_args!("  {opening} |{more}"));
        }
        Ok(())
    }
}

/// Continues a prompt
#[derive(Debug, PredictInputs)]
struct Question {
    /// The beginning of a text, or a question
    prompt: String,
    /// The most tokens to answer with
    #[input(default = 60, ge = 1, le = 1000)]
    max_tokens: usize,
    /// 0 takes the likeliest token each time, 1 draws from the model's own distribution
    #[input(default = 0.3, ge = 0.0, le = 5.0)]
    temperature: f64,
    /// Decides the draws
    #[input(default = 42)]
    seed: i64,
}

struct TextGenerator {
    base: Base,
    model: Llama,
}

impl Predictor for TextGenerator {
    type Inputs = Question;
    type Output = String;

    fn setup(setup: &Setup, weights: Option<&Weights>) -> Result<Self> {
        let base = Base::load(setup.device(), weights)?;
        Ok(Self { model: base.model()?, base })
    }

    fn predict(&mut self, inputs: Question, job: &mut Job) -> Result<String> {
        let sampling = Sampling { max_tokens: inputs.max_tokens, temperature: inputs.temperature };
        let mut stream = job.rng("sample").at(0);
        generate(&self.model, &self.base.text, &inputs.prompt, sampling, &mut stream, || {
            job.check_cancelled()
        })
    }
}

cog_train::run!(TextFinetune, predictor = TextGenerator, config = "cog.yaml");

#[cfg(test)]
mod tests;
