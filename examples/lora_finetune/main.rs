//! Trains a LoRA adapter of a chat model, which PEFT opens.

use cog_train::data::Loader;
use cog_train::engine::{Loss, Precision, Schedule, StepContext, Training, TrainingConfig, fit};
use cog_train::lora::{LoraConfig, Modules, Tuning};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use cog_train::text::{CausalBatch, LanguageModel, Packs, TextRows};
use cog_train::{hub, nn::Init};

/// Trains a LoRA adapter of a chat model
#[cog_train::train]
fn train(
    /// The model: a folder, a `.gguf` file, or `org/name` of a hub
    #[input(default = "examples/text_finetune/base")]
    base_model: String,
    /// Conversations: rows with `messages`
    #[input(default = "examples/lora_finetune/chat.jsonl")]
    train_data: Path,
    #[input(default = 16, ge = 1, le = 1024, description = "Rank of the adapter")] rank: u16,
    #[input(default = 5, ge = 1, description = "Passes over the rows")] epochs: u64,
    #[input(default = 1e-2, ge = 0.0, description = "Learning rate")] learning_rate: f64,
    job: &mut Job,
) -> Result<Path> {
    let cancel = job.cancel_token();
    let base = LanguageModel::open(hub::resolve(&base_model, &cancel, job)?)?;
    let context = base.pretrained.config().max_positions().min(1024);
    let rows = TextRows::open(&train_data, &cancel)?;
    let examples = base.examples(context).examples(rows, &cancel)?;
    let model = |init: &Init| base.build(init);
    let lora = LoraConfig::new(rank.into()).targets(Modules::AllLinear).task_type("CAUSAL_LM");
    let adapter = lora.base_model(&base_model).on(model)?;
    // The blocks of a GGUF file stay blocks.
    let adapter = adapter.quantized(base.pretrained.quantized(job.device())?)?;
    let tensors = base.pretrained.tensors(job.device())?;
    let tuning = Tuning::new(tensors, Some(adapter), Precision::F32, job.rng("lora"))?;
    let lm = tuning.build(model)?;
    let (schedule, pad) = (Schedule::linear(), base.tokenizer.pad_id());
    let config = TrainingConfig { epochs, learning_rate, schedule, ..TrainingConfig::default() };
    let optimizer = Optimizer::new(AdamW::default());
    let train = Loader::new(Packs::new(examples, context), move |packs, batch| {
        Ok(CausalBatch::packed(&packs, pad, batch.device())?)
    });
    let training = Training { config, params: tuning.params(), optimizer, train, eval: None };
    let loss = |batch: &CausalBatch, _: &StepContext| -> Result<Loss> {
        Ok(Loss::sum(lm.loss(&batch.tokens, &batch.targets)?, batch.targets.count())?)
    };
    fit(training, &loss, job)?;
    let output = job.dir().join("adapter");
    tuning.save(&base.pretrained, &output)?;
    Ok(output.into())
}

cog_train::run!(train, config = "cog.yaml");

#[cfg(test)]
mod tests;
