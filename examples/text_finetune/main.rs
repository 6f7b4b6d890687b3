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
mod measure;
mod model;
mod optim;
mod text;

use cog_train::prelude::*;

use base::Base;
use generate::{Sampling, generate};
use measure::Mean;
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
        let (train, held_out) = self.examples(inputs.train_data.as_deref())?;
        let steps_per_epoch = train.len().div_ceil(inputs.batch_size) as u64;
        let all_steps = steps_per_epoch * u64::from(inputs.epochs);
        let steps = inputs.max_steps.map_or(all_steps, |most| most.min(all_steps));
        let (count, apart) = (train.len(), held_out.len());
        job.line(format_args!("{count} examples to train on, {apart} held out, {steps} steps"));

        let variables = self.base.variables()?;
        let model = Llama::of_variables(&self.base.config, &variables)?;
        let mut optimizer =
            Optimizer::new(inputs.optimizer, variables.values().cloned().collect())?;

        let held_out_before = measure::loss(&model, &held_out, job)?;
        job.line(format_args!("held-out loss before: {held_out_before:.3}"));
        self.show(&model, &held_out, job)?;

        let mut step = 0;
        let mut epoch_loss = Mean::default();
        'training: for epoch in 0.. {
            epoch_loss = Mean::default();
            let mut order: Vec<&Example> = train.iter().collect();
            job.rng("shuffle").at(epoch).shuffle(&mut order);
            for examples in order.chunks(inputs.batch_size) {
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
                if step == steps {
                    break 'training;
                }
            }
        }

        let held_out_after = measure::loss(&model, &held_out, job)?;
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
