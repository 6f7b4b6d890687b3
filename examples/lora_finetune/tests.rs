use cog_train::CancelToken;
use cog_train::candle_core::Device;
use cog_train::models::{CausalLm, Pretrained};
use cog_train::text::{ChatTemplate, Example, ExampleBuilder, Tokenizer};

use super::*;

/// A path of the repository.
fn repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

fn trained(dir: &std::path::Path, base: &str, rows: impl Into<Path>) -> Result<Path> {
    train(repository(base), rows.into(), 8, 3, 1e-2, &mut Job::for_test(dir))
}

/// The main file is what the README promises: short.
#[test]
fn the_trainer_has_less_than_sixty_lines() {
    let lines = include_str!("main.rs").lines().count();
    assert!(lines < 60, "{lines}");
}

#[test]
fn the_adapter_answers_better_than_the_base() {
    let dir = tempfile::tempdir().unwrap();
    let data = repository("examples/lora_finetune/chat.jsonl");
    let output = trained(dir.path(), "examples/text_finetune/base", data.as_str()).unwrap();

    let folder = repository("examples/text_finetune/base");
    let (base, tokenizer) = (Pretrained::open(&folder).unwrap(), Tokenizer::open(&folder).unwrap());
    let template = ChatTemplate::open(&folder, &tokenizer).unwrap();
    let builder = ExampleBuilder::new(&tokenizer, 128).template(&template);
    let cancel = CancelToken::new();
    let examples = builder.examples(TextRows::open(&data, &cancel).unwrap(), &cancel).unwrap();
    let shown = tokenizer.decode_all(examples.all()[0].ids()).unwrap();
    assert!(shown.starts_with("<|endoftext|>") && shown.ends_with("<|endoftext|>"), "{shown}");

    let model = |init: &Init| CausalLm::new(init, base.config());
    let batch = CausalBatch::padded(&examples.all()[..40], 0, &Device::Cpu).unwrap();
    let loss = |init: Init| {
        let sum = init.build(model).unwrap().loss(&batch.tokens, &batch.targets).unwrap();
        Loss::sum(sum, batch.targets.count())
            .and_then(|loss| Ok(loss.value()? / loss.weight()))
            .unwrap()
    };
    let tensors = || base.tensors(&Device::Cpu).unwrap();
    let lora = LoraConfig::open(&output).unwrap();
    let adapter = lora.on(model).unwrap();
    let both = adapter.tensors(tensors(), adapter.load(&output).unwrap()).unwrap();
    let (before, after) = (loss(Init::from_tensors(tensors())), loss(adapter.init(both)));
    assert!(after < before - 1.0, "{before} {after}");
    let trained: usize = examples.all().iter().map(Example::trained_tokens).sum();
    assert!(trained > 1000, "{trained}");
}

#[test]
fn bases_and_rows_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = repository("examples/lora_finetune/chat.jsonl");
    let error = |base, data: &str| format!("{:#}", trained(dir.path(), base, data).err().unwrap());
    let found = error("examples/classify/base", &data);
    assert!(
        found.contains("conversations need a chat template, and the model has none"),
        "{found}"
    );
    let found =
        error("examples/text_finetune/base", &repository("examples/embed/data/pairs.jsonl"));
    assert!(found.contains("a language model is trained on texts, prompts"), "{found}");
}
