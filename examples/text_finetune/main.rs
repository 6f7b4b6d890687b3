//! Fine-tunes a language model on texts of your own, whole or by an adapter, and talks with what came out.
//!
//! ```console
//! cargo run --example text_finetune -- -i epochs=3
//! COG_WEIGHTS=weights cargo run --example text_finetune -- predict -i prompt="How are you today?"
//! cargo run --release --example text_finetune -- -i base_model=org/name -i train_data=chat.jsonl -i lora_rank=16
//! ```

#![expect(unreachable_pub, reason = "the modules of a program")]

mod base;
mod data;
mod generator;
mod inputs;
mod objective;
mod tuning;

use cog_train::data::Dataset;
use cog_train::engine::{Training, fit};
use cog_train::prelude::*;
use cog_train::text::Report;

use base::Base;
use data::{Data, batches};
use generator::{TextGenerator, show};
use inputs::Inputs;
use objective::NextToken;

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    /// A folder of Hugging Face: a model, or an adapter.
    weights: Path,
    /// The mean over the last epoch.
    final_loss: f64,
    /// On examples that were not trained on, before and after.
    eval_loss_before: f64,
    eval_loss_after: f64,
    steps: u64,
}

struct TextFinetune {
    /// The output of an earlier training, to train it on.
    weights: Option<Weights>,
}

impl Trainer for TextFinetune {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(setup: &Setup) -> Result<Self> {
        Ok(Self { weights: setup.weights().cloned() })
    }

    fn train(&mut self, inputs: Inputs, job: &mut Job) -> Result<TrainingOutput> {
        // What can be wrong is found before a model is downloaded, as far as that is possible, and before one is loaded.
        let cancel = job.cancel_token();
        let lora = inputs.lora()?;
        let (train, eval) = Data::of(&inputs, &cancel)?;
        let base = Base::find(inputs.base_model.as_deref(), self.weights.as_ref(), &cancel, job)?;
        let base = base.quantize(inputs.quantize.layout())?;
        let length = inputs.length(base.context())?;
        let builder = inputs.builder(&base, length);
        let (train, eval) = match eval {
            Some(eval) => (train.examples(&builder, &cancel)?, eval.examples(&builder, &cancel)?),
            None => train.split(&builder, &cancel)?,
        };
        job.line(format_args!("examples: {} to train on, {} held out", train.len(), eval.len()));
        job.line(Report::new(&base.lm.tokenizer, &train, Some(&eval))?);

        let tuning = tuning::start(&base, lora, &inputs, job)?;
        let model = tuning.build(|init| base.model(init))?;
        let model = &model.checkpoint_layers(inputs.checkpoint_layers);
        let shown = eval.all()[..eval.len().min(4)].to_vec();
        show(model, &base, &shown, 0, job)?;

        let (pad, packs) = (base.lm.tokenizer.pad_id(), inputs.packing.then_some(length));
        let training = Training {
            config: inputs.config(&base, tuning.adapter().is_some()),
            params: tuning.params(),
            optimizer: inputs.optimizer(),
            train: batches(train, packs, pad).batch(inputs.batching()),
            eval: Some(batches(eval, packs, pad).batch(inputs.batching())),
        };
        let objective = NextToken { model, label_smoothing: inputs.label_smoothing };
        let summary = fit(training, &objective, job)?;
        ensure!(!job.is_dry_run(), "a dry run has no result");
        show(model, &base, &shown, summary.steps, job)?;

        Ok(TrainingOutput {
            weights: tuning::save(&tuning, &base, &inputs, &shown, job)?.into(),
            final_loss: summary.loss,
            eval_loss_before: summary.initial_eval.context("there are held-out rows")?.loss,
            eval_loss_after: summary.final_eval.context("there are held-out rows")?.loss,
            steps: summary.steps,
        })
    }
}

cog_train::run!(TextFinetune, predictor = TextGenerator, config = "cog.yaml");

#[cfg(test)]
mod tests;
