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

use cog_train::engine::data::{Batching, Loader, Rows};
use cog_train::engine::{Every, Params, Pass, Plan, Schedule, Training, Warmup, fit};
use cog_train::prelude::*;

use base::Base;
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
    /// What to update the weights with
    #[input(default = Method::AdamW)]
    optimizer: Method,
    /// Decides the order of the examples: the same inputs and seed give the same weights
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    weights: Path,
    /// The mean over the last epoch.
    final_loss: f64,
    /// On examples that were not trained on, before and after.
    held_out_before: f64,
    held_out_after: f64,
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
        let (train, held_out) = self.examples(inputs.train_data.as_deref())?;
        job.line(format_args!("{} examples to train on, {} held out", train.len(), held_out.len()));
        let params = Params::new(self.base.tensors().clone())?;
        let model = Llama::new(&self.base.config, &params.tensors())?;
        self.show(&model, &held_out, job)?;

        let plan = Plan {
            epochs: inputs.epochs.into(),
            max_steps: inputs.max_steps,
            learning_rate: inputs.learning_rate,
            schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
            evaluate: Every::Epoch,
            ..Plan::default()
        };
        let batches = |examples: &[Example], size| {
            let rows = Rows::new(examples.to_vec()).named("examples");
            Loader::new(rows, |examples, batch| Batch::new(&examples, batch.device()))
                .batch(Batching::Rows(size))
        };
        let training = Training {
            plan,
            params: &params,
            optimizer: inputs.optimizer.optimizer(),
            train: batches(&train, inputs.batch_size),
            held_out: Some(batches(&held_out, 16)),
        };
        let fitted = fit(training, &|batch: &Batch, _: &Pass| model.loss(batch), job)?;
        self.show(&model, &held_out, job)?;

        let file = job.dir().join("weights.safetensors");
        Weights::save(params.masters(), &file)?;
        Ok(TrainingOutput {
            weights: file.into(),
            final_loss: fitted.loss,
            held_out_before: fitted.before["loss"],
            held_out_after: fitted.after["loss"],
            steps: fitted.steps,
        })
    }
}

impl TextFinetune {
    /// Examples to train on and examples to measure on.
    fn examples(&self, file: Option<&std::path::Path>) -> Result<(Vec<Example>, Vec<Example>)> {
        let examples = |rows: &[data::Row]| -> Result<Vec<Example>> {
            let context = self.base.config.max_position_embeddings;
            let examples = rows.iter().map(|row| self.base.text.examples(row, context));
            Ok(examples.collect::<Result<Vec<_>>>()?.concat())
        };
        match file {
            Some(file) => data::hold_out(examples(&data::read(file)?)?),
            None => Ok((
                examples(&data::parse(include_str!("data/train.jsonl"))?)?,
                examples(&data::parse(include_str!("data/held_out.jsonl"))?)?,
            )),
        }
    }

    /// How the model goes on from the beginnings of two examples.
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

/// Goes on from a prompt
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
