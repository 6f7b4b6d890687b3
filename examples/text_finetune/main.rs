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

use cog_train::prelude::*;

use base::Base;
use generate::{Sampling, generate};
use model::Llama;
use optim::{Method, Optimizer, schedule};
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
        let (mut train, held_out) = self.examples(inputs.train_data.as_deref())?;
        let steps_per_epoch = train.len().div_ceil(inputs.batch_size) as u64;
        let steps =
            inputs.max_steps.unwrap_or(u64::MAX).min(steps_per_epoch * u64::from(inputs.epochs));
        job.line(format_args!(
            "{} examples to train on, {} held out, {steps} steps",
            train.len(),
            held_out.len()
        ));

        let variables = self.base.variables()?;
        let model = Llama::of_variables(&self.base.config, &variables)?;
        let mut optimizer =
            Optimizer::new(inputs.optimizer, variables.values().cloned().collect())?;

        let held_out_before = mean_loss(&model, &held_out, job)?;
        job.line(format_args!("held-out loss before: {held_out_before:.3}"));
        self.show(&model, &held_out, job)?;

        let mut step = 0;
        let mut epoch_loss = Mean::default();
        for epoch in 0..u64::from(inputs.epochs) {
            epoch_loss = Mean::default();
            job.rng("shuffle").at(epoch).shuffle(&mut train);
            for examples in train.chunks(inputs.batch_size) {
                if step == steps {
                    break;
                }
                job.check_cancelled()?;
                let batch = Batch::new(examples, model.device())?;
                let loss = model.mean_loss(&batch)?;
                let rate = inputs.learning_rate * schedule(step, steps);
                optimizer.step(&loss.backward()?, rate)?;
                step += 1;

                let loss = f64::from(loss.to_scalar::<f32>()?);
                ensure!(
                    loss.is_finite(),
                    "the loss is {loss} at step {step}\nhint: try a lower `learning_rate`"
                );
                epoch_loss.add(loss, batch.weight);
                job.metric("loss", step, loss);
                job.progress(step, steps);
                if step % 20 == 0 || step == steps {
                    job.line(format_args!("step {step}/{steps}: loss {loss:.3}"));
                }
            }
        }

        let held_out_after = mean_loss(&model, &held_out, job)?;
        job.metric("held_out_loss", step, held_out_after);
        job.line(format_args!("held-out loss after: {held_out_after:.3}"));
        self.show(&model, &held_out, job)?;

        let file = job.dir().join("weights.safetensors");
        Weights::save(variables.iter().map(|(name, var)| (name, var.as_tensor().clone())), &file)?;
        Ok(TrainingOutput {
            weights: file.into(),
            final_loss: epoch_loss.value(),
            held_out_before,
            held_out_after,
            steps,
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

fn mean_loss(model: &Llama, examples: &[Example], job: &Job) -> Result<f64> {
    let mut mean = Mean::default();
    for examples in examples.chunks(16) {
        job.check_cancelled()?;
        let batch = Batch::new(examples, model.device())?;
        mean.add(f64::from(model.mean_loss(&batch)?.to_scalar::<f32>()?), batch.weight);
    }
    Ok(mean.value())
}

/// A mean over target tokens, from the means of batches with different numbers of them.
#[derive(Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

#[expect(clippy::cast_precision_loss, reason = "numbers of tokens are far below 2^53")]
impl Mean {
    fn add(&mut self, mean: f64, weight: usize) {
        self.sum += mean * weight as f64;
        self.weight += weight as f64;
    }

    fn value(&self) -> f64 {
        self.sum / self.weight
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
    #[input(default = 0.5, ge = 0.0, le = 5.0)]
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
